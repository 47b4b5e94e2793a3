"""For any schedule of commands and any network: what is kept, what is not, and what Progress promises."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.capture.room import BOOT, MS, Room, S, Sender

from tapedeck.core.frames import EncodedFrame
from tapedeck.core.sync import PeerClock
from tapedeck.core.timeline import ClockReport, Progress

END_NS = 20 * S


@dataclass
class Told:
    """Capture times between a start or resume and a pause or stop, by our own book-keeping."""

    spans: list[tuple[int, int]]

    def __contains__(self, at_ns: int) -> bool:
        return any(start <= at_ns < end for start, end in self.spans)


commands = st.lists(st.tuples(st.sampled_from(["one", "two"]), st.integers(500, 18_000)), min_size=1, max_size=10).map(
    lambda steps: sorted(steps, key=lambda step: step[1])
)

networks = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10**6),
        "spread_ms": st.sampled_from([1, 20, 80, 200]),
        "stall_at_ms": st.integers(1_000, 18_000),
        "stall_ms": st.sampled_from([0, 300, 1_000, 2_300, 4_000]),
        "loss_at_ms": st.integers(1_000, 18_000),
        "wait_ms": st.sampled_from([0, 100, 900, 2_000]),
        "mute_at_ms": st.integers(1_000, 18_000),
        "mute_ms": st.sampled_from([0, 3_000]),
    }
)


def arrivals(network: dict[str, int], step_ms: int, offset: int) -> list[tuple[int, int, int | None]]:
    """(handed on, captured, waiting since) of each frame in ms: in media order, as a receiver would hand them on."""
    rng = random.Random(network["seed"] + offset)
    stall, loss, mute = network["stall_at_ms"], network["loss_at_ms"] + offset, network["mute_at_ms"]
    frames: list[tuple[int, int, int | None]] = []
    last = 0
    for at in range(0, END_NS // MS, step_ms):
        if offset and mute <= at < mute + network["mute_ms"]:
            continue
        # the first frames come with the least delay, as they do when a path was measured before
        arrival = at + (0 if at < 200 else rng.randrange(network["spread_ms"]))
        if stall <= at < stall + network["stall_ms"]:
            arrival = stall + network["stall_ms"]
        waiting = None
        if network["wait_ms"] and loss <= at < loss + network["wait_ms"]:
            waiting, arrival = max(last, loss), max(arrival, loss + network["wait_ms"])
        last = max(last, arrival)
        frames.append((last, at, waiting))
    return frames


async def perform(steps: list[tuple[str, int]], network: dict[str, int]) -> tuple[Room, list[Sender], dict[str, Told]]:
    """Play it; commands cycle through start, pause, resume, stop for each recording."""
    room = Room()
    ada = room.join("ada")
    senders = [room.video(ada), room.audio(ada)]
    script: list[tuple[int, int, object]] = [(at, 0, None) for at in range(0, END_NS // MS, 50)]
    for number, sender in enumerate(senders):
        for handed_on, at, waiting in arrivals(network, 40 if number == 0 else 20, number):
            if waiting is not None:
                script.append((waiting, 1, (sender, True)))
            script.append((handed_on, 2, (sender, at, waiting is not None)))
    script += [(at, -1, recording_id) for recording_id, at in steps]
    told: dict[str, Told] = {}
    turns: dict[str, int] = {}
    waiting_tasks: list[asyncio.Task[bool]] = []
    for now, _, what in sorted(script, key=lambda entry: (entry[0], entry[1])):
        if what is None:
            room.tick(now * MS)
        elif isinstance(what, str):
            turn = turns[what] = turns.get(what, -1) + 1
            spans = told.setdefault(what, Told([])).spans
            match turn:
                case 0:
                    room.start(what, now * MS)
                    spans.append((now, 1 << 40))
                case 1:
                    await room.pause(what, now * MS)
                    spans[-1] = (spans[-1][0], now)
                case 2:
                    room.resume(what, now * MS)
                    spans.append((now, 1 << 40))
                case 3:
                    waiting_tasks.append(await room.stop_soon(what, now * MS))
                    spans[-1] = (spans[-1][0], now)
        elif isinstance(what, tuple) and len(what) == 2:
            what[0].sink.waiting_since(BOOT + now * MS)
        elif isinstance(what, tuple):
            sender, at, held = what
            sender.send(at * MS, now * MS, key=at % 1_000 == 0)
            if held:
                sender.sink.waiting_since(None)
    for late in range(60):
        room.tick(END_NS + late * 50 * MS)
    await asyncio.gather(*waiting_tasks)
    return room, senders, told


def run(steps: list[tuple[str, int]], network: dict[str, int]) -> tuple[Room, list[Sender], dict[str, Told]]:
    return asyncio.run(perform(steps, network))


@settings(max_examples=40, deadline=None)
@given(commands, networks)
def test_kept_is_what_was_captured_while_recording(steps: list[tuple[str, int]], network: dict[str, int]) -> None:
    room, senders, told = run(steps, network)
    for number, sender in enumerate(senders):
        kept = {at // MS for at in room.kept(sender)}
        for handed_on, at, _ in arrivals(network, 40 if number == 0 else 20, number):
            wanted = any(at in spans for spans in told.values())
            if at in kept:
                counted = max(at, handed_on - 2_500)
                assert any(counted in spans for spans in told.values()), f"{at} ms was captured when nobody recorded"
            elif wanted and handed_on - at <= 2_500:
                # a stop that was complete does not wait for what nobody could know of
                done = [end for spans in told.values() for start, end in spans.spans if start <= at < end]
                assert all(handed_on > end for end in done), f"{at} ms is missing"
                assert network["stall_ms"] or network["mute_ms"] or handed_on - at > 50, f"{at} ms is missing"


@settings(max_examples=40, deadline=None)
@given(commands, networks)
def test_no_frame_is_placed_before_a_progress_it_came_after(
    steps: list[tuple[str, int]], network: dict[str, int]
) -> None:
    room, senders, _ = run(steps, network)
    clock = PeerClock()
    for sender in senders:
        clock.add_track(sender.info.track_id, sender.info.clock_rate)
    passed = -1
    at_ns = 0
    after: list[tuple[str, EncodedFrame, int]] = []
    for entry in room.log.entries if room.logs else []:
        if isinstance(entry, tuple):
            clock.frame(*entry)
            after.append((*entry, passed))
            assert entry[1].arrival_ns >= at_ns
        elif isinstance(entry, Progress):
            assert entry.until_ns >= passed, "Progress never goes back"
            assert entry.until_ns <= entry.at_ns
            assert entry.at_ns >= at_ns
            passed, at_ns = entry.until_ns, entry.at_ns
            clock.progress(entry)
        elif isinstance(entry, ClockReport):
            assert entry.at_ns >= at_ns
            clock.report(entry)
        elif passed >= 0 and not hasattr(entry, "recording_id"):
            assert entry.at_ns > passed
    clock.finish()
    for track_id, frame, before in after:
        assert clock.capture_ns(track_id, frame.media_time, frame.arrival_ns) > before


def test_frames_of_an_ordinary_network_are_never_moved_by_progress() -> None:
    """The promise holds without bending anything: Progress waits long enough for what is late in ordinary ways."""
    for spread, wait in ((20, 0), (80, 0), (80, 1_900)):
        network = {
            "seed": 3,
            "spread_ms": spread,
            "stall_at_ms": 0,
            "stall_ms": 0,
            "loss_at_ms": 8_000,
            "wait_ms": wait,
            "mute_at_ms": 0,
            "mute_ms": 0,
        }
        room, _, _ = run([("one", 1_000), ("two", 19_999)], network)
        passed = -1
        for entry in room.log.entries:
            if isinstance(entry, Progress):
                passed = entry.until_ns
            elif isinstance(entry, tuple):
                assert int(entry[1].payload) > passed
