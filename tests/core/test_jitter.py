"""core.jitter: order, completeness and boundedness, in simulated time."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.wire import MS, SETS, S, Wire, h264_frame

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Kind
from tapedeck.core.jitter import JitterBuffer
from tapedeck.testing.link import Impairment

KEY, BREAK = FrameFlags.KEY, FrameFlags.DISCONTINUITY


def video(nack: bool = True) -> JitterBuffer:
    return JitterBuffer(Kind.VIDEO, Codec.VP8, nack=nack)


def vp8(frame: bytes, *, first: bool = True) -> bytes:
    """A payload; key frames begin with an even byte."""
    return (b"\x10" if first else b"\x00") + frame


def push(
    buffer: JitterBuffer, sequence: int, now_ms: int, frame: bytes = b"\x01", *, timestamp: int | None = None
) -> list[EncodedFrame]:
    """A one-packet frame, 33 ms of timestamp per sequence number."""
    stamp = sequence * 3000 if timestamp is None else timestamp
    return list(buffer.push(sequence & 0xFFFF, stamp & 0xFFFFFFFF, True, Codec.VP8, vp8(frame), now_ms * MS))


# on a clean network


def test_every_frame_passes_at_once_and_over_the_wraps() -> None:
    """Sequence numbers and timestamps both wrap in this half minute."""
    wire = Wire()
    wire.play(30, key_every=60)
    wire.settle(0.1)
    assert wire.check() == list(range(900))
    times = [frame.media_time for frame in wire.received]
    assert [b - a for a, b in itertools.pairwise(times)] == [3000] * 899
    assert times[-1] > 1 << 32
    assert wire.asked == 0
    assert wire.key_requests == 0
    assert {bool(frame.flags & KEY) for frame in wire.received[::60]} == {True}
    assert not any(frame.flags & BREAK for frame in wire.received)


def test_arrival_of_a_frame_is_that_of_its_last_packet() -> None:
    buffer = video()
    buffer.push(1, 0, False, Codec.VP8, vp8(b"\x00a"), 5 * MS)
    (frame,) = buffer.push(2, 0, True, Codec.VP8, vp8(b"b", first=False), 9 * MS)
    assert (frame.payload, frame.arrival_ns, frame.flags) == (b"\x00ab", 9 * MS, KEY)


def test_frame_without_marker_ends_at_the_next_timestamp() -> None:
    buffer = video()
    assert not buffer.push(1, 0, False, Codec.VP8, vp8(b"\x00"), 0)
    (frame,) = buffer.push(2, 3000, False, Codec.VP8, vp8(b"\x01"), 33 * MS)
    assert frame.payload == b"\x00"
    assert frame.arrival_ns == 0


def test_frame_without_marker_and_one_packet_with_it_come_together() -> None:
    buffer = video()
    buffer.push(1, 0, False, Codec.VP8, vp8(b"\x00"), 0)
    frames = buffer.push(2, 3000, True, Codec.VP8, vp8(b"\x01"), 33 * MS)
    assert [frame.payload for frame in frames] == [b"\x00", b"\x01"]


def test_padding_is_counted_but_is_no_media() -> None:
    buffer = video()
    push(buffer, 1, 0, b"\x00")
    assert not buffer.push(2, 3000, False, Codec.VP8, b"", 10 * MS)
    assert len(push(buffer, 3, 33)) == 1
    assert not buffer.missing
    assert buffer.stats.frames == 2


def test_padding_between_the_packets_of_a_frame_does_not_break_it() -> None:
    buffer = video()
    buffer.push(1, 0, False, Codec.VP8, vp8(b"\x00a"), 0)
    buffer.push(2, 0, False, Codec.VP8, b"", 0)
    (frame,) = buffer.push(3, 0, True, Codec.VP8, vp8(b"b", first=False), 0)
    assert frame.payload == b"\x00ab"


def test_codec_may_change_between_frames() -> None:
    buffer = video()
    push(buffer, 1, 0, b"\x00")
    payload = SETS[4:10]
    assert not buffer.push(2, 3000, False, Codec.H264, payload, 33 * MS)
    assert not buffer.push(3, 3000, False, Codec.H264, SETS[14:], 33 * MS)
    (frame,) = buffer.push(4, 3000, True, Codec.H264, b"\x65\x88\x01", 33 * MS)
    assert (frame.codec, frame.flags) == (Codec.H264, KEY)


def test_first_frame_that_is_no_key_frame_asks_for_one() -> None:
    buffer = video()
    (frame,) = push(buffer, 1, 0, b"\x01")
    assert frame.flags == BREAK
    assert buffer.take_keyframe_request(0)
    assert not buffer.take_keyframe_request(499 * MS)
    assert buffer.take_keyframe_request(500 * MS)
    push(buffer, 2, 600, b"\x00")
    assert not buffer.take_keyframe_request(5 * S)


def test_stream_that_begins_in_the_middle_of_a_frame_waits_for_the_beginning_then_skips_it() -> None:
    buffer = video()
    assert not buffer.push(1, 0, True, Codec.VP8, vp8(b"tail", first=False), 0)
    assert push(buffer, 2, 33, b"\x00") == []
    assert buffer.nacks(30 * MS)[-3:] == [65534, 65535, 0]
    assert buffer.take_keyframe_request(450 * MS)
    (frame,) = buffer.poll(500 * MS)
    assert frame.flags & KEY
    assert (buffer.stats.frames_dropped, buffer.stats.packets_lost) == (1, 0)


@pytest.mark.parametrize("order", [[2, 1, 0], [1, 0, 2], [1, 2, 0], [2, 0, 1]])
def test_first_frame_may_arrive_in_any_order(order: list[int]) -> None:
    buffer = JitterBuffer(Kind.VIDEO, Codec.H264)
    payloads = [SETS[4:10], SETS[14:], b"\x65\x88\x01"]
    got: list[EncodedFrame] = []
    for number in order:
        got += buffer.push(number, 0, number == 2, Codec.H264, payloads[number], number * MS)
    assert [frame.payload for frame in got] == [SETS + b"\0\0\0\1" + payloads[2]]
    assert got[0].flags == KEY
    assert not buffer.missing


def test_first_frame_that_never_gets_whole_is_not_passed() -> None:
    """Its end comes first, then its beginning, and the packet between them never."""
    buffer = video()
    buffer.push(12, 0, True, Codec.VP8, vp8(b"c", first=False), 0)
    assert not buffer.push(10, 0, False, Codec.VP8, vp8(b"\x00a"), 5 * MS)
    assert buffer.poll(600 * MS) == []
    assert 11 in buffer.nacks(600 * MS)
    got = [*push(buffer, 13, 700), *buffer.poll(3 * S)]
    assert [frame.flags for frame in got] == [BREAK]
    assert buffer.stats.packets_lost == 1


def test_key_frame_with_parameter_sets_of_the_sdp_only_is_taken_after_a_wait() -> None:
    buffer = JitterBuffer(Kind.VIDEO, Codec.H264, parameter_sets=[SETS[4:10], SETS[14:]])
    assert not buffer.push(9, 0, True, Codec.H264, b"\x65\x88\x01", 0)
    (frame,) = buffer.poll(500 * MS)
    assert frame.flags == KEY
    assert buffer.stats.frames_dropped == 0


# loss


def test_missing_packet_is_asked_for_and_the_order_kept() -> None:
    buffer = video()
    push(buffer, 1, 0, b"\x00")
    assert push(buffer, 3, 66) == []
    assert buffer.held_since == 66 * MS
    assert buffer.nacks(85 * MS) == []  # it may only have been overtaken
    assert buffer.nacks(86 * MS) == [2]
    assert buffer.nacks(87 * MS) == []
    frames = push(buffer, 2, 100)
    assert [frame.media_time for frame in frames] == [6000, 9000]
    assert [frame.arrival_ns for frame in frames] == [100 * MS, 66 * MS]
    assert not any(frame.flags & BREAK for frame in frames)
    assert not buffer.missing
    assert buffer.stats.packets_recovered == 1


def test_requests_follow_the_round_trip_and_grow_rarer() -> None:
    def times(rtt_ms: int) -> list[int]:
        buffer = video()
        buffer.observe_rtt(rtt_ms * MS)
        push(buffer, 1, 0, b"\x00")
        push(buffer, 3, 0)
        return [ms for ms in range(2000) if buffer.nacks(ms * MS)]

    near, far = times(5), times(400)
    assert near[0] == far[0] == 20
    assert 8 <= len(near) <= 14
    assert 2 <= len(far) <= 4
    for asked in (near, far):
        gaps = [b - a for a, b in itertools.pairwise(asked)]
        assert gaps == sorted(gaps)
    assert far[1] - far[0] >= 400


def test_round_trip_is_learnt_from_answers_to_a_first_request() -> None:
    buffer = video()
    push(buffer, 1, 0, b"\x00")
    push(buffer, 3, 0)
    buffer.nacks(20 * MS)
    push(buffer, 2, 320)
    push(buffer, 5, 330)
    buffer.nacks(350 * MS)
    assert buffer.nacks((350 + 360) * MS) == []
    assert buffer.nacks((350 + 390) * MS) == [4]


def test_packet_given_up_after_two_seconds_breaks_the_track_once() -> None:
    buffer = video()
    push(buffer, 1, 0, b"\x00")
    for i in range(3, 10):
        push(buffer, i, i * 33)
    assert buffer.poll(99 * MS + 1999 * MS) == []
    frames = buffer.poll(99 * MS + 2000 * MS)
    assert [frame.media_time // 3000 for frame in frames] == list(range(3, 10))
    assert [bool(frame.flags & BREAK) for frame in frames] == [True] + [False] * 6
    assert buffer.take_keyframe_request(3 * S)
    assert buffer.stats.packets_lost == 1
    assert push(buffer, 2, 2200) == []  # too late
    assert buffer.stats.packets_refused == 1


def test_key_frame_is_asked_for_before_a_loss_is_given_up() -> None:
    buffer = video()
    push(buffer, 1, 0, b"\x00")
    push(buffer, 3, 0)
    assert not buffer.take_keyframe_request(399 * MS)
    assert buffer.take_keyframe_request(400 * MS)
    buffer = video()
    buffer.observe_rtt(300 * MS)
    push(buffer, 1, 0, b"\x00")
    push(buffer, 3, 0)
    assert not buffer.take_keyframe_request(1199 * MS)
    assert buffer.take_keyframe_request(1200 * MS)


def test_sender_without_nack_is_not_asked_nor_waited_for() -> None:
    buffer = video(nack=False)
    push(buffer, 1, 0, b"\x00")
    push(buffer, 3, 66)
    assert buffer.nacks(1 * S) == []
    assert buffer.take_keyframe_request(86 * MS)
    assert len(buffer.poll((66 + 250) * MS)) == 1


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_damaged_frame_is_dropped_whichever_packet_is_lost(lost: int) -> None:
    """Three frames of three packets; one packet of the second never comes."""
    buffer = video()
    got: list[EncodedFrame] = []
    for number in range(9):
        frame, part = divmod(number, 3)
        if frame == 1 and part == lost:
            continue
        payload = vp8(b"\x00" if frame == 0 else b"\x01", first=part == 0)
        got += buffer.push(number, frame * 3000, part == 2, Codec.VP8, payload, 0)
    got += buffer.poll(3 * S)
    assert [frame.media_time // 3000 for frame in got] == [0, 2]
    assert [frame.flags for frame in got] == [KEY, BREAK]
    assert buffer.stats.frames_dropped == 1


def test_lost_end_and_lost_beginning_do_not_make_one_frame() -> None:
    """The last packet of one frame and the first of the next are lost: neither passes, nor a mixture."""
    buffer = video()
    push(buffer, 0, 0, b"\x00")
    buffer.push(1, 3000, False, Codec.VP8, vp8(b"\x01a"), 0)
    got = list(buffer.push(4, 6000, True, Codec.VP8, vp8(b"d", first=False), 0))
    got += buffer.poll(3 * S)
    assert got == []
    (frame,) = push(buffer, 5, 3100)
    assert frame.flags & BREAK


def test_h264_key_frame_that_lost_its_parameter_sets_is_dropped() -> None:
    buffer = JitterBuffer(Kind.VIDEO, Codec.H264)
    for number, payload in enumerate([SETS[4:10], SETS[14:], b"\x65\x88\x01"]):
        buffer.push(number, 0, number == 2, Codec.H264, payload, 0)
    # 3 held the new sets and is lost
    got = list(buffer.push(4, 3000, True, Codec.H264, b"\x65\x88\x02", 0))
    got += buffer.poll(3 * S)
    assert got == []
    got = list(buffer.push(5, 6000, True, Codec.H264, b"\x41\x9a\x03", 3100 * MS))
    assert [frame.flags for frame in got] == [BREAK]


def test_audio_continues_after_a_loss() -> None:
    buffer = JitterBuffer(Kind.AUDIO, Codec.OPUS)
    got: list[EncodedFrame] = []
    for i in range(10):
        if i != 4:
            got += buffer.push(i, i * 960, False, Codec.OPUS, b"\xfc%d" % i, i * 20 * MS)
    assert len(got) == 4
    got += buffer.poll(3 * S)
    assert [frame.media_time // 960 for frame in got] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert [bool(frame.flags & BREAK) for frame in got] == [i == 4 for i in range(9)]
    assert all(frame.is_key for frame in got)
    assert not buffer.take_keyframe_request(3 * S)


def test_silence_of_discontinuous_transmission_is_not_missing() -> None:
    buffer = JitterBuffer(Kind.AUDIO, Codec.OPUS)
    got = [*buffer.push(1, 0, True, Codec.OPUS, b"\xfc", 0)]
    got += buffer.push(2, 48_000 * 60, True, Codec.OPUS, b"\xfc", 60 * S)
    assert [frame.media_time for frame in got] == [0, 48_000 * 60]
    assert not got[1].flags & BREAK
    assert buffer.nacks(61 * S) == []


# a bad network, as a whole


@pytest.mark.parametrize("seed", range(4))
def test_five_percent_loss_with_delay_and_reorder_loses_nothing(seed: int) -> None:
    """5 % loss both ways, 80 ms delay, jitter and reordering: every frame is recovered."""
    bad = Impairment(loss=0.05, delay_ms=80, jitter_ms=15, reorder=0.05, reorder_ms=40, duplicate=0.01)
    wire = Wire(forward=bad, back=bad, seed=seed)
    wire.buffer.observe_rtt(160 * MS)
    wire.play(30)
    wire.settle()
    assert wire.check() == list(range(900))
    assert not any(frame.flags & BREAK for frame in wire.received)
    assert wire.buffer.stats.packets_lost == 0
    assert wire.buffer.stats.packets_recovered > 100


@pytest.mark.parametrize("seed", range(3))
def test_terrible_network_passes_no_damaged_frame_and_recovers(seed: int) -> None:
    """40 % loss and a second of delay: NACK is too slow, frames are skipped cleanly, key frames bring it back."""
    bad = Impairment(loss=0.4, delay_ms=500, jitter_ms=100, reorder=0.2, duplicate=0.1)
    wire = Wire(forward=bad, back=bad, seed=seed)
    wire.play(30)
    wire.forward = Impairment()
    wire.settle()
    numbers = wire.check()
    assert 50 < len(numbers) < 900
    assert wire.key_requests > 3


def test_sender_that_resends_nothing_costs_frames_but_none_is_damaged() -> None:
    wire = Wire(forward=Impairment(loss=0.02, delay_ms=20), seed=5, answers_nack=False)
    wire.play(30)
    wire.settle()
    numbers = wire.check()
    assert 600 < len(numbers) < 900
    keys = [i for i, frame in enumerate(wire.received) if frame.is_key]
    assert len(keys) > 5


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(0, 0.3),
    st.floats(0, 200),
    st.floats(0, 100),
    st.floats(0, 0.2),
    st.integers(0, 65535),
    st.sampled_from([Codec.H264, Codec.VP8]),
)
def test_no_network_makes_a_damaged_frame(
    seed: int, loss: float, delay: float, jitter: float, duplicate: float, sequence: int, codec: Codec
) -> None:
    bad = Impairment(loss=loss, delay_ms=delay, jitter_ms=jitter, reorder=0.1, duplicate=duplicate)
    wire = Wire(forward=bad, back=bad, seed=seed, codec=codec, sequence=sequence)
    wire.play(2)
    wire.settle()
    wire.check()
    assert not wire.buffer.missing
    assert wire.buffer.held_since is None


# senders that begin anew


def test_duplicates_change_nothing() -> None:
    buffer = video()
    for i in range(5):
        assert len(push(buffer, i, i)) == 1
        assert push(buffer, i, i) == []
        assert push(buffer, i - 1, i) == []
    assert buffer.stats.packets_refused == 10


def test_timestamp_reset_is_marked_and_time_goes_on_by_arrival() -> None:
    buffer = video()
    got = [*push(buffer, 1, 0, b"\x00", timestamp=3_000_000_000), *push(buffer, 2, 33, timestamp=3_000_003_000)]
    got += push(buffer, 3, 66, timestamp=77)
    got += push(buffer, 4, 99, timestamp=3077)
    assert [frame.flags for frame in got] == [KEY, FrameFlags.NONE, FrameFlags.NEW_CLOCK, FrameFlags.NONE]
    assert [frame.media_time - 3_000_000_000 for frame in got] == [0, 3000, 5970, 8970]
    assert buffer.stats.resets == 1


def test_sequence_restart_is_believed_after_two_packets_in_a_row() -> None:
    buffer = video()
    push(buffer, 100, 0, b"\x00")
    assert push(buffer, 30_000, 33, timestamp=303_000) == []
    got = push(buffer, 30_001, 66, timestamp=306_000)
    assert [frame.media_time for frame in got] == [303_000, 306_000]
    assert got[0].flags & BREAK
    assert buffer.nacks(5 * S) == []


def test_stray_sequence_numbers_are_ignored() -> None:
    buffer = video()
    push(buffer, 100, 0, b"\x00")
    for i, stray in enumerate([30_000, 45_000, 60_001, 29_999]):
        assert push(buffer, stray, i) == []
        assert len(push(buffer, 101 + i, i)) == 1
    assert push(buffer, 30_000, 50) == []  # follows 29 999, but not in a row
    assert buffer.stats.packets_refused == 5
    assert buffer.stats.resets == 0


def test_new_source_continues_the_track() -> None:
    """As after an SSRC change: other numbers, other timestamps, the same counter of time."""
    buffer = video()
    push(buffer, 100, 0, b"\x00", timestamp=5000)
    push(buffer, 102, 66, timestamp=11_000)
    saved = buffer.restart(70 * MS, new_clock=True)
    assert [frame.media_time for frame in saved] == [11_000]
    (frame,) = push(buffer, 7, 166, b"\x00", timestamp=4_000_000_000)
    assert frame.media_time == 11_000 + 9000
    assert frame.flags == KEY | BREAK | FrameFlags.NEW_CLOCK
    assert not buffer.missing


def test_flush_saves_what_is_whole() -> None:
    buffer = video()
    push(buffer, 1, 0, b"\x00")
    push(buffer, 3, 66)
    buffer.push(5, 15_000, False, Codec.VP8, vp8(b"\x01"), 99 * MS)
    frames = buffer.flush()
    assert [frame.media_time for frame in frames] == [9000]
    assert buffer.held_since is None


# hostile senders


def held(buffer: JitterBuffer) -> int:
    """Bytes and packets that a buffer holds, by looking inside."""
    waiting = sum(len(packet[3]) for packet in buffer._waiting.values())
    parts = sum(len(part) for part in buffer._parts)
    return waiting + parts + 200 * (len(buffer._waiting) + len(buffer.missing) + len(buffer._parts))


@settings(max_examples=9, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["any", "gaps", "far"]))
def test_random_sequence_numbers_do_not_fill_memory(seed: int, style: str) -> None:
    source = random.Random(seed)
    buffer = JitterBuffer(Kind.VIDEO, Codec.H264)
    sequence, now = 0, 0
    for _ in range(1000):
        step = {"any": source.randrange(65536), "gaps": source.randrange(1, 900), "far": source.randrange(900, 3500)}
        sequence = (sequence + step[style]) & 0xFFFF
        now += source.randrange(3 * MS)
        payload = source.randbytes(source.randrange(0, 1200))
        buffer.push(sequence, source.getrandbits(32), source.random() < 0.3, Codec.H264, payload, now)
        if source.random() < 0.1:
            buffer.poll(now)
            assert len(buffer.nacks(now)) <= 1000
        assert len(buffer.missing) <= 1000
    assert held(buffer) < 16 << 20


def test_held_packets_are_bounded_in_bytes() -> None:
    buffer = JitterBuffer(Kind.VIDEO, Codec.H264)
    buffer.push(0, 0, True, Codec.H264, b"\x41\x9a", 0)
    for i in range(2, 20_000):
        buffer.push(i & 0xFFFF, 3000, False, Codec.H264, b"\x41" + bytes(1400), 0)
        assert i % 500 or held(buffer) < 20 << 20
    assert buffer.stats.packets_lost == 1


def test_frame_without_end_is_dropped() -> None:
    buffer = JitterBuffer(Kind.VIDEO, Codec.H264)
    for i in range(10_000):
        payload = b"\x41\x9a" if i == 0 else b"\x41\x1a" + bytes(1300)
        assert not buffer.push(i & 0xFFFF, 0, False, Codec.H264, payload, 0)
        assert i % 500 or held(buffer) < 6 << 20
    assert buffer.stats.frames_dropped >= 1
    (frame,) = buffer.push(10_000, 3000, True, Codec.H264, h264_frame(1, 50, key=False)[4:], 33 * MS)
    assert frame.flags & BREAK


def test_frame_of_countless_tiny_packets_is_dropped() -> None:
    buffer = JitterBuffer(Kind.VIDEO, Codec.H264)
    for i in range(10_000):
        buffer.push(i & 0xFFFF, 0, False, Codec.H264, b"\x41", 0)
    assert held(buffer) < 2 << 20


def test_outage_longer_than_can_be_asked_for_is_given_up_at_once() -> None:
    buffer = video()
    push(buffer, 1, 0, b"\x00")
    (frame,) = push(buffer, 1500, 6000, b"\x00", timestamp=90_000 * 6)
    assert frame.flags == KEY | BREAK
    assert buffer.nacks(7 * S) == []
    assert buffer.stats.packets_lost == 1498
