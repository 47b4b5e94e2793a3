"""Opus, speed corrections and the limiter, judged by samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.media.tones import RATE, Sound, both, clicks, level, opus, pitch, pulse_times, tone

from tapedeck.core.errors import MediaError
from tapedeck.media.sound import LIMIT, OPUS_LOOKAHEAD, Limiter, OpusDecoder, opus_samples, stretch


@pytest.mark.parametrize("packet_ms", [2.5, 5, 10, 20, 40, 60, 80, 120])
@pytest.mark.parametrize("channels", [1, 2])
def test_packets_of_every_length_decode_to_what_their_first_bytes_say(packet_ms: float, channels: int) -> None:
    sound = tone(440, RATE)
    decoder = OpusDecoder()
    parts = []
    for packet in opus(both(sound) if channels == 2 else sound, packet_ms):
        assert opus_samples(packet) == packet_ms * 48
        parts.append(decoder.decode(packet))
        assert parts[-1].shape == (packet_ms * 48, 2)
        assert parts[-1].dtype == np.float32
    heard = np.concatenate(parts)[4800:]
    np.testing.assert_allclose(heard[:, 0], heard[:, 1], atol=0.01)
    assert pitch(heard[:, 0]) == pytest.approx(440, abs=0.5)
    assert level(heard[:, 0]) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_low_rates_use_the_speech_codec_and_are_as_long() -> None:
    decoder = OpusDecoder()
    for packet in opus(tone(200, RATE), 60, 10_000, {"application": "voip"}):
        assert packet[0] >> 3 < 12, "SILK"
        assert len(decoder.decode(packet)) == opus_samples(packet) == 2880


def test_decoded_sound_is_late_by_the_look_ahead() -> None:
    at = [9600, 20_000, 31_234]
    decoder = OpusDecoder()
    heard = np.concatenate([decoder.decode(packet) for packet in opus(clicks(RATE, at))])[:, 0]
    assert pulse_times(heard, at) == pytest.approx([a + OPUS_LOOKAHEAD for a in at], abs=1)


def test_a_sender_may_change_between_mono_and_stereo() -> None:
    left_only = np.stack((tone(440, RATE // 2), np.zeros(RATE // 2, np.float32)), axis=1)
    decoder = OpusDecoder()
    mono = np.concatenate([decoder.decode(p) for p in opus(tone(440, RATE // 2))])
    stereo = np.concatenate([decoder.decode(p) for p in opus(left_only)])
    assert level(mono[4800:, 1]) > 0.3
    assert level(stereo[4800:, 0]) > 0.3
    assert level(stereo[4800:, 1]) < 0.02


def test_concealment_goes_on_like_the_last_packet_and_dies_away() -> None:
    decoder = OpusDecoder()
    for packet in opus(tone(400, RATE // 2)):
        decoder.decode(packet)
    concealed = [decoder.conceal() for _ in range(10)]
    assert all(len(part) == decoder.frame_samples == 960 for part in concealed)
    assert level(concealed[0]) > 0.2
    assert level(concealed[9]) < level(concealed[0])


@pytest.mark.parametrize("payload", [b"", b"\x03", b"\x03\x00", b"\x0b\x3f", b"\x7b\xff\xff\xff"])
def test_a_broken_packet_is_refused_and_decoding_goes_on(payload: bytes) -> None:
    decoder = OpusDecoder()
    packets = opus(tone(440, RATE // 4))
    decoder.decode(packets[0])
    with pytest.raises(MediaError):
        decoder.decode(payload)
    assert level(np.concatenate([decoder.decode(p) for p in packets])[4800:, 0]) > 0.3


@given(st.binary(max_size=80))
def test_no_bytes_make_the_decoder_fail_otherwise(payload: bytes) -> None:
    try:
        samples = _DECODER.decode(payload)
    except MediaError:
        return
    assert len(samples) == opus_samples(payload)


_DECODER = OpusDecoder()


def test_a_reset_decoder_knows_nothing_of_the_past() -> None:
    used, fresh = OpusDecoder(), OpusDecoder()
    for packet in opus(tone(3000, RATE // 2)):
        used.decode(packet)
    used.reset()
    for packet in opus(tone(440, RATE // 4)):
        np.testing.assert_array_equal(used.decode(packet), fresh.decode(packet))


@pytest.mark.parametrize("by", [-4, -1, 1, 2, 4])
def test_stretched_blocks_join_without_a_seam_and_keep_their_tone(by: int) -> None:
    hz = 6000.0
    blocks = np.split(both(tone(hz, 9600)), 10)
    joined = np.concatenate([stretch(block, by) for block in blocks])[:, 0]
    assert len(joined) == 9600 + 10 * by
    position = np.concatenate([_positions(i * 960, 960, by) for i in range(10)])
    wanted = 0.5 * np.sin(2 * np.pi * hz * position / RATE)
    error = joined - wanted
    assert np.std(error) < 0.001 * np.std(wanted)  # -60 dB
    assert np.abs(error).max() < 0.005


def _positions(start: int, length: int, by: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Where in the original the samples of a stretched block come from."""
    inner = 8 + np.arange(length + by - 16) * (length - 16) / (length + by - 16)
    return start + np.concatenate((np.arange(8.0), inner, np.arange(length - 8.0, length)))


