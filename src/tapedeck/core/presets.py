"""The presets every app is given at its birth, who may record, be seen and speak; and how parts are put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DEFAULT_PARTS", "DEFAULT_PRESETS", "complete", "merge"]


def _permissions(*, host: bool, recorder: bool) -> dict[str, Any]:
    produce = {"can_produce": "NOT_ALLOWED" if recorder else "ALLOWED"}
    speak = not recorder
    return {
        "accept_waiting_requests": host,
        "can_accept_production_requests": host,
        "can_change_participant_permissions": host,
        "can_edit_display_name": speak,
        "can_livestream": host,
        "can_record": host,
        "can_spotlight": host,
        "chat": {
            "public": {"can_send": speak, "files": speak, "text": speak},
            "private": {"can_receive": speak, "can_send": speak, "files": speak, "text": speak},
        },
        "connected_meetings": {
            "can_alter_connected_meetings": host,
            "can_switch_connected_meetings": host,
            "can_switch_to_parent_meeting": host,
        },
        "disable_participant_audio": host,
        "disable_participant_screensharing": host,
        "disable_participant_video": host,
        "hidden_participant": recorder,
        "is_recorder": recorder,
        "kick_participant": host,
        "media": {"audio": dict(produce), "screenshare": dict(produce), "video": dict(produce)},
        "pin_participant": host,
        "plugins": {"can_close": host, "can_edit_config": host, "can_start": host, "config": {}},
        "polls": {"can_create": host, "can_view": speak, "can_vote": speak},
        "recorder_type": "RECORDER" if recorder else "NONE",
        "show_participant_list": speak,
        "waiting_room_type": "SKIP",
    }


_CONFIG: dict[str, Any] = {
    "view_type": "GROUP_CALL",
    "max_screenshare_count": 1,
    "max_video_streams": {"desktop": 25, "mobile": 6},
    "media": {
        "video": {"quality": "hd", "frame_rate": 30},
        "screenshare": {"quality": "hd", "frame_rate": 15},
        "audio": {"enable_stereo": False, "enable_high_bitrate": False},
    },
}

_UI: dict[str, Any] = {
    "design_tokens": {
        "theme": "dark",
        "border_radius": "rounded",
        "border_width": "thin",
        "spacing_base": 4,
        "colors": {
            "brand": {"300": "#7fb2d9", "400": "#5c9bcb", "500": "#3b82b8", "600": "#2f6a97", "700": "#245276"},
            "background": {
                "600": "#3a4149",
                "700": "#2d333a",
                "800": "#22272d",
                "900": "#181c21",
                "1000": "#0f1215",
            },
            "danger": "#d9534f",
            "success": "#4caf7a",
            "warning": "#e0a93b",
            "text": "#f2f4f6",
            "text_on_brand": "#ffffff",
            "video_bg": "#181c21",
        },
    },
}

DEFAULT_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "group_call_host": {"config": _CONFIG, "permissions": _permissions(host=True, recorder=False), "ui": _UI},
    "group_call_participant": {"config": _CONFIG, "permissions": _permissions(host=False, recorder=False), "ui": _UI},
    "recorder_preset_v2": {"config": _CONFIG, "permissions": _permissions(host=False, recorder=True), "ui": _UI},
}
"""By name: `config`, `permissions` and `ui` as the presets API shows them."""

DEFAULT_PARTS: Mapping[str, Mapping[str, Any]] = DEFAULT_PRESETS["group_call_participant"]
"""What a preset is where nothing is said of it: that of somebody who takes part, and may not record."""


def complete(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, and the defaults where nothing is, however deep; nothing that is given is lost."""
    made = dict(given)
    for key, default in defaults.items():
        if key not in given:
            made[key] = default
        elif isinstance(default, Mapping) and isinstance(given[key], Mapping):
            made[key] = complete(given[key], default)
    return made


def merge(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The old values with the new ones over them, however deep."""
    return complete(new, old)
