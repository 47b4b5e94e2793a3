"""5 % of the packets lost, 80 ms of delay, reordering and duplicates, seeded: the film is as good as over a cable."""

from __future__ import annotations

import bisect
import re
import threading

import pytest
from tests.e2e.kit import judge
from tests.e2e.stories import Story

from tapedeck.core.frames import FrameFlags, Kind
from tapedeck.core.output import Output, VideoOutput
from tapedeck.render.job import Job, run
from tapedeck.testing.expect import Bars

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

BARS = Bars(presence=0.97)


def test_the_film_holds_sync_and_everybody_in_it(lossy: Story) -> None:
    assert lossy.lost > 100
    report = judge(lossy.viewed, lossy.people, lossy.recorded, BARS)
    assert report.ok, f"\n{report}"
    for row in report.rows:
        assert row.strange == 0


def units(payload: bytes) -> list[bytes]:
    """What RTP carries: H264 without its start codes, of which there are two kinds. VP8 is one unit."""
    return re.split(b"\0?\0\0\1", payload)


def test_every_stored_frame_is_byte_for_byte_one_that_was_sent(lossy: Story) -> None:
    """A frame is whole or it is not there."""
    compared = 0
    for codec, payloads in lossy.sent.items():
        times = sorted(payloads)
        for logged in lossy.log:
            if logged.frame.codec.name != codec:
                continue
            ticks = logged.taken_ns * 9 / 100_000
            place = bisect.bisect_left(times, ticks - 3)
            assert abs(times[place] - ticks) <= 3, "a frame that nobody sent"
            assert units(logged.frame.payload) == units(payloads[times[place]])
            compared += 1
    assert compared > 600


def test_gaps_are_marked_and_few(lossy: Story) -> None:
    """What stayed lost is less than the network lost, and a decoder is told."""
    video = [logged for logged in lossy.log if logged.track.kind is Kind.VIDEO]
    gaps = [logged for logged in video if logged.frame.flags & FrameFlags.DISCONTINUITY]
    assert len(gaps) <= 0.01 * len(video)


def test_no_corrupt_frame_is_decoded(lossy: Story) -> None:
    """Counted by the render itself, on the same log."""
    folder = lossy.log_dir.parent
    whole = Job(lossy.log_dir, lossy.viewed.recording.id, folder, (Output("again.mp4", VideoOutput(640, 360)),))
    _, stats = run(whole, threading.Event())
    assert stats.errors == 0
    assert stats.unsupported == 0
    assert stats.skipped <= 0.05 * stats.decoded  # until the first key frames come, over 160 ms of way
