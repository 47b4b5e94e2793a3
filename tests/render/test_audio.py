"""The mixer, judged by what is heard where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.media.tones import RATE, Sound, both, clicks, level, onsets, opus, pitch, pulse_times, tone

from tapedeck.media.sound import LIMIT, OPUS_LOOKAHEAD, OpusDecoder
from tapedeck.render.audio import AudioMixer

PACKET_NS = 20_000_000
PACKET = 960


class Feed:
    """One track's packets with their film times, handed over as far as a mixer needs them."""

    def __init__(self, track_id: str, packets: Sequence[tuple[int, bytes]]) -> None:
        self.track_id, self.packets, self.next = track_id, packets, 0

    def advance(self, mixer: AudioMixer, until_ns: int) -> None:
        while self.next < len(self.packets) and self.packets[self.next][0] < until_ns:
            mixer.feed(self.track_id, *self.packets[self.next])
            self.next += 1


def regular(
    packets: Sequence[bytes], start_ns: int = 0, ppm: float = 0, lost: Sequence[int] = ()
) -> list[tuple[int, bytes]]:
    """Packets 20 ms apart on a clock that is off by `ppm`, without those `lost`."""
    step = PACKET_NS * (1 + ppm * 1e-6)
    return [(start_ns + round(i * step), packet) for i, packet in enumerate(packets) if i not in lost]


def mixed(feeds: Sequence[Feed], count: int, chunks: Sequence[int] = (1600,)) -> Sound:
    """`count` samples of the film, (2, n), asked for in the given sizes over and over."""
    mixer, parts, done, turn = AudioMixer(), [], 0, 0
    while done < count:
        size = min(chunks[turn % len(chunks)], count - done)
        turn += 1
        until_ns = (done + size) * 1_000_000_000 // RATE + mixer.LOOKAHEAD_NS
        for feed in feeds:
            feed.advance(mixer, until_ns)
        parts.append(mixer.mix(size))
        done += size
        assert mixer.position_ns == done * 1_000_000_000 // RATE
    return np.concatenate(parts, axis=1)


def steepest(sound: Sound) -> float:
    """The largest step from one sample to the next: a click shows here."""
    return float(np.abs(np.diff(sound)).max())


@pytest.mark.parametrize(("offset_ns", "ppm"), [(0, 0), (7_654_321, 0), (0, 100), (0, -100), (0, 1000), (0, -1000)])
def test_sound_is_within_2_ms_of_its_place_whatever_the_drift(offset_ns: int, ppm: float) -> None:
    at = list(range(12_000, 12 * RATE, 12_000))
    packets = regular(opus(clicks(13 * RATE, at)), offset_ns, ppm)
    film = mixed([Feed("a", packets)], 12 * RATE)
    expected = [a * (1 + ppm * 1e-6) + offset_ns * 48e-6 for a in at if a < 11.9 * RATE]
    found = pulse_times(film[0], [round(e) for e in expected])
    errors = np.abs(np.array(found) - expected)
    assert errors.max() <= 3, "samples"  # the promise is 96


@pytest.mark.parametrize("ppm", [20_000, -20_000])
def test_sound_keeps_up_with_a_track_that_is_being_moved(ppm: float) -> None:
    """`core.sync` moves a peer by up to 2 %; sound that lags behind is out of step with its picture."""
    at = list(range(12_000, 6 * RATE, 12_000))
    film = mixed([Feed("a", regular(opus(clicks(7 * RATE, at)), 0, ppm))], 7 * RATE)
    expected = [a * (1 + ppm * 1e-6) for a in at if a < 5.5 * RATE]
    errors = np.abs(np.array(pulse_times(film[0], [round(e) for e in expected])) - expected)
    assert errors.max() <= 48, "1 ms"


def test_a_single_voice_passes_unchanged() -> None:
    packets = opus(both(tone(300, RATE, 0.85)) * np.array([1, 0.5], np.float32))
    decoder = OpusDecoder()
    heard = np.concatenate([decoder.decode(packet) for packet in packets])
    assert np.abs(heard).max() > 0.84
    film = mixed([Feed("a", regular(packets))], RATE - PACKET)
    edge = 200
    np.testing.assert_array_equal(film.T[edge:], heard[OPUS_LOOKAHEAD + edge :][: RATE - PACKET - edge])


