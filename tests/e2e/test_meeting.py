"""A meeting as a customer sees it: recorded through the official SDK, fetched by its link, and looked at.

Ada is there all the time and turns her camera off for a while, Grace comes late and mutes herself, Linus leaves early;
the recording is paused in between.
"""

from __future__ import annotations

import pytest
from tests.e2e.kit import MS, judge
from tests.e2e.stories import Story

from tapedeck.testing.expect import Edge

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_everybody_is_seen_and_heard_when_they_were_there_and_never_else(three: Story) -> None:
    """To one frame and one audio packet: the media log tells when exactly the recording ran."""
    report = judge(three.viewed, three.people, three.recorded)
    assert report.ok, f"\n{report}"


def test_the_film_is_what_the_application_asked_for(three: Story) -> None:
    """The same, with nothing known but when the API was called and when it answered."""
    report = judge(three.viewed, three.people, three.told)
    assert report.ok, f"\n{report}"
    for exact, told in zip(three.recorded, three.told, strict=True):
        for at, edge in ((exact.start, told.start), (exact.end, told.end)):
            assert edge.miss_ns(at.middle_ns) <= 2 * MS


def test_nothing_from_before_the_start_or_out_of_the_pause_is_on_disk(three: Story) -> None:
    """By the senders' own clocks. Capture time is later than theirs by the way over loopback, 50 ms at the most."""
    spans = [(span.start.middle_ns - 50 * MS, span.end.middle_ns) for span in three.recorded]
    kept = [logged.taken_ns for logged in three.log]
    assert len(kept) > 1000
    assert not [at for at in kept if not any(start <= at < end for start, end in spans)]


def test_what_the_api_says_of_it(three: Story) -> None:
    recording = three.viewed.recording
    assert recording.status == "UPLOADED"
    assert recording.output_file_name.startswith("three_")
    assert recording.output_file_name.endswith(".mp4")
    film_s = three.viewed.film.end_ns / 1e9
    assert recording.recording_duration == round(film_s)
    assert recording.invoked_time is not None
    assert recording.started_time is not None
    assert recording.stopped_time is not None
    assert recording.invoked_time <= recording.started_time < recording.stopped_time
    whole = (three.recorded[-1].end.middle_ns - three.recorded[0].start.middle_ns) / 1e9
    assert (recording.stopped_time - recording.started_time).total_seconds() == pytest.approx(whole, abs=0.1)
    assert recording.start_reason is not None
    assert recording.start_reason.reason == "API_CALL"
    assert recording.stop_reason is not None
    assert recording.stop_reason.reason == "API_CALL"
    assert recording.stop_reason.caller is not None
    assert recording.stop_reason.caller.type == "ORGANIZATION"
    assert recording.audio_download_url is None


def test_the_link_serves_the_film_whole_and_in_parts(three: Story) -> None:
    answers, film = three.answers, three.viewed.path.read_bytes()
    whole, head = answers["whole"], answers["head"]
    assert (whole.status, whole.body) == (200, film)
    assert whole.headers["Content-Type"] == "video/mp4"
    assert whole.headers["Accept-Ranges"] == "bytes"
    name = three.viewed.recording.output_file_name
    assert name in whole.headers["Content-Disposition"]
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(film))
    first, rest, last = answers["first"], answers["rest"], answers["last"]
    assert [first.status, rest.status, last.status] == [206] * 3
    assert first.body + rest.body == film
    assert first.headers["Content-Range"] == f"bytes 0-99/{len(film)}"
    assert last.body == film[-7:]
    assert answers["beyond"].status == 416


@pytest.mark.parametrize("how", ["expired", "longer", "renamed", "unsigned", "forged", "elsewhere", "climbing"])
def test_a_link_that_was_tampered_with_or_is_over_serves_nothing(three: Story, how: str) -> None:
    answer = three.answers[how]
    assert answer.status == (404 if how == "climbing" else 403)
    assert len(answer.body) < 500
    assert b"ftyp" not in answer.body


def test_the_first_second_is_in_the_film(three: Story) -> None:
    """Who was there at the start is seen within 300 ms, and heard from the first packet on."""
    film, start = three.viewed.film, three.recorded[0].start
    assert start == Edge(start.middle_ns, start.middle_ns)
    for name in ("Ada", "Linus"):
        boxes = film.sights[name].boxes
        first = next(index for index, box in enumerate(boxes) if box is not None)
        assert film.starts_ns[first] <= 300 * MS
    beats = -(-start.middle_ns // 1_000_000_000) * 1_000_000_000 + 20 * MS - start.middle_ns
    assert film.beeps["Ada"][0].middle_ns == pytest.approx(beats, abs=20 * MS)
