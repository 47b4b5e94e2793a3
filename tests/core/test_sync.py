"""Where frames are placed: against a simulated truth, and the same whatever is fed when."""

from __future__ import annotations

import bisect
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.simulation import MS, S, Sent, SimPeer, SimTrack, audio, jitter, video

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags
from tapedeck.core.sync import PeerClock
from tapedeck.core.timeline import ClockReport, Progress

BASE = 20 * MS
"Least network delay of the simulated paths: what no receiver can know."


def feed(clock: PeerClock, sent: Iterable[Sent]) -> None:
    for item in sent:
        if item.frame is not None:
            clock.frame(item.track_id, item.frame)
        elif item.report is not None:
            clock.report(item.report)


def play(peer: SimPeer, until_ns: int) -> tuple[PeerClock, list[Sent]]:
    clock = PeerClock()
    for track in peer.tracks:
        clock.add_track(track.track_id, track.rate, is_sound=track.is_sound)
    sent = peer.run(until_ns)
    feed(clock, sent)
    clock.finish()
    return clock, sent


def errors(clock: PeerClock, sent: list[Sent], track_id: str) -> list[tuple[int, int]]:
    """True capture time and error of each frame in ns, the unknowable base delay taken off."""
    return [
        (s.true_ns, clock.capture_ns(track_id, s.frame.media_time, s.frame.arrival_ns) - s.true_ns - BASE)
        for s in sent
        if s.frame is not None and s.track_id == track_id
    ]


def skew(clock: PeerClock, sent: list[Sent], after_ns: int = 0) -> list[int]:
    """How far sound and picture of the same moment are apart, sorted."""
    sound = errors(clock, sent, "a")
    times = [true for true, _ in sound]
    apart = []
    for true, error in errors(clock, sent, "v"):
        if true >= after_ns:
            apart.append(abs(error - sound[min(bisect.bisect(times, true), len(sound) - 1)][1]))
    return sorted(apart)


def p95(values: list[int]) -> int:
    return values[int(len(values) * 0.95)]


def worst(values: list[tuple[int, int]], after_ns: int = 0) -> int:
    return max(abs(error) for true, error in values if true >= after_ns)


def assert_monotonic(clock: PeerClock, sent: list[Sent]) -> None:
    for track_id in ("a", "v"):
        placed = [true + error for true, error in errors(clock, sent, track_id)]
        assert all(early < late for early, late in pairwise(placed))


def test_sound_and_picture_are_locked_by_reports_under_jitter() -> None:
    peer = SimPeer([audio(), video()], jitter(BASE, 80 * MS), report_noise_ns=5 * MS)
    clock, sent = play(peer, 60 * S)
    assert p95(skew(clock, sent)) <= 5 * MS
    assert worst(errors(clock, sent, "a")) <= 10 * MS
    assert_monotonic(clock, sent)


def test_two_hours_of_drift_end_in_step() -> None:
    """100 ppm between sender and us, sound reports every 5 s, 0 to 80 ms of jitter; every fourth frame is simulated."""
    sound, picture = audio(ppm=100, report_interval_ns=5 * S), video(ppm=100)
    sound.interval_ns, picture.interval_ns = 80 * MS, 130 * MS
    peer = SimPeer([sound, picture], jitter(BASE, 80 * MS), report_noise_ns=3 * MS)
    clock, sent = play(peer, 7200 * S)
    for track_id in ("a", "v"):
        assert worst(errors(clock, sent, track_id)) <= 15 * MS
        assert worst(errors(clock, sent, track_id), 10 * S) <= 10 * MS
    assert p95(skew(clock, sent)) <= 5 * MS


def test_tracks_that_drift_apart_stay_together() -> None:
    """The sound card runs 200 ppm off the camera, and neither with the wall clock."""
    peer = SimPeer(
        [audio(ppm=100, report_interval_ns=5 * S), video(ppm=-100)],
        jitter(BASE, 30 * MS),
        wallclock=lambda true_ns: 10**18 + int(true_ns * (1 - 50e-6)),
        report_noise_ns=3 * MS,
    )
    clock, sent = play(peer, 400 * S)
    assert p95(skew(clock, sent)) <= 5 * MS
    assert worst(errors(clock, sent, "a"), 300 * S) <= 10 * MS


