"""sources.incoming: which SSRC is the track's, what opens and closes it; no network, `now` in milliseconds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tests.sources.kit import TrackLog, peer_info

from tapedeck.core.frames import Codec, FrameFlags, Kind, TrackInfo
from tapedeck.core.rtp import KeyframeRequest, Nack, SenderReport, ntp_from_ns, parse_rtcp
from tapedeck.ports.sources import TrackControl
from tapedeck.sources.incoming import IncomingTrack, Stream
from tapedeck.sources.negotiate import MediaLine

MS = 1_000_000
LINE = MediaLine(0, "0", Kind.VIDEO, {96: Codec.VP8}, {97: 96}, [1], {2: 1}, nack=True)
AUDIO = MediaLine(1, "1", Kind.AUDIO, {111: Codec.OPUS}, channels=2)


@dataclass
class Bench:
    """A track fed by hand."""

    line: MediaLine = field(default_factory=lambda: LINE)
    opened: list[TrackLog] = field(default_factory=list)
    needs: int = 0

    def __post_init__(self) -> None:
        self.track = IncomingTrack(
            self.line, peer_info(), open_track=self.open, new_id=lambda: f"id-{len(self.opened)}", on_need=self.need
        )
        self.streams: dict[int, Stream] = {}

    def open(self, info: TrackInfo, control: TrackControl, at_ns: int) -> TrackLog:
        self.opened.append(TrackLog(info, control, at_ns, asyncio.Event()))
        return self.opened[-1]

    def need(self) -> None:
        self.needs += 1

    def stream(self, ssrc: int, now: int) -> Stream:
        if ssrc not in self.streams:
            self.streams[ssrc] = Stream(ssrc, self.track, repairs=ssrc == 2, now=now)
        return self.streams[ssrc]

    def feed(self, ssrc: int, sequence: int, now_ms: int, payload: bytes = b"\x10\x01", *, timestamp: int = -1) -> None:
        """A one-packet frame; the timestamp follows the time."""
        now = now_ms * MS
        stream = self.stream(ssrc, now)
        stream.last_ns = now
        stamp = now_ms * 90 if timestamp < 0 else timestamp
        stream.reception.count(sequence, stamp, now)
        codec = Codec.OPUS if self.line.kind is Kind.AUDIO else Codec.VP8
        if stream.repairs:
            self.track.repair(stream, stamp, True, codec, payload, now)
        else:
            self.track.packet(stream, sequence, stamp, True, codec, payload, now)

    def report(self, ssrc: int, now_ms: int, timestamp: int, wallclock_ns: int = 10**18) -> None:
        stream = self.stream(ssrc, now_ms * MS)
        self.track.sender_report(stream, SenderReport(ssrc, ntp_from_ns(wallclock_ns), timestamp), now_ms * MS)

    @property
    def log(self) -> TrackLog:
        return self.opened[-1]


KEY = b"\x10\x00"


def test_track_opens_with_its_first_media() -> None:
    bench = Bench()
    bench.feed(1, 1, 0, b"")
    assert bench.opened == []
    bench.feed(1, 2, 5, KEY)
    assert bench.log.opened_at == 5 * MS
    assert bench.log.info.channels == 0
    assert len(bench.log.frames) == 1


def test_retransmission_fills_the_gap() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    bench.feed(1, 12, 66)
    assert bench.needs == 1
    assert [parse_rtcp(m) for m in bench.track.feedback(7, 90 * MS)] == [[Nack(1, (11,))]]
    bench.feed(2, 500, 100, b"\0\x0b\x10\x01", timestamp=33 * 90)
    assert [frame.media_time for frame in bench.log.frames] == [0, 33 * 90, 66 * 90]
    assert bench.log.held == [66 * MS, None]
    bench.feed(2, 501, 101, b"\0\x0b\x10\x01", timestamp=33 * 90)
    bench.feed(2, 502, 102, b"")
    bench.feed(2, 503, 103, b"\0")
    assert len(bench.log.frames) == 3


def test_retransmission_of_a_replaced_source_is_ignored() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    bench.feed(5, 100, 33, KEY)
    bench.feed(5, 102, 66)
    bench.feed(2, 500, 100, b"\0\x65\x10\x01")  # would be number 101
    assert len(bench.log.frames) == 2
    assert bench.log.held == [66 * MS]


def test_new_source_takes_over_and_the_old_one_is_not_heard_while_it_lives() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    bench.feed(5, 900, 33, KEY)
    bench.feed(1, 11, 40)
    bench.feed(5, 901, 66)
    assert [frame.arrival_ns // MS for frame in bench.log.frames] == [0, 33, 66]
    assert bench.log.breaks == [1]
    assert bench.track.ssrc == 5


def test_old_source_is_heard_again_when_its_successor_is_silent() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    bench.feed(5, 900, 33, KEY)
    bench.feed(1, 11, 1000)
    assert bench.track.ssrc == 5
    bench.feed(1, 12, 1034, KEY)
    assert bench.track.ssrc == 1
    assert len(bench.opened) == 1
    assert bench.log.frames[-1].flags == FrameFlags.KEY | FrameFlags.DISCONTINUITY | FrameFlags.NEW_CLOCK


def test_padding_of_a_new_source_does_not_take_over() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    bench.feed(5, 900, 33, b"")
    assert bench.track.ssrc == 1


def test_bye_saves_what_is_whole_and_late_packets_do_not_reopen() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    bench.feed(1, 12, 66, KEY)
    bench.track.bye(bench.stream(1, 0), 70 * MS)
    assert bench.log.closed
    assert [frame.media_time for frame in bench.log.frames] == [0, 66 * 90]
    bench.feed(1, 11, 80)
    bench.feed(1, 13, 369)
    assert len(bench.opened) == 1
    bench.feed(1, 14, 370, KEY)
    assert len(bench.opened) == 2
    assert bench.log.info.track_id == "id-1"


def test_bye_of_a_source_that_is_not_the_tracks_changes_nothing() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    bench.track.bye(bench.stream(2, 0), 1)
    assert not bench.log.closed


def test_sender_report_before_the_first_frame_is_passed_on_with_it() -> None:
    bench = Bench()
    bench.report(1, 0, 5 * 90)
    bench.feed(1, 10, 5, KEY)
    assert bench.log.reports == [(0, 10**18, 5 * 90)]
    bench.report(1, 40, 40 * 90, 10**18 + 35 * MS)
    assert bench.log.reports[1:] == [(40 * MS, 10**18 + 35 * MS, 40 * 90)]


def test_sender_report_of_a_new_source_waits_for_its_first_frame() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    bench.report(5, 30, 1_000_000)
    assert bench.log.reports == []
    bench.feed(5, 900, 33, KEY, timestamp=1_000_090)
    ((at, _, media),) = bench.log.reports
    assert (at, media) == (30 * MS, bench.log.frames[-1].media_time - 90)


def test_sender_report_that_fits_nothing_is_dropped_in_time() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    bench.report(1, 10, 3_000_000_000)
    assert bench.stream(1, 0).report is not None
    for i in range(11, 200):
        bench.feed(1, i, (i - 10) * 33)
    assert bench.log.reports == []
    assert bench.stream(1, 0).report is None


def test_mute_is_told_after_silence_and_taken_back_with_media() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    bench.track.tick(1499 * MS)
    assert bench.log.mutes == []
    bench.track.tick(1500 * MS)
    bench.track.tick(9000 * MS)
    assert bench.log.mutes == [True]
    bench.feed(1, 11, 9000, b"")
    assert bench.log.mutes == [True]
    bench.feed(1, 12, 9033)
    assert bench.log.mutes == [True, False]
    assert bench.log.breaks == []


def test_silent_sound_is_never_muted() -> None:
    bench = Bench(AUDIO)
    bench.feed(9, 10, 0)
    bench.track.tick(60_000 * MS)
    assert bench.log.mutes == []
    assert bench.log.info.channels == 2


def test_key_frame_requests_are_throttled_and_end_with_the_track() -> None:
    bench = Bench()
    bench.feed(1, 10, 0, KEY)
    control = bench.log.control
    control.request_keyframe()
    assert bench.needs == 1
    asked = [ms for ms in range(0, 2000, 20) if bench.track.feedback(7, ms * MS)]
    assert asked == [0, 500, 1000, 1500]
    bench.feed(1, 11, 2000, KEY)
    assert bench.track.feedback(7, 3000 * MS) == []
    control.request_keyframe()
    (message,) = bench.track.feedback(7, 3000 * MS)
    assert parse_rtcp(message) == [KeyframeRequest(1)]
    bench.track.close(3100 * MS)
    bench.feed(1, 12, 3200, KEY)
    control.request_keyframe()
    assert bench.track.feedback(7, 9000 * MS) == []


def test_nobody_is_asked_for_anything_before_media() -> None:
    assert Bench().track.feedback(7, 0) == []


def test_hostile_flapping_between_sources_keeps_the_rules_of_the_sink() -> None:
    bench = Bench()
    for i in range(3000):
        bench.feed(i * 7 % 50, i * 13 & 0xFFFF, i, KEY if i % 3 else b"\x10\x01", timestamp=i * 12_345_677 & 0xFFFFFFFF)
        if i % 20 == 0:
            bench.track.tick(i * MS)
            bench.track.feedback(7, i * MS)
        if i % 500 == 499:
            bench.track.bye(bench.stream(bench.track.ssrc or 0, i * MS), i * MS)
    bench.track.close(10_000 * MS)
    assert all(log.closed for log in bench.opened)
    for log in bench.opened:
        times = [frame.media_time for frame in log.frames]
        assert times == sorted(times)