def test_a_drifting_tone_keeps_pitch_and_level_and_has_no_clicks() -> None:
    packets = regular(opus(tone(1000, 5 * RATE)), ppm=200)
    film = mixed([Feed("a", packets)], 4 * RATE)[0]
    steady = film[RATE:]
    assert pitch(steady) == pytest.approx(1000 / 1.0002, abs=0.05)
    assert level(steady) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert steepest(steady) < 1.1 * 0.5 * 2 * np.pi * 1000 / RATE


def test_twenty_five_loud_people_do_not_clip() -> None:
    loud = [Feed(str(i), regular(opus(tone(150 + 37 * i, RATE, 0.9)))) for i in range(25)]
    film = mixed(loud, RATE - PACKET)
    assert np.abs(film).max() <= LIMIT + 1e-6
    assert level(film[0, RATE // 2 :]) > 0.1


def test_two_voices_are_both_heard() -> None:
    feeds = [Feed("a", regular(opus(tone(440, RATE, 0.2)))), Feed("b", regular(opus(tone(1000, RATE, 0.2))))]
    film = mixed(feeds, RATE - PACKET)[0]
    spectrum = np.abs(np.fft.rfft(film[4800:] * np.hanning(len(film) - 4800)))
    hz = np.fft.rfftfreq(len(film) - 4800, 1 / RATE)
    for wanted in (440, 1000):
        assert spectrum[np.abs(hz - wanted) < 5].max() > 50 * np.median(spectrum)


def test_one_lost_packet_is_concealed() -> None:
    packets = regular(opus(tone(400, RATE)), lost=[20])
    film = mixed([Feed("a", packets)], RATE - PACKET)[0]
    hole = film[20 * PACKET :][:PACKET]
    assert level(hole) > 0.2
    assert steepest(film) < 2 * 0.5 * 2 * np.pi * 400 / RATE


def test_a_long_gap_is_silent_after_60_ms_and_does_not_click() -> None:
    packets = regular(opus(tone(400, RATE)), lost=range(15, 30))
    film = mixed([Feed("a", packets)], RATE - PACKET)[0]
    end, again = 15 * PACKET - OPUS_LOOKAHEAD, 30 * PACKET - OPUS_LOOKAHEAD
    assert level(film[end + 2880 : again]) == 0
    assert level(film[again + 480 :]) > 0.3
    assert steepest(film[4800:]) < 2 * 0.5 * 2 * np.pi * 400 / RATE


def test_a_track_that_ends_dies_away_within_60_ms() -> None:
    packets = regular(opus(tone(400, RATE))[:10])
    film = mixed([Feed("a", packets)], RATE)[0]
    end = 10 * PACKET - OPUS_LOOKAHEAD
    assert level(film[end - 480 : end]) > 0.3
    assert level(film[end + 2880 :]) == 0


def test_discontinuous_transmission_is_silence_and_what_follows_is_in_place() -> None:
    sound = np.concatenate((tone(500, RATE // 2), np.zeros(2 * RATE, np.float32), tone(500, RATE // 2)))
    packets = regular(opus(sound))
    sent = [packet for i, packet in enumerate(packets) if i < 26 or i > 123 or i % 20 == 0]  # RFC 7587 3.1.3
    film = mixed([Feed("a", sent)], 3 * RATE - PACKET)[0]
    _, again = onsets(film, 0.1, apart=RATE)
    assert again == pytest.approx(2.5 * RATE, abs=0.005 * RATE)
    assert level(film[RATE : 2 * RATE]) < 0.005


def test_the_result_does_not_depend_on_how_a_cut_falls_into_calls() -> None:
    assert np.array_equal(_cut_film((1600,))[0], _cut_film((7, 4801, 960))[0])


def _cut_film(chunks: Sequence[int], gap_ns: int = 0) -> tuple[Sound, int]:
    """A recording that pauses at 0.5 s and resumes at 1.0 s of capture, with packets across both edges; in the film it
    goes on `gap_ns` later."""
    sound = np.concatenate((tone(500, RATE // 2), tone(3000, RATE // 2), tone(900, RATE)))
    cut_ns, gone_ns = 500_000_000, 500_000_000
    packets = regular(opus(sound), start_ns=-3_000_000)
    before = [(at, packet) for at, packet in packets if at < cut_ns + 20_000_000]
    after = [(at - gone_ns + gap_ns, packet) for at, packet in packets if at >= cut_ns + gone_ns - 30_000_000]
    mixer, parts, done, turn, stage = AudioMixer(), [], 0, 0, 0
    feeds = [Feed("a", before), Feed("a", after)]
    while done < RATE:
        size = min(chunks[turn % len(chunks)], RATE - done)
        turn += 1
        until_ns = (done + size) * 1_000_000_000 // RATE + mixer.LOOKAHEAD_NS
        if stage == 0:
            feeds[0].advance(mixer, until_ns)
            if until_ns > cut_ns:
                feeds[0].advance(mixer, 1 << 60)
                mixer.cut(cut_ns)
                mixer.begin(cut_ns + gap_ns)
                stage = 1
        if stage == 1:
            feeds[1].advance(mixer, until_ns)
        parts.append(mixer.mix(size))
        done += size
    return np.concatenate(parts, axis=1), RATE // 2


def test_nothing_of_a_paused_span_is_heard_and_nothing_else_is_missing() -> None:
    film, cut = _cut_film((1600,))
    fade = 144
    before, after = film[0, cut - 2400 : cut], film[0, cut : cut + 2400]
    assert pitch(before) == pytest.approx(500, abs=5)
    assert pitch(after) == pytest.approx(900, abs=5)
    for part in (film[0, :cut], film[0, cut:]):
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
        hz = np.fft.rfftfreq(len(part), 1 / RATE)
        assert spectrum[np.abs(hz - 3000) < 50].max() < 0.001 * spectrum.max()
    assert level(film[0, cut - fade - 480 : cut - fade]) > 0.3
    assert level(film[0, cut + fade : cut + fade + 480]) > 0.3
    assert abs(float(film[0, cut])) == 0
    assert abs(float(film[0, cut - 1])) < 0.01


def test_what_is_left_of_a_picture_before_a_pause_is_silent() -> None:
    film, cut = _cut_film((1600,), gap_ns=30_000_000)
    begin = cut + RATE * 30 // 1000
    assert np.abs(film[0, cut:begin]).max() < 1e-6, "neither side reaches into it"
    assert level(film[0, cut - 624 : cut - 144]) > 0.3 and level(film[0, begin + 144 : begin + 624]) > 0.3
    assert pitch(film[0, begin : begin + 2400]) == pytest.approx(900, abs=5)


def test_it_does_not_matter_how_much_of_what_leads_in_to_a_span_is_known_while_the_one_before_is_mixed() -> None:
    """A film made live asks for the end of a span while the packets around the end of the pause come in."""
    cut_ns = 500_000_000
    before = regular(_VOICES[0][:26], start_ns=-13_000_000)
    after = regular(_VOICES[1][10:40], start_ns=cut_ns - 104_000_000)

    def film(known: int) -> Sound:
        mixer = AudioMixer()
        for at, packet in before:
            mixer.feed("a", at, packet)
        mixer.cut(cut_ns)
        for at, packet in after[:known]:
            mixer.feed("a", at, packet)
        first = mixer.mix(RATE * 480 // 1000)
        for at, packet in after[known:]:
            mixer.feed("a", at, packet)
        return np.concatenate((first, mixer.mix(RATE // 2)), axis=1)

    whole = film(len(after))
    assert level(whole[0, RATE // 2 + 480 :]) > 0.2
    for known in range(7):
        np.testing.assert_array_equal(film(known), whole, f"{known} packets were known")


def test_what_stands_in_for_sound_that_is_missing_from_a_pause_is_not_heard_before_it() -> None:
    mixer = AudioMixer()
    mixer.cut(500_000_000)
    for at, packet in regular(_VOICES[0][10:13], start_ns=400_000_000):  # then it is silent, and sends nothing
        mixer.feed("a", at, packet)
    assert not mixer.mix(RATE)[:, : RATE // 2].any()


def test_sound_from_before_the_film_is_trimmed_to_the_sample() -> None:
    at = [RATE // 2 + i * 4800 for i in range(6)]
    packets = regular(opus(clicks(2 * RATE, at)), start_ns=-507_000_000)
    film = mixed([Feed("a", packets)], RATE)[0]
    expected = [a - round(0.507 * RATE) for a in at]
    assert expected[0] < 0 < expected[1]
    assert onsets(film, 0.1) == pytest.approx(expected[1:], abs=60)


def test_a_clock_that_jumps_ahead_is_followed_at_once() -> None:
    sound = opus(clicks(2 * RATE, [12_000, 36_000, 60_000]))
    packets = [(at + (300_000_000 if at >= 500_000_000 else 0), packet) for at, packet in regular(sound)]
    film = mixed([Feed("a", packets)], 2 * RATE)[0]
    expected = [12_000, 36_000 + 14_400, 60_000 + 14_400]
    assert pulse_times(film, expected) == pytest.approx(expected, abs=2)


def test_a_clock_that_jumps_back_repeats_nothing_and_finds_its_place() -> None:
    sound = opus(tone(400, 3 * RATE))
    packets = [(at - (200_000_000 if at >= 1_000_000_000 else 0), packet) for at, packet in regular(sound)]
    mixer = AudioMixer()
    for packet in packets:
        mixer.feed("a", *packet)
    film = mixer.mix(5 * RATE // 2)[0]
    assert level(film[RATE // 2 :]) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
    assert steepest(film[4800:]) < 2 * 0.5 * 2 * np.pi * 400 / RATE


def test_a_broken_packet_counts_as_lost() -> None:
    packets = regular(opus(tone(400, RATE)))
    broken = [(at, b"\xff\xff" if i == 20 else b"" if i == 30 else packet) for i, (at, packet) in enumerate(packets)]
    missing = [packet for i, packet in enumerate(packets) if i not in (20, 30)]
    one, other = mixed([Feed("a", broken)], RATE // 2), mixed([Feed("a", missing)], RATE // 2)
    np.testing.assert_array_equal(one, other)


def test_a_closed_track_is_heard_to_its_end_and_then_forgotten() -> None:
    mixer = AudioMixer()
    for at, packet in regular(opus(tone(400, RATE // 2))):
        mixer.feed("a", at, packet)
    mixer.close("a")
    mixer.close("never seen")
    film = mixer.mix(RATE)
    assert level(film[0, 9600:19200]) > 0.3
    assert not mixer._tracks
    assert not mixer.mix(PACKET).any()


def test_no_tracks_is_silence_of_the_asked_length() -> None:
    mixer = AudioMixer()
    for size in (1, 0, 119, 120, 121, 4800):
        assert mixer.mix(size).shape == (2, size)


@settings(max_examples=12, deadline=None)
@given(
    chunks=st.lists(st.integers(1, 5000), min_size=1, max_size=6),
    lost=st.sets(st.integers(0, 60), max_size=20),
    ppm=st.sampled_from([0, 90, -400, 1000, 4000]),
    jump_ns=st.sampled_from([0, 0, 1_000_000, 5_000_000, 30_000_000, 90_000_000, -5_000_000, -90_000_000]),
)
def test_the_same_packets_give_the_same_samples_however_they_are_asked_for(
    chunks: list[int], lost: set[int], ppm: float, jump_ns: int
) -> None:
    names = ("b", "a", "c")
    tracks = {}
    for i, name in enumerate(names):
        packets = regular(_VOICES[i], 1_234_567 * i, ppm * (i - 1), sorted(lost) if i else [])
        tracks[name] = [(at + (jump_ns if at > 700_000_000 else 0), packet) for at, packet in packets]
    one = mixed([Feed(name, tracks[name]) for name in names], RATE, chunks)
    other = mixed([Feed(name, tracks[name]) for name in reversed(names)], RATE, (RATE,))
    np.testing.assert_array_equal(one, other)


_VOICES = [opus(both(tone(300 + 200 * i, 3 * RATE // 2, 0.5))) for i in range(3)]