def test_no_stretch_is_no_change() -> None:
    block = both(tone(440, 960))
    assert stretch(block, 0) is block


def _limited(sound: Sound, blocks: list[int]) -> tuple[Sound, Sound]:
    """(input, output) of a limiter that is fed so many blocks at a time, over and over."""
    limiter, parts, at, turn = Limiter(), [], 0, 0
    whole = len(sound) // Limiter.BLOCK * Limiter.BLOCK
    while at < whole:
        size = min(blocks[turn % len(blocks)] * Limiter.BLOCK, whole - at)
        parts.append(limiter.push(sound[at : at + size]))
        at, turn = at + size, turn + 1
    out = np.concatenate(parts)
    return sound[: len(out)], out


def test_the_limiter_changes_nothing_below_its_limit() -> None:
    sound, out = _limited(both(tone(440, RATE, 0.89)), [4])
    np.testing.assert_array_equal(out, sound)


def test_the_limiter_is_transparent_again_after_a_loud_moment() -> None:
    quiet = both(tone(440, 2 * RATE, 0.3))
    quiet[RATE // 2 : RATE // 2 + 100] *= 20
    sound, out = _limited(quiet, [7])
    assert np.abs(out).max() <= LIMIT + 1e-6
    np.testing.assert_array_equal(out[: RATE // 2 - 2 * Limiter.BLOCK], sound[: RATE // 2 - 2 * Limiter.BLOCK])
    np.testing.assert_array_equal(out[RATE:], sound[RATE:])


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 1000), loudness=st.floats(0.1, 30), blocks=st.lists(st.integers(1, 40), min_size=1, max_size=5)
)
def test_nothing_gets_over_the_limit_and_call_sizes_do_not_matter(
    seed: int, loudness: float, blocks: list[int]
) -> None:
    random = np.random.default_rng(seed)
    wave = random.standard_normal((RATE // 4, 2)) * np.repeat(random.random((RATE // 400, 1)), 100, axis=0)
    sound = (loudness * wave).astype(np.float32)
    _, out = _limited(sound, blocks)
    assert np.abs(out).max() <= LIMIT + 1e-6
    np.testing.assert_array_equal(out, _limited(sound, [100])[1])


def test_limiting_bends_the_gain_and_never_breaks_it() -> None:
    sound, out = _limited(both(tone(100, RATE, 3.0) * np.linspace(0, 1, RATE, dtype=np.float32)), [10])
    loud = np.abs(sound[:, 0]) > 0.01
    gain = out[loud, 0] / sound[loud, 0]
    assert gain.min() == pytest.approx(LIMIT / 3, rel=0.05)
    assert np.abs(np.diff(gain)).max() < 0.02
