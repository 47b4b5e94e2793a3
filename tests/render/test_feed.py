"""Reading a log in step: what is handed out when, and how far a film can be made."""

from pathlib import Path

import pytest
from tests.medialog.logs import SESSION, lay_down, timeline_bytes
from tests.render.meetings import DELAY_NS, MS, Meeting, S

from tapedeck.core.timeline import ParticipantJoined, Progress, RecordingStarted, RecordingStopped, TimelineEvent
from tapedeck.medialog.format import pack_event, salt_of
from tapedeck.medialog.meta import timeline_path
from tapedeck.medialog.reader import LogReader
from tapedeck.render.feed import LogFeed


def one_camera(root: Path, start_ns: int = 0, end_ns: int = 6 * S, key_every: int = 30) -> LogReader:
    meeting = Meeting(jitter_ns=0)
    meeting.record(start_ns, end_ns)
    meeting.join("ada", 0)
    meeting.camera("ada", 0, end_ns + S, key_every=key_every)
    return meeting.lay_down(root, end_ns + 2 * S)


def is_complete(feed: LogFeed) -> bool:
    return feed.is_complete


def append(root: Path, *events: TimelineEvent) -> None:
    with timeline_path(root).open("ab") as file:
        for event in events:
            file.write(pack_event(salt_of(SESSION, SESSION), event))


def test_it_reads_as_far_as_asked_and_no_further(tmp_path: Path) -> None:
    feed = LogFeed(one_camera(tmp_path / "log"), "r")
    events = feed.advance(2 * S)
    assert 2 * S <= feed.until_ns < 2 * S + 300 * MS
    assert max(event.at_ns for event in events) < 2 * S + 400 * MS
    assert 0 < feed.ready_until_ns <= feed.until_ns
    assert feed.advance(2 * S) == []
    feed.close()


def test_frames_come_in_order_and_not_before_they_are_asked_for(tmp_path: Path) -> None:
    feed = LogFeed(one_camera(tmp_path / "log"), "r")
    feed.advance(3 * S)
    track = feed.tracks["ada-camera"]
    seen = []
    while timed := track.take(S):
        seen.append(timed.capture_ns)
    assert seen == sorted(seen) and len(seen) == 30
    assert abs(seen[0] - DELAY_NS) < MS and seen[-1] < S
    upcoming = track.next(3 * S)
    assert upcoming is not None and upcoming == track.take(3 * S) and upcoming.capture_ns >= S
    feed.close()


def test_nothing_is_handed_out_before_its_place_is_final(tmp_path: Path) -> None:
    """A place that may still change would be another one in a later film."""
    feed = LogFeed(one_camera(tmp_path / "log"), "r")
    feed.advance(S)
    track, ready_ns = feed.tracks["ada-camera"], feed.ready_until_ns
    assert ready_ns < feed.until_ns + 1
    seen = []
    while timed := track.take(100 * S):
        seen.append(timed.capture_ns)
    assert all(at < ready_ns for at in seen)
    feed.advance(100 * S)
    later = track.take(100 * S)
    assert later is not None and later.capture_ns >= max(seen, default=0)
    feed.close()


def test_it_is_complete_when_the_log_is_up_to_the_stop(tmp_path: Path) -> None:
    feed = LogFeed(one_camera(tmp_path / "log"), "r")
    feed.advance(5 * S)
    assert not is_complete(feed)
    feed.advance(100 * S)
    assert is_complete(feed) and feed.ready_until_ns > 1000 * S
    assert feed.until_ns < 6 * S + 500 * MS  # nothing after the end was looked at
    feed.close()