def test_drift_is_followed_without_reports() -> None:
    for ppm in (100, -100):
        tracks = [audio(ppm=ppm, reports_from_ns=None), video(ppm=ppm, reports_from_ns=None)]
        clock, sent = play(SimPeer(tracks, jitter(BASE, 80 * MS)), 300 * S)
        assert worst(errors(clock, sent, "a"), 60 * S) <= 10 * MS
        assert worst(errors(clock, sent, "v"), 60 * S) <= 25 * MS  # encoding time cannot be known without reports


def test_longer_path_is_followed_slowly_and_without_a_jump() -> None:
    def delay(rng: random.Random, true_ns: int) -> int:
        return (BASE if true_ns < 60 * S else BASE + 50 * MS) + int(rng.random() * 80 * MS)

    clock, sent = play(SimPeer([audio(ppm=100), video(ppm=100)], delay), 500 * S)
    sound = errors(clock, sent, "a")
    assert max(abs(b - a) for (_, a), (_, b) in pairwise(sound)) < 1 * MS
    assert all(abs(error) <= 10 * MS for true, error in sound if true < 80 * S)
    assert all(abs(error - 50 * MS) <= 10 * MS for true, error in sound if true > 440 * S)
    assert p95(skew(clock, sent)) <= 5 * MS


def test_shorter_path_is_followed_at_the_speed_of_a_tape() -> None:
    def delay(rng: random.Random, true_ns: int) -> int:
        return (BASE + 60 * MS if true_ns < 30 * S else BASE) + int(rng.random() * 10 * MS)

    clock, sent = play(SimPeer([audio(), video()], delay), 60 * S)
    sound = errors(clock, sent, "a")
    assert max(abs(b - a) for (_, a), (_, b) in pairwise(sound)) < 1 * MS
    assert worst(sound, 50 * S) <= 10 * MS
    assert_monotonic(clock, sent)


@pytest.mark.parametrize(("queued", "moved"), [(90, 5), (300, 35)])
def test_half_a_minute_of_congestion_moves_the_film_hardly(queued: int, moved: int) -> None:
    def delay(rng: random.Random, true_ns: int) -> int:
        return BASE + (queued * MS if 20 * S < true_ns < 50 * S else 0) + int(rng.random() * 5 * MS)

    clock, sent = play(SimPeer([audio(), video()], delay), 90 * S)
    assert worst(errors(clock, sent, "a")) <= moved * MS
    assert skew(clock, sent)[-1] <= 5 * MS


def test_first_reports_late_pull_tracks_together_smoothly() -> None:
    tracks = [audio(reports_from_ns=5 * S, report_interval_ns=5 * S), video(reports_from_ns=S)]
    clock, sent = play(SimPeer(tracks, jitter(BASE, 10 * MS)), 40 * S)
    assert p95(skew(clock, sent, 12 * S)) <= 3 * MS
    for track_id in ("a", "v"):
        placed = errors(clock, sent, track_id)
        assert max(abs(b - a) for (_, a), (_, b) in pairwise(placed)) < 1 * MS


def test_reports_from_before_the_recording_lock_the_first_second() -> None:
    """A recording that begins in the middle of a meeting has the last reports in its first snapshot."""
    peer = SimPeer([audio(report_interval_ns=5 * S), video()], jitter(BASE, 10 * MS))
    sent = [s for s in peer.run(60 * S) if s.report is not None or s.true_ns >= 33 * S]
    clock = PeerClock()
    for track in peer.tracks:
        clock.add_track(track.track_id, track.rate, is_sound=track.is_sound)
    feed(clock, sent)
    clock.finish()
    assert skew(clock, sent)[-1] <= 2 * MS


def test_jump_of_the_senders_wall_clock_does_not_move_the_film() -> None:
    for tracks in ([audio(), video()], [audio(report_interval_ns=5 * S), video()], [audio()]):
        peer = SimPeer(tracks, jitter(BASE, 10 * MS), wallclock=lambda t: 10**18 + t + (0 if t < 20 * S else 3600 * S))
        clock, sent = play(peer, 60 * S)
        assert worst(errors(clock, sent, "a")) <= 5 * MS
        if len(tracks) == 2:
            assert skew(clock, sent)[-1] <= 5 * MS


