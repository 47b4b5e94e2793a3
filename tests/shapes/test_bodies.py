"""Request bodies: what is taken, under which names it goes on, and which words refuse the rest."""

from __future__ import annotations

from typing import Any

import pytest

from tapedeck.core.errors import InvalidError
from tapedeck.core.meeting import MeetingStatus
from tapedeck.shapes.archive import RestoreBody
from tapedeck.shapes.bodies import (
    ActionBody,
    AppBody,
    EditParticipantBody,
    MeetingBody,
    ParticipantBody,
    StartBody,
    parse,
)
from tapedeck.shapes.renders import RenderBody
from tapedeck.shapes.tracks import TrackBody


def problems(model: Any, body: Any) -> dict[str, str]:
    with pytest.raises(InvalidError) as caught:
        parse(model, body)
    assert caught.value.problems
    return {problem.pointer: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize(
    ("given", "config"),
    [
        ({}, {}),
        ({"max_seconds": 90.0, "file_name_prefix": "x"}, {"max_seconds": 90, "file_name_prefix": "x"}),
        ({"video_config": {"width": 640.0, "height": None}}, {"video_config": {"width": 640}}),
        ({"video_config": {}}, {"video_config": {}}),
        ({"video_config": None, "max_seconds": None, "unknown": {"a": [1]}}, {}),
        ({"storage_config": None}, {"storage_config": None}),
        ({"video_config": {"watermark": {}}}, {"video_config": {"watermark": {}}}),
        (
            {"video_config": {"watermark": {"url": "http://a/b?c=d", "position": None, "size": {"height": 9.0}}}},
            {"video_config": {"watermark": {"url": "http://a/b?c=d", "size": {"height": 9}}}},
        ),
        ({"dyte_bucket_config": {"enabled": True}}, {"realtimekit_bucket_config": {"enabled": True}}),
    ],
)
def test_a_start_gives_a_level_of_wishes(given: dict[str, Any], config: dict[str, Any]) -> None:
    body = parse(StartBody, {"meeting_id": "m"} | given)
    assert body.config() == config


@pytest.mark.parametrize(
    ("given", "pointer", "words"),
    [
        ({"meeting_id": 1}, "/meeting_id", "must be a string"),
        ({"max_seconds": 59}, "/max_seconds", "must be at least 60"),
        ({"max_seconds": 86_401}, "/max_seconds", "must be at most 86400"),
        ({"max_seconds": "90"}, "/max_seconds", "must be a whole number"),
        ({"max_seconds": 60.5}, "/max_seconds", "must be a whole number"),
        ({"max_seconds": True}, "/max_seconds", "must be a whole number"),
        ({"max_seconds": 10**400}, "/max_seconds", "must be at most 86400"),
        ({"video_config": []}, "/video_config", "must be an object"),
        ({"video_config": {"width": 0}}, "/video_config/width", "must be at least 1"),
        ({"video_config": {"codec": "AV1"}}, "/video_config/codec", "must be one of 'H264', 'VP8' or 'VP9'"),
        ({"video_config": {"export_file": 0}}, "/video_config/export_file", "must be a boolean"),
        ({"video_config": {"watermark": []}}, "/video_config/watermark", "must be an object"),
        (
            {"video_config": {"watermark": {"position": "left top"}}},
            "/video_config/watermark",
            'must have the "url" of an image',
        ),
        (
            {"video_config": {"watermark": {"url": "http://a/", "position": "middle"}}},
            "/video_config/watermark/position",
            "must be one of 'left top', 'right top', 'left bottom' or 'right bottom'",
        ),
        (
            {"video_config": {"watermark": {"url": "ftp://a/logo.png"}}},
            "/video_config/watermark/url",
            "must be a valid uri with the scheme http or https",
        ),
        (
            {"video_config": {"watermark": {"url": "https://me:word@a/logo.png"}}},
            "/video_config/watermark/url",
            "must not have a user name or password in it",
        ),
        (
            {"video_config": {"watermark": {"url": "http://a/", "size": {"width": 0}}}},
            "/video_config/watermark/size/width",
            "must be at least 1",
        ),
        ({"audio_config": 1}, "/audio_config", "must be an object"),
        ({"audio_config": {"codec": "Vorbis"}}, "/audio_config/codec", "must be one of 'AAC' or 'MP3'"),
        ({"audio_config": {"channel": "5.1"}}, "/audio_config/channel", "must be one of 'mono' or 'stereo'"),
        ({"audio_config": {"export_file": "no"}}, "/audio_config/export_file", "must be a boolean"),
        ({"realtimekit_bucket_config": {"enabled": None}}, "/realtimekit_bucket_config/enabled", "must be a boolean"),
        ({"allow_multiple_recordings": 1}, "/allow_multiple_recordings", "must be a boolean"),
    ],
)
def test_a_start_is_refused_by_field(given: dict[str, Any], pointer: str, words: str) -> None:
    field = pointer[1:].replace("/", ".")
    assert problems(StartBody, {"meeting_id": "m"} | given) == {pointer: f'"{field}" {words}'}


@pytest.mark.parametrize(
    ("model", "given", "pointer", "words"),
    [
        (TrackBody, {"user_ids": []}, "/user_ids", "must have at least 1 item"),
        (TrackBody, {"user_ids": ["u"] * 101}, "/user_ids", "must have at most 100 items"),
        (TrackBody, {"user_ids": [""]}, "/user_ids/0", "must have at least 1 character"),
        (TrackBody, {"user_ids": ["u" * 257]}, "/user_ids/0", "must have at most 256 characters"),
        (
            TrackBody,
            {"layers": {"default": {"outputs": [{}] * 11}}},
            "/layers/default/outputs",
            "must have at most 10 items",
        ),
        (RenderBody, {"only": []}, "/only", "must have at least 1 item"),
        (RenderBody, {"colour": "red"}, "/colour", "is not known here"),
        (RenderBody, {"from": -1}, "/from", "must be at least 0"),
        (RestoreBody, {"days": 1.5}, "/days", "must be a whole number"),
        (RestoreBody, {"days": "3"}, "/days", "must be a whole number"),
    ],
)
def test_our_own_words_refuse_it(model: Any, given: dict[str, Any], pointer: str, words: str) -> None:
    body = given | ({"meeting_id": "m"} if model is TrackBody else {})
    assert problems(model, body) == {pointer: f'"{pointer[1:].replace("/", ".")}" {words}'}


def test_all_problems_are_named_but_not_endlessly() -> None:
    found = problems(StartBody, {"max_seconds": 1, "url": "x", "video_config": {"width": "w"}})
    assert set(found) == {"/meeting_id", "/max_seconds", "/url", "/video_config/width"}
    many = {"ai_config": {"transcription": {"keywords": list(range(400))}}}
    assert len(problems(MeetingBody, many)) == 20


@pytest.mark.parametrize("body", [None, [], "x", 1, True])
def test_a_body_is_an_object(body: object) -> None:
    assert problems(ActionBody, body) == {"": "must be a JSON object"}


def test_actions() -> None:
    assert [parse(ActionBody, {"action": a}).action for a in ("stop", "pause", "resume")] == ["stop", "pause", "resume"]
    for body in ({}, {"action": None}, {"action": "restart"}, {"action": "STOP"}, {"action": 1}):
        assert "/action" in problems(ActionBody, body)


def test_a_meeting_gives_only_what_was_given() -> None:
    assert parse(MeetingBody, {}).values() == {}
    assert parse(MeetingBody, {"title": None, "record_on_start": None, "status": None}).values() == {
        "title": None,
        "record_on_start": False,
    }
    body = {
        "title": "T",
        "status": "INACTIVE",
        "session_keep_alive_time_in_secs": 61,
        "recording_config": {"max_seconds": 60, "video_config": {"codec": "H264", "width": 9, "export_file": True}},
        "ai_config": {"summarization": {"word_limit": 150, "future": 1}, "transcription": {"keywords": ["a"]}},
        "persist_chat": False,
        "live_stream_on_start": None,
    }
    assert parse(MeetingBody, body).values() == {
        "stream_on_start": False,
        "title": "T",
        "status": MeetingStatus.INACTIVE,
        "keep_alive_s": 61.0,
        "recording_config": {"max_seconds": 60, "video_config": {"codec": "H264", "width": 9, "export_file": True}},
        "ai_config": {"summarization": {"word_limit": 150}, "transcription": {"keywords": ["a"]}},
    }
    cleared = parse(MeetingBody, {"recording_config": None, "ai_config": None}).values()
    assert cleared == {"recording_config": None, "ai_config": None}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"title": 1}, "/title"),
        ({"title": "x" * 501}, "/title"),
        ({"status": "active"}, "/status"),
        ({"session_keep_alive_time_in_secs": 59.9}, "/session_keep_alive_time_in_secs"),
        ({"session_keep_alive_time_in_secs": 601}, "/session_keep_alive_time_in_secs"),
        ({"session_keep_alive_time_in_secs": 10**400}, "/session_keep_alive_time_in_secs"),
        ({"session_keep_alive_time_in_secs": "60"}, "/session_keep_alive_time_in_secs"),
        ({"transcribe_on_end": True}, "/transcribe_on_end"),
        ({"ai_config": {"summarization": {"word_limit": 149}}}, "/ai_config/summarization/word_limit"),
        ({"ai_config": {"transcription": {"language": "xx"}}}, "/ai_config/transcription/language"),
        ({"recording_config": {"max_seconds": 5}}, "/recording_config/max_seconds"),
        ({"recording_config": {"live_streaming_config": {}}}, "/recording_config/live_streaming_config/rtmp_url"),
        ({"recording_config": {"storage_config": {"type": "disk"}}}, "/recording_config/storage_config/type"),
    ],
)
def test_a_meeting_is_refused_by_field(body: dict[str, Any], pointer: str) -> None:
    assert set(problems(MeetingBody, body)) == {pointer}