def test_a_stop_before_what_is_known_already_completes_at_once(tmp_path: Path) -> None:
    """After an outage a film ends where the outage began, which is long ago."""
    root = lay_down(tmp_path / "log", {}, timeline_bytes([RecordingStarted(0, "r"), Progress(3 * S, 3 * S)])[0])
    feed = LogFeed(LogReader(root), "r")
    feed.advance(10 * S)
    assert not is_complete(feed)
    append(root, RecordingStopped(2 * S, "r"))
    feed.advance(10 * S)
    assert is_complete(feed) and feed.film.duration_ns == 2 * S
    feed.close()


def test_nothing_is_handed_out_before_the_recording_began(tmp_path: Path) -> None:
    root = lay_down(tmp_path / "log", {}, timeline_bytes([ParticipantJoined(0, "ada", "p", "Ada"), Progress(S, S)])[0])
    feed = LogFeed(LogReader(root), "r")
    assert feed.advance(10 * S) == []
    append(root, RecordingStarted(S, "r"))
    assert [type(event) for event in feed.advance(10 * S)] == [ParticipantJoined, Progress, RecordingStarted]
    feed.close()


def test_a_film_that_begins_late_does_not_read_all_that_was_before(tmp_path: Path) -> None:
    feed = LogFeed(one_camera(tmp_path / "log", start_ns=60 * S, end_ns=62 * S), "r")
    feed.advance(61 * S)
    first = feed.tracks["ada-camera"].take(100 * S)
    assert first is not None and 38 * S < first.capture_ns <= 40 * S and first.frame.is_key
    feed.close()


def test_a_log_that_breaks_off_is_finished_by_hand(tmp_path: Path) -> None:
    meeting = Meeting(jitter_ns=0)
    meeting.record(0, None)
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 3 * S, close=False)
    feed = LogFeed(meeting.lay_down(tmp_path / "log", 3 * S), "r")
    feed.advance(100 * S)
    assert not is_complete(feed) and feed.ready_until_ns < 3 * S
    feed.finish()
    assert is_complete(feed) and feed.film.duration_ns is not None
    assert abs(feed.film.duration_ns - 3 * S) < 50 * MS
    feed.close()


def test_what_passed_can_be_read_again_from_a_key_frame(tmp_path: Path) -> None:
    feed = LogFeed(one_camera(tmp_path / "log", key_every=20), "r")
    feed.advance(5 * S)
    track = feed.tracks["ada-camera"]
    taken = []
    while timed := track.take(3 * S):
        taken.append(timed.frame)
    key = max(index for index, frame in enumerate(taken) if frame.is_key)
    assert list(track.again_from(taken[key], taken[-1])) == taken[key:]
    upcoming = track.take(5 * S)
    assert upcoming is not None and upcoming.frame.media_time > taken[-1].media_time
    feed.close()


def test_a_track_whose_file_is_gone_or_cannot_be_is_no_fault(tmp_path: Path) -> None:
    meeting = Meeting()
    meeting.record(0, 2 * S)
    meeting.join("ada", 0)
    meeting.camera("ada", 0, 3 * S)
    log = meeting.lay_down(tmp_path / "log", 4 * S)
    (tmp_path / "log" / "tracks" / "ada-camera.log").unlink()
    feed = LogFeed(log, "r")
    feed.advance(100 * S)
    assert is_complete(feed) and feed.tracks["ada-camera"].take(100 * S) is None
    feed.close()


def test_a_forgotten_track_gives_its_file_back(tmp_path: Path) -> None:
    feed = LogFeed(one_camera(tmp_path / "log"), "r")
    feed.advance(2 * S)
    feed.forget("ada-camera")
    feed.forget("nobody")
    assert feed.tracks == {}
    assert feed.advance(4 * S)
    feed.close()


@pytest.mark.parametrize("recording_id", [None, "r"])
def test_an_empty_log_has_nothing(tmp_path: Path, recording_id: str | None) -> None:
    feed = LogFeed(LogReader(lay_down(tmp_path / "log", {}, timeline_bytes([])[0])), recording_id)
    assert feed.advance(S) == []
    feed.finish()
    assert feed.film.duration_ns == 0
    feed.close()