def test_absurd_reports_are_ignored() -> None:
    peer = SimPeer([audio(), video()], jitter(BASE, 10 * MS), report_noise_ns=2 * MS)
    sent = peer.run(60 * S)
    rng = random.Random(5)
    for item in sent:
        if item.report is not None and rng.random() < 0.2:
            item.report = ClockReport(
                item.report.at_ns, item.track_id, rng.randrange(1 << 62), item.report.media_time + rng.choice([0, 9**9])
            )
    clock = PeerClock()
    for track in peer.tracks:
        clock.add_track(track.track_id, track.rate, is_sound=track.is_sound)
    feed(clock, sent)
    clock.finish()
    assert worst(errors(clock, sent, "a")) <= 10 * MS
    assert p95(skew(clock, sent)) <= 5 * MS


def test_reports_without_a_clock_leave_each_track_on_its_own() -> None:
    for wallclock in (lambda t: 0, lambda t: 77 * S):
        clock, sent = play(SimPeer([audio(), video()], jitter(BASE, 10 * MS), wallclock=wallclock), 60 * S)
        assert worst(errors(clock, sent, "a"), 20 * S) <= 10 * MS
        assert skew(clock, sent, 20 * S)[-1] <= 25 * MS


@pytest.mark.parametrize("flag", [FrameFlags.DISCONTINUITY, FrameFlags.NEW_CLOCK])
@pytest.mark.parametrize("ticks", [90_000 * 3000, -90_000 * 3000])
def test_reset_of_one_rtp_clock_is_a_new_beginning_for_that_track(ticks: int, flag: FrameFlags) -> None:
    picture = video(jump=lambda t: 0 if t < 19_990 * MS else ticks, first_tick=1 << 40)
    picture.flags = {600: flag | FrameFlags.KEY}
    clock, sent = play(SimPeer([audio(), picture], jitter(BASE, 40 * MS), report_noise_ns=3 * MS), 60 * S)
    assert worst(errors(clock, sent, "a")) <= 10 * MS
    assert worst(errors(clock, sent, "v")) <= 15 * MS
    assert p95(skew(clock, sent)) <= 5 * MS
    assert_monotonic(clock, sent)


def test_clock_that_stood_still_while_muted_is_found_out() -> None:
    """Some senders count frames, not time: after 2 s of mute their clock is 2 s behind, and nothing says so."""
    picture = video(jump=lambda t: 0 if t < 20 * S else -90_000 * 2, is_sending=lambda t: not 18 * S <= t < 20 * S)
    clock, sent = play(SimPeer([audio(), picture], jitter(BASE, 40 * MS)), 60 * S)
    assert worst(errors(clock, sent, "v")) <= 15 * MS


def test_network_that_stood_still_does_not_move_the_film() -> None:
    def delay(rng: random.Random, true_ns: int) -> int:
        stalled = 18 * S < true_ns < 20 * S
        return 20 * S - true_ns + BASE if stalled else BASE + int(rng.random() * 10 * MS)

    clock, sent = play(SimPeer([audio(), video()], delay), 60 * S)
    assert worst(errors(clock, sent, "a")) <= 5 * MS
    assert worst(errors(clock, sent, "v")) <= 15 * MS


def slips(at_ns: int, lost_ns: int) -> SimTrack:
    """Sound whose computer was too busy to take it for a while: its clock counts samples, and so misses that time."""
    return audio(
        jump=lambda t: 0 if t < at_ns else -lost_ns * 48_000 // S,
        is_sending=lambda t: not at_ns <= t < at_ns + lost_ns,
        report_interval_ns=5 * S,
    )


@pytest.mark.parametrize("lost_ms", [60, 150, 380])
@pytest.mark.parametrize("at_ms", [600, 20_490])
@pytest.mark.parametrize("reports", [True, False])
def test_sound_that_was_lost_by_its_sender_is_missing_and_nothing_behind_it_is_moved(
    at_ms: int, lost_ms: int, reports: bool
) -> None:
    sound, picture = slips(at_ms * MS, lost_ms * MS), video()
    if not reports:
        sound.reports_from_ns = picture.reports_from_ns = None
    clock, sent = play(SimPeer([sound, picture], jitter(BASE, 10 * MS), report_noise_ns=3 * MS), 30 * S)
    heard = errors(clock, sent, "a")
    (first,) = [error for true, error in heard if 0 <= true - (at_ms + lost_ms) * MS < 20 * MS]
    assert -lost_ms * MS - 10 * MS <= first <= 10 * MS, "the first packet behind the hole may be before it"
    assert max(abs(error) for true, error in heard if true > S and error != first) <= 10 * MS
    assert worst(errors(clock, sent, "v"), S) <= 20 * MS
    assert_monotonic(clock, sent)