def test_people() -> None:
    person = {"custom_participant_id": "c", "preset_name": "p"}
    assert parse(ParticipantBody, person | {"name": None, "picture": "https://x.example/a.png"}).name is None
    for wrong, pointer in (
        ({"custom_participant_id": ""}, "/custom_participant_id"),
        ({"preset_name": None}, "/preset_name"),
        ({"picture": "javascript:x"}, "/picture"),
        ({"picture": "https://x y"}, "/picture"),
        ({"name": 3}, "/name"),
    ):
        assert set(problems(ParticipantBody, person | wrong)) == {pointer}
    assert parse(EditParticipantBody, {}).values() == {}
    edited = parse(EditParticipantBody, {"name": None, "preset_name": None, "x": 1})
    assert edited.values() == {"name": None}
    assert parse(EditParticipantBody, {"preset_name": "p", "picture": None}).values() == {
        "preset_name": "p",
        "picture": None,
    }


def test_messages_can_have_the_documented_beginning() -> None:
    with pytest.raises(InvalidError, match=r'^BAD_REQUEST: "name" is required$'):
        parse(AppBody, {}, "BAD_REQUEST: ")


def test_a_meeting_must_want_one_file_at_least() -> None:
    """OC-26, where a recording that starts with the first person could not be refused any more."""
    for audio in (None, {"export_file": False}):
        config = {"video_config": {"export_file": False}, "audio_config": audio}
        found = problems(MeetingBody, {"recording_config": config})
        assert list(found) == ["/recording_config"] and "neither a video file" in found["/recording_config"]
    config = {"video_config": {"export_file": False}, "audio_config": {}}
    assert parse(MeetingBody, {"recording_config": config}).values() == {"recording_config": config}
