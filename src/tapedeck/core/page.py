"""A web page as a recording's picture: its address, what it is told, what it says, and when it has to go.

Pure: `PageLife` takes what happened with its time and says what to do. The contract of pages is RealtimeKit's custom
recording app (docs/reference/realtimekit.md): flags on the window, a socket at ws://localhost:8080/ws, and
`StartRecording` in it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tapedeck.core.wanted import PAGE_PREFIX

if TYPE_CHECKING:  # who makes films asks what a page is, and knows no recordings
    from tapedeck.core.recording import Recording

__all__ = [
    "NO_PAGES",
    "PAGE_PRESET",
    "PageEvent",
    "PageFact",
    "PageLife",
    "PageLook",
    "PageVerdict",
    "config_of",
    "is_page",
    "page_address",
    "page_participant",
]

PAGE_PRESET = "recorder_preset_v2"
"""The preset of the participant as whom a page joins its meeting: hidden."""
NO_PAGES = "this server has no browser"
START_S = 120.0
"""How long a page may take to open the socket, and then to say StartRecording."""
SILENT_S = 60.0
"""A page that answers nothing for so long while it is recorded is over."""


def page_participant(recording_id: str) -> str:
    """As whom the picture of a page is in the log: no participant of a meeting has such an id."""
    return f"{PAGE_PREFIX}{recording_id}"


def is_page(participant_id: str) -> bool:
    """Whether somebody in a log is the page of a recording."""
    return participant_id.startswith(PAGE_PREFIX)


def page_address(url: str, token: str, config: Mapping[str, Any]) -> str:
    """The address to open: `authToken` and `config` (base64url of JSON, unpadded) added to its query."""
    base, hash_sign, fragment = url.partition("#")
    packed = base64.urlsafe_b64encode(json.dumps(config, separators=(",", ":")).encode()).rstrip(b"=").decode()
    joint = "" if base.endswith(("?", "&")) else "&" if "?" in base else "?"
    return f"{base}{joint}authToken={quote(token, safe='')}&config={packed}{hash_sign}{fragment}"


def config_of(recording: Recording) -> dict[str, Any]:
    """The effective start configuration, in the words of the start call, without secrets."""
    options = recording.options
    codec = options.video_codec.upper()
    video: dict[str, Any] = {"codec": codec, "width": options.width, "height": options.height}
    video["export_file"] = options.video_export
    if options.watermark is not None:
        mark = options.watermark
        video["watermark"] = {"url": mark.url, "position": mark.position}
        if mark.width or mark.height:
            size = {"width": mark.width, "height": mark.height}
            video["watermark"]["size"] = {name: side for name, side in size.items() if side}
    config: dict[str, Any] = {
        "meeting_id": recording.meeting_id,
        "recording_id": recording.id,
        "max_seconds": options.max_seconds,
        "video_config": video,
        "realtimekit_bucket_config": {"enabled": options.bucket},
    }
    if options.file_name_prefix is not None:
        config["file_name_prefix"] = options.file_name_prefix
    if options.audio is not None:
        channel = "mono" if options.audio.channels == 1 else "stereo"
        config["audio_config"] = {"codec": options.audio.codec.upper(), "channel": channel, "export_file": True}
    if options.timed:
        config["interactive_config"] = {"type": "ID3"}
    return config


class PageFact(StrEnum):
    """What can happen to a page."""

    CONNECTED = "connected"
    "It opened the socket."
    SAID = "said"
    "It sent a text through it."
    NAVIGATED = "navigated"
    "Another document is in the tab."
    ENDED = "ended"
    "It closed itself."
    BROKEN = "broken"
    "It cannot go on."


@dataclass(frozen=True, slots=True)
class PageEvent:
    """One such thing. `text`: what it said, or a sentence about why it cannot go on."""

    fact: PageFact
    text: str = ""


@dataclass(frozen=True, slots=True)
class PageLook:
    """What is seen of a page from outside. None: it has not said so."""

    trigger: bool | None = None
    "`window.triggerRealtimeKitRecording`."
    is_ended: bool = False
    "`isMeetingEnded()`."


class PageVerdict(StrEnum):
    """What to do."""

    WAIT = "wait"
    START = "start"
    "Send its picture and sound."
    END = "end"
    "It says that the meeting is over: end the recording in order."
    FAIL = "fail"
    "It cannot be recorded (any further); `PageLife.reason` says why."


class PageLife:
    """The life of one page. Feed it in order of time; `now` in seconds of any clock that only goes forward."""

    def __init__(self, now: float) -> None:
        self.reason = ""
        self.is_started = False
        "It has been recorded."
        self._is_waiting = True
        "It has to open the socket and to say StartRecording."
        self._waits_since = now
        self._is_connected = False
        self._has_connected = False
        "Since it waits, in whichever document: a page that loads itself again and again gains no time by it."
        self._was_triggered = False
        self._answered_at = now

    def happened(self, event: PageEvent, now: float) -> PageVerdict:
        """Something happened."""
        if event.fact is PageFact.CONNECTED:
            if not self._has_connected:
                self._has_connected, self._waits_since = True, now
            self._is_connected = True
        elif event.fact is PageFact.SAID:
            if self._is_connected and self._is_waiting and _says_start(event.text):
                self._is_waiting = False
                self.is_started, self._answered_at = True, now
                return PageVerdict.START
        elif event.fact is PageFact.NAVIGATED:
            if not self._is_waiting:
                self._is_waiting, self._waits_since, self._has_connected = True, now, False
            self._answered_at = now
            self._is_connected = self._was_triggered = False
        elif event.fact is PageFact.ENDED:
            return PageVerdict.END if self.is_started else self._fail("The page closed itself before it began")
        else:
            return self._fail(event.text)
        return PageVerdict.WAIT

    def looked(self, look: PageLook | None, now: float) -> PageVerdict:
        """It was looked at; None: it did not answer."""
        if look is not None:
            self._answered_at = now
            if not self._is_waiting:
                if look.is_ended or (self._was_triggered and look.trigger is False):
                    return PageVerdict.END
                self._was_triggered |= look.trigger is True
        if self._is_waiting and now - self._waits_since >= START_S:
            what = "did not send StartRecording" if self._has_connected else "did not connect to ws://localhost:8080/ws"
            return self._fail(f"The page {what} within {START_S:.0f} s")
        if not self._is_waiting and now - self._answered_at >= SILENT_S:
            return self._fail(f"The page answered nothing for {SILENT_S:.0f} s")
        return PageVerdict.WAIT

    def _fail(self, reason: str) -> PageVerdict:
        self.reason = reason
        return PageVerdict.FAIL


def _says_start(text: str) -> bool:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(message, dict) and message.get("type") == "StartRecording"