def test_sound_that_was_lost_while_nothing_was_sent_is_missing() -> None:
    """The recording was paused, or the microphone muted, when the computer was busy."""
    sound = slips(20 * S, 150 * MS)
    sound.is_sending = lambda t: not 19 * S <= t < 21 * S
    clock, sent = play(SimPeer([sound, video()], jitter(BASE, 10 * MS), report_noise_ns=3 * MS), 25 * S)
    assert sorted(abs(error) for _, error in errors(clock, sent, "a"))[-2] <= 10 * MS


def test_sound_that_is_lost_again_and_again_stays_in_step() -> None:
    lost = 80 * MS
    sound = audio(
        jump=lambda t: -(t // (3 * S)) * lost * 48_000 // S,
        is_sending=lambda t: t < 3 * S or t % (3 * S) >= lost,
        report_interval_ns=5 * S,
    )
    clock, sent = play(SimPeer([sound, video()], jitter(BASE, 20 * MS), report_noise_ns=3 * MS), 60 * S)
    assert p95(skew(clock, sent, S)) <= 10 * MS
    assert_monotonic(clock, sent)


def test_gap_of_the_network_is_no_loss_of_the_sender() -> None:
    """Whether it catches up at once or is slower from then on: both tracks are alike."""

    def delay(longer: int) -> Callable[[random.Random, int], int]:
        def of(rng: random.Random, true_ns: int) -> int:
            late = longer if true_ns > 20 * S else 0
            return max(BASE + late, 20 * S + 200 * MS - true_ns if true_ns > 20 * S else 0) + int(
                rng.random() * 10 * MS
            )

        return of

    for longer in (0, 120 * MS):
        clock, sent = play(SimPeer([audio(report_interval_ns=5 * S), video()], delay(longer)), 25 * S)
        assert max(abs(error) for true, error in errors(clock, sent, "a")) <= 15 * MS
        assert skew(clock, sent)[-1] <= 10 * MS
        assert_monotonic(clock, sent)


def test_packets_that_are_sent_again_are_no_loss_of_the_sender() -> None:
    chance = random.Random(7)
    sound = audio(report_interval_ns=5 * S, again=lambda t: 230 * MS if chance.random() < 0.1 else 0)
    clock, sent = play(SimPeer([sound, video()], jitter(BASE, 20 * MS)), 60 * S)
    assert worst(errors(clock, sent, "a")) <= 10 * MS


@pytest.mark.parametrize("cut_ms", [20_300, 20_700, 21_100])
def test_what_a_gap_was_does_not_matter_to_a_film_that_ends_behind_it(cut_ms: int) -> None:
    """Whether anything was lost is not yet known when the last frames are placed: they are as before."""

    def delay(rng: random.Random, true_ns: int) -> int:
        return max(BASE, 20 * S + 200 * MS - true_ns if true_ns > 20 * S else 0) + int(rng.random() * 5 * MS)

    peer = SimPeer([audio(report_interval_ns=5 * S), video()], delay)
    clock = PeerClock()
    for track in peer.tracks:
        clock.add_track(track.track_id, track.rate, is_sound=track.is_sound)
    sent = [s for s in peer.run(25 * S) if s.arrival_ns < cut_ms * MS]
    feed(clock, sent)
    clock.advance(cut_ms * MS)
    assert worst(errors(clock, sent, "a")) <= 10 * MS


def test_sound_without_a_witness_is_followed_by_its_reports() -> None:
    """A path that became longer looks the same: nothing jumps."""
    clock, sent = play(SimPeer([slips(20 * S, 160 * MS)], jitter(BASE, 10 * MS)), 25 * S)
    placed = [true + error for true, error in errors(clock, sent, "a") if true > 19 * S]
    assert max(b - a for a, b in pairwise(placed)) <= 21 * MS


def test_single_frame_with_an_impossible_time_moves_nothing() -> None:
    peer = SimPeer([audio(), video()], jitter(BASE, 10 * MS))
    sent = peer.run(30 * S)
    victim = next(s for s in sent if s.frame is not None and s.track_id == "a" and s.true_ns > 10 * S)
    assert victim.frame is not None
    victim.frame = EncodedFrame(victim.frame.media_time + 48_000 * 60, victim.arrival_ns, b"", Codec.OPUS)
    clock, sent_all = PeerClock(), sent
    for track in peer.tracks:
        clock.add_track(track.track_id, track.rate, is_sound=track.is_sound)
    feed(clock, sent_all)
    clock.finish()
    assert worst(errors(clock, [s for s in sent_all if s is not victim], "a")) <= 5 * MS
    at = clock.capture_ns("a", victim.frame.media_time, victim.arrival_ns)
    assert at == victim.arrival_ns


def test_picture_that_starts_later_is_in_step_at_once() -> None:
    clock, sent = play(SimPeer([audio(), video(start_ns=12_345 * MS)], jitter(BASE, 80 * MS)), 30 * S)
    assert skew(clock, sent)[-1] <= 2 * MS


def test_silence_of_dtx_is_not_missing_time() -> None:
    """A packet every 400 ms in pauses of speech: the clock goes on."""
    sound = audio(is_sending=lambda t: (t // S) % 4 < 2 or t % (400 * MS) == 0)
    clock, sent = play(SimPeer([sound, video()], jitter(BASE, 40 * MS)), 60 * S)
    assert worst(errors(clock, sent, "a")) <= 10 * MS
    assert p95(skew(clock, sent)) <= 2 * MS


def test_long_pause_with_drift_is_in_step_again_within_a_second() -> None:
    def talks(true_ns: int) -> bool:
        return not 18 * S <= true_ns < 620 * S

    tracks = [audio(ppm=100, is_sending=talks), video(ppm=100, is_sending=talks)]
    clock, sent = play(SimPeer(tracks, jitter(BASE, 20 * MS), report_noise_ns=2 * MS), 660 * S)
    assert worst(errors(clock, sent, "a")) <= 10 * MS
    assert p95(skew(clock, sent)) <= 5 * MS
    assert_monotonic(clock, sent)


def test_screen_shared_as_another_peer_is_placed_beside_the_camera() -> None:
    """Same participant, same wall clock, another connection: each is placed by its own arrivals."""
    camera, sent = play(SimPeer([audio(), video()], jitter(BASE, 40 * MS)), 60 * S)
    slow = SimTrack("v", Codec.VP8, 200 * MS, encode_ns=0)
    screen, shared = play(SimPeer([slow], jitter(BASE, 40 * MS), seed=9), 60 * S)
    assert abs(errors(screen, shared, "v")[-1][1] - errors(camera, sent, "v")[-1][1]) <= 10 * MS
    assert worst(errors(screen, shared, "v"), 10 * S) <= 20 * MS


def test_unknown_track() -> None:
    clock = PeerClock()
    with pytest.raises(KeyError):
        clock.frame("nobody", EncodedFrame(0, 0, b"", Codec.OPUS))
    clock.report(ClockReport(0, "nobody", 1, 1))
    clock.advance(S)
    assert clock.ready_until_ns == S


def test_frame_that_is_late_for_a_progress_is_placed_behind_it() -> None:
    peer = SimPeer([audio()], jitter(BASE, MS))
    sent = peer.run(10 * S)
    late = EncodedFrame(peer.tracks[0].tick(7 * S), 9 * S + 10 * MS, b"", Codec.OPUS)
    clock = PeerClock()
    clock.add_track("a", 48_000)
    feed(clock, (s for s in sent if s.arrival_ns < 9 * S))
    clock.progress(Progress(9 * S, 9 * S - 50 * MS))
    feed(clock, [Sent(late.arrival_ns, "a", 7 * S, frame=late)])
    clock.finish()
    assert clock.capture_ns("a", late.media_time, late.arrival_ns) == 9 * S - 50 * MS + 1


scripts = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "spread_ms": st.sampled_from([1, 20, 80, 300]),
        "ppm": st.sampled_from([-300, 0, 100]),
        "silent_from": st.integers(0, 30),
        "silent_for": st.sampled_from([0, 1, 3, 7]),
        "jump_at": st.integers(1, 30),
        "jump_ms": st.sampled_from([0, 200, 5_000, -5_000, -2_000]),
        "wall_jump_ms": st.sampled_from([0, 0, 100, 60_000]),
        "video_from_ms": st.integers(0, 9_000),
        "reports_from": st.sampled_from([-1, 0, 4]),
        "flagged": st.booleans(),
        "again": st.sampled_from([0, 3, 17]),
        "slip_at_ms": st.integers(0, 30_000),
        "slip_ms": st.sampled_from([0, 60, 150, 300]),
        "step_ms": st.sampled_from([250, 400, 1700]),
        "lag_ms": st.sampled_from([40, 300, 2500]),
    }
)


def scripted(script: dict[str, int]) -> SimPeer:
    """A peer with everything that goes wrong, at random times."""

    def talks(true_ns: int) -> bool:
        return not script["silent_from"] * S <= true_ns < (script["silent_from"] + script["silent_for"]) * S

    slip_at, lost = script["slip_at_ms"] * MS, script["slip_ms"] * MS

    def sounds(true_ns: int) -> bool:
        return talks(true_ns) and not slip_at <= true_ns < slip_at + lost

    def slip(true_ns: int) -> int:
        return -lost * 48_000 // S if true_ns >= slip_at else 0

    def again(true_ns: int) -> int:
        return 230 * MS if script["again"] and hash((script["seed"], true_ns)) % script["again"] == 0 else 0

    def wall(true_ns: int) -> int:
        return 10**18 + true_ns + (script["wall_jump_ms"] * MS if true_ns > script["jump_at"] * S else 0)

    start = script["video_from_ms"] * MS
    picture = video(
        ppm=script["ppm"],
        start_ns=start,
        first_tick=1 << 40,
        jump=lambda t: 90 * script["jump_ms"] if t > script["jump_at"] * S else 0,
    )
    if script["flagged"]:
        picture.flags = {max(0, (script["jump_at"] * S - start) * 30 // S + 1): FrameFlags.DISCONTINUITY}
    picture.reports_from_ns = None if script["reports_from"] < 0 else script["reports_from"] * S
    return SimPeer(
        [audio(is_sending=sounds, jump=slip, report_interval_ns=5 * S, again=again), picture],
        jitter(BASE, script["spread_ms"] * MS),
        wallclock=wall,
        seed=script["seed"],
    )


def not_before_progress(item: Sent, step_ns: int) -> Sent:
    """What is stored after a Progress has arrived after it (`capture/flow.py`)."""
    if item.frame is None:
        return item
    arrival_ns = max(item.frame.arrival_ns, item.arrival_ns // step_ns * step_ns)
    return replace(item, frame=replace(item.frame, arrival_ns=arrival_ns))


@settings(max_examples=25, deadline=None)
@given(scripts)
def test_what_is_final_never_changes(script: dict[str, int]) -> None:
    """A live render, fed as the log grows, sees the same mapping as one that is fed the whole log at once."""
    peer = scripted(script)
    sent = [not_before_progress(item, script["step_ms"] * MS) for item in peer.run(35 * S)]
    marks = range(script["step_ms"] * MS, 40 * S, script["step_ms"] * MS)
    progress = [Progress(at, max(0, at - script["lag_ms"] * MS)) for at in marks]
    live, later = PeerClock(), PeerClock()
    for track in peer.tracks:
        live.add_track(track.track_id, track.rate, is_sound=track.is_sound)
        later.add_track(track.track_id, track.rate, is_sound=track.is_sound)
    for track_id in ("v", "a"):
        feed(later, (s for s in sent if s.track_id == track_id))
    for mark in progress:
        later.progress(mark)
    later.finish()

    placed: dict[int, int] = {}
    fed, ready = 0, -1
    waiting: list[Sent] = []
    for mark in progress:
        while fed < len(sent) and sent[fed].arrival_ns < mark.at_ns:
            feed(live, [sent[fed]])
            if sent[fed].frame is not None:
                waiting.append(sent[fed])
            fed += 1
        live.progress(mark)
        assert live.ready_until_ns >= ready, "what was ready stays ready"
        assert live.ready_until_ns <= mark.until_ns
        still: list[Sent] = []
        for s in waiting:
            assert s.frame is not None
            at = live.capture_ns(s.track_id, s.frame.media_time, s.frame.arrival_ns)
            if at <= live.ready_until_ns:
                assert at > ready or not placed, "nothing is placed in what was ready before"
                placed[id(s)] = at
                full = later.capture_ns(s.track_id, s.frame.media_time, s.frame.arrival_ns)
                assert at == full, (s, at, full)
            else:
                still.append(s)
        waiting = still
        ready = live.ready_until_ns
    assert len(placed) > 500
