"""A recorded web page: its address, its time limits, when it begins and when it has to go."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from tapedeck.core.deadlines import Limits, Presence, deadline_of
from tapedeck.core.page import (
    PageEvent,
    PageFact,
    PageLife,
    PageLook,
    PageVerdict,
    config_of,
    is_page,
    page_address,
    page_participant,
)
from tapedeck.core.recording import Recording, RecordingState, StopCause
from tapedeck.core.wanted import AudioExport, RecordingOptions, TrackChoice, TrackLayer, Watermark

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONNECTED = PageEvent(PageFact.CONNECTED)
START = PageEvent(PageFact.SAID, '{"type": "StartRecording"}')
OPTIONS = RecordingOptions(page="https://apps.example/show")


def recording(state: RecordingState = RecordingState.STARTING, options: RecordingOptions = OPTIONS) -> Recording:
    return Recording("r", "a", "m", "f.mp4", NOW, state=state, options=options)


def begun(at: float = 5.0) -> PageLife:
    life = PageLife(0.0)
    life.happened(CONNECTED, at)
    assert life.happened(START, at) is PageVerdict.START
    return life


@pytest.mark.parametrize(
    ("url", "begins"),
    [
        ("https://a.example/show", "https://a.example/show?authToken=tok%2Bn&config="),
        ("https://a.example/show?room=1", "https://a.example/show?room=1&authToken=tok%2Bn&config="),
        ("https://a.example/show?", "https://a.example/show?authToken=tok%2Bn&config="),
        ("https://a.example", "https://a.example?authToken=tok%2Bn&config="),
    ],
)
def test_token_and_configuration_are_added_to_the_query_and_nothing_is_taken_away(url: str, begins: str) -> None:
    address = page_address(url, "tok+n", {"a": "é?&#"})
    assert address.startswith(begins)
    packed = parse_qs(urlsplit(address).query)["config"][0]
    assert json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))) == {"a": "é?&#"}


def test_the_fragment_of_an_address_stays_behind_its_query() -> None:
    address = page_address("https://a.example/app#/room/5?x=1", "t", {})
    assert address.startswith("https://a.example/app?authToken=t&config=")
    assert address.endswith("#/room/5?x=1")


def test_the_configuration_is_in_the_words_of_the_start_call() -> None:
    wanted = RecordingOptions(
        page="https://a.example",
        file_name_prefix="x",
        audio=AudioExport("mp3", 1),
        watermark=Watermark("https://a.example/m.png", width=10),
        timed=True,
    )
    assert config_of(recording(options=wanted)) == {
        "meeting_id": "m",
        "recording_id": "r",
        "max_seconds": 86400,
        "file_name_prefix": "x",
        "video_config": {
            "codec": "H264",
            "width": 1280,
            "height": 720,
            "export_file": True,
            "watermark": {"url": "https://a.example/m.png", "position": "left top", "size": {"width": 10}},
        },
        "audio_config": {"codec": "MP3", "channel": "mono", "export_file": True},
        "realtimekit_bucket_config": {"enabled": True},
        "interactive_config": {"type": "ID3"},
    }


def test_a_page_that_never_connects_is_given_up_after_two_minutes() -> None:
    life = PageLife(10.0)
    assert life.looked(PageLook(), 129.9) is PageVerdict.WAIT
    assert life.looked(None, 130.0) is PageVerdict.FAIL
    assert "did not connect" in life.reason


def test_a_page_that_connects_has_two_minutes_from_then_to_start() -> None:
    life = PageLife(0.0)
    life.happened(CONNECTED, 100.0)
    life.happened(CONNECTED, 200.0)  # connecting again gains nothing
    assert life.looked(PageLook(trigger=True), 219.0) is PageVerdict.WAIT
    assert life.looked(PageLook(trigger=True), 220.0) is PageVerdict.FAIL
    assert "StartRecording" in life.reason


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"type": "ID3Data"}', '"StartRecording"', "[" * 5000])
def test_nothing_but_start_recording_starts(text: str) -> None:
    life = PageLife(0.0)
    life.happened(CONNECTED, 1.0)
    assert life.happened(PageEvent(PageFact.SAID, text), 1.0) is PageVerdict.WAIT
    assert not life.is_started


def test_starting_twice_is_starting_once() -> None:
    life = begun()
    assert life.happened(START, 6.0) is PageVerdict.WAIT


def test_a_page_ends_when_it_takes_back_its_trigger() -> None:
    life = begun()
    assert life.looked(PageLook(trigger=False), 6.0) is PageVerdict.WAIT  # it has not been set yet
    assert life.looked(PageLook(trigger=True), 7.0) is PageVerdict.WAIT
    assert life.looked(PageLook(trigger=None), 8.0) is PageVerdict.WAIT
    assert life.looked(PageLook(trigger=False), 9.0) is PageVerdict.END


def test_a_page_ends_when_it_says_that_its_meeting_has() -> None:
    assert begun().looked(PageLook(trigger=True, is_ended=True), 9.0) is PageVerdict.END


def test_a_page_that_closes_itself_ends_in_order_only_after_it_began() -> None:
    assert begun().happened(PageEvent(PageFact.ENDED), 9.0) is PageVerdict.END
    assert PageLife(0.0).happened(PageEvent(PageFact.ENDED), 9.0) is PageVerdict.FAIL


def test_what_breaks_it_is_told() -> None:
    life = begun()
    assert life.happened(PageEvent(PageFact.BROKEN, "The page crashed"), 9.0) is PageVerdict.FAIL
    assert life.reason == "The page crashed"


def test_another_document_has_to_follow_the_contract_again() -> None:
    life = begun()
    life.looked(PageLook(trigger=True), 6.0)
    assert life.happened(PageEvent(PageFact.NAVIGATED), 10.0) is PageVerdict.WAIT
    assert life.looked(PageLook(trigger=False), 129.0) is PageVerdict.WAIT
    assert life.looked(PageLook(), 130.0) is PageVerdict.FAIL
    again = begun()
    again.happened(PageEvent(PageFact.NAVIGATED), 10.0)
    again.happened(CONNECTED, 11.0)
    assert again.happened(START, 12.0) is PageVerdict.START


@pytest.mark.parametrize("connects", [True, False])
def test_a_page_that_loads_itself_for_ever_is_given_up_all_the_same(connects: bool) -> None:
    life, now = PageLife(0.0), 0.0
    while life.looked(PageLook(), now) is PageVerdict.WAIT:
        assert now < 240.0
        now += 10.0
        life.happened(PageEvent(PageFact.NAVIGATED), now)
        if connects:
            life.happened(CONNECTED, now + 1.0)
    assert now == (140.0 if connects else 120.0)
    assert ("StartRecording" in life.reason) is connects


def test_a_page_that_hangs_is_over_after_a_minute() -> None:
    life = begun()
    life.looked(PageLook(trigger=True), 10.0)
    assert life.looked(None, 69.9) is PageVerdict.WAIT
    assert life.looked(None, 70.0) is PageVerdict.FAIL


def test_a_page_is_nobody_whose_tracks_are_recorded() -> None:
    assert is_page(page_participant("r"))
    assert not is_page("5c3f4dca-6d45-4952-adee-deded8c81529")
    everybody = TrackChoice((TrackLayer("default"),))
    assert everybody.name_of(page_participant("r"), "") is None
    assert everybody.name_of("somebody", "") == "somebody"


def test_an_empty_room_does_not_end_the_recording_of_a_page() -> None:
    empty = Presence(None, NOW - timedelta(hours=1))
    assert deadline_of(recording(), empty, Limits()) == deadline_of(recording(), None, Limits())
    found = deadline_of(recording(), None, Limits(page_timeout_s=600))
    assert found is not None
    assert (found.at, found.command.cause) == (NOW + timedelta(seconds=600), StopCause.FAULT)
    running = Recording(
        "r", "a", "m", "f.mp4", NOW, state=RecordingState.CAPTURING, options=OPTIONS, started_at=NOW, session_id="s"
    )
    longest = deadline_of(running, empty, Limits())
    assert longest is not None
    assert longest.command.cause is StopCause.MAX_SECONDS
