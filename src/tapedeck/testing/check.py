"""Judges a finished film of synthetic people against what was really sent and really recorded.

`check` compares what `watch` saw with an `Expectation` and gives a `Report`. Owns the arithmetic between film time and
the shared clock; refuses to correct anything: every number is against what was sent.

How sound is held against picture: a beep lasts 40 ms and a bar 50 ms, both from the full second, so their middles are
5 ms apart at the source. In the film the beep's middle is known to a fraction of a millisecond, the bar's is the middle
of the pictures that show it. A film of 30 pictures a second shows a bar of 50 ms in one or two pictures, so a perfect
film is off by up to 8.3 ms either way if each picture shows what is true in the middle of its time, and by up to 25 ms
if it shows what is true at its start. That quantisation is left in: the bar of 20 ms is passed only by a film whose own
error is under 11.7 ms where the grid falls worst.

How film time is mapped: within a recorded span the film runs with the clock, so one number per span ties them. It is
read from the beeps (from the bars where there are none) and is then a result itself: the film must begin, be cut and
end where the recording did. Where exactly a cut lies in the film is read from the discs.

While tiles slide to their places in another layout (which is seen, not known), nobody's place, colours and presence are
judged: for a fifth of a second they may cover each other. How often that may be is bounded.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tapedeck.sources.synthetic import BAR_NS, BEEP_NS, LOOP_S
from tapedeck.testing.expect import Attendance, Bars, Edge, Expectation, Interval, Recorded
from tapedeck.testing.report import Finding, PersonRow, Report
from tapedeck.testing.watch import Beep, Film, Flash, Sight

__all__ = ["Apart", "apart", "check"]

_S = 1_000_000_000
_MS = 1_000_000
_AAC_PACKET_NS = 1024 * _S // 48_000
_MARGIN_NS = 20 * _MS
"""A beat this close to where something begins or ends may be in the film or not."""
_MOVING_PICTURES = 24
"""So many may show tiles on their way, besides a seventh of all."""
_NEAR_BEAT_NS = 100 * _MS
"""How far from its second a flash or beep may be and still be taken for it; it is then judged by the A/V bar."""


@dataclass(frozen=True, slots=True)
class _Span:
    """One recorded span as found in the film."""

    film: Interval
    offset_ns: int
    "Shared clock minus film time."
    recorded: Recorded

    @property
    def clock(self) -> Interval:
        return Interval(self.film.start_ns + self.offset_ns, self.film.end_ns + self.offset_ns)


def check(film: Film, expected: Expectation) -> Report:
    """Hold a film against what it should be."""
    spans = _spans(film, expected)
    rows: list[PersonRow] = []
    findings = list(_duration(film, expected, spans))
    moving = _moving(film)
    for person in expected.people:
        row, more = _person(film, person, spans, expected.bars, moving)
        rows.append(row)
        findings += more
    skews = [row.skew_ns for row in rows if row.skew_ns is not None]
    if len(skews) > 1:
        worst = max(skews) - min(skews)
        findings.append(Finding("people together", worst <= expected.bars.skew_ns, f"{worst / _MS:.1f} ms apart"))
    findings.append(_tiles(film, expected, moving))
    findings.append(_index(film))
    return Report(rows=tuple(rows), findings=tuple(findings), floor_dbfs=film.floor_dbfs)


# --- film time and clock


def _spans(film: Film, expected: Expectation) -> list[_Span]:
    bounds = [(0, 0)]
    for part in expected.recorded:
        least, most = (
            part.end.earliest_ns - part.start.latest_ns,
            part.end.latest_ns - part.start.earliest_ns,
        )
        bounds.append((bounds[-1][0] + least, bounds[-1][1] + most))
    bounds[-1] = (film.end_ns, film.end_ns)
    offsets = []
    for part, (start, end) in zip(expected.recorded, pairwise(bounds), strict=True):
        guess = part.start.middle_ns - (start[0] + start[1]) // 2
        inside = Interval(start[1], end[0])
        offsets.append(_offset(film, inside, guess))
    inner = [_cut(film, bounds[n], offsets[n - 1], offsets[n]) for n in range(1, len(offsets))]
    cuts = [0, *inner, film.end_ns]
    films = [Interval(a, b) for a, b in pairwise(cuts)]
    return [_Span(*each) for each in zip(films, offsets, expected.recorded, strict=True)]


def _offset(film: Film, inside: Interval, guess_ns: int) -> int:
    """Shared clock minus film time in a stretch of film: the discs say which second it is, the beats the rest."""
    ages = [
        _age_ns(film, sight, index, guess_ns)
        for sight in film.sights.values()
        for index, start in enumerate(film.starts_ns)
        if inside.start_ns <= start < inside.end_ns
    ]
    guess_ns -= round(statistics.median([age for age in ages if not math.isinf(age)] or [0]))
    beeps = [b.middle_ns - BEEP_NS // 2 for found in film.beeps.values() for b in found]
    flashes = [f.middle_ns - BAR_NS // 2 for found in film.flashes.values() for f in found]
    for beats in (beeps, flashes):
        late = [(at + guess_ns) % _S for at in beats if inside.start_ns <= at < inside.end_ns]
        if late:
            angles = [2 * math.pi * value / _S for value in late]
            mean = math.atan2(sum(map(math.sin, angles)), sum(map(math.cos, angles))) / (2 * math.pi) * _S
            around = statistics.median((value - mean + _S / 2) % _S - _S / 2 for value in late)
            return guess_ns - round(mean + around)
    return guess_ns


def _cut(film: Film, bound: tuple[int, int], before_ns: int, after_ns: int) -> int:
    """Where the film goes from one span to the next: after the last picture that belongs to the earlier one."""
    reach = Interval(bound[0] - _S, bound[1] + _S)
    last_old = first_new = None
    for index, start in enumerate(film.starts_ns):
        if not reach.start_ns <= start < reach.end_ns:
            continue
        old, new = (
            any(abs(_age_ns(film, sight, index, offset)) < 60 * _MS for sight in film.sights.values())
            for offset in (before_ns, after_ns)
        )
        if old and not new:
            last_old, first_new = index, None
        elif new and not old and first_new is None:
            first_new = index
    if last_old is not None and last_old + 1 < len(film.starts_ns):
        return film.starts_ns[last_old + 1]
    if first_new is not None:
        return film.starts_ns[first_new]
    return (bound[0] + bound[1]) // 2


def _age_ns(film: Film, sight: Sight, index: int, offset_ns: int) -> float:
    """How much older the picture shown is than the middle of its time in the film; infinite when nothing is read."""
    turn = sight.turns_s[index]
    if math.isnan(turn):
        return math.inf
    ends = film.starts_ns[index + 1] if index + 1 < len(film.starts_ns) else film.end_ns
    middle = (film.starts_ns[index] + ends) / 2 + offset_ns
    loop = LOOP_S * _S
    return (middle - turn * _S + loop / 2) % loop - loop / 2


# --- one person


def _person(
    film: Film, person: Attendance, spans: Sequence[_Span], bars: Bars, moving: frozenset[int]
) -> tuple[PersonRow, list[Finding]]:
    name = person.look.name
    findings: list[Finding] = []
    seen, expected_seen, ghosts, opening_ns = _presence(film, person, spans, bars, moving)
    flashes = _Beats(person.camera, BAR_NS, spans, bars.opening_ns).match(film.flashes[name])
    beeps = _Beats(person.microphone, BEEP_NS, spans, _MARGIN_NS).match(film.beeps.get(name, []))
    offsets = [
        (flashes.found[n] - BAR_NS // 2) - (beeps.found[n] - BEEP_NS // 2)
        for n in flashes.found.keys() & beeps.found.keys() & flashes.due & beeps.due
    ]
    parts = enumerate(film.sights[name].strange)
    strange = sum(part > bars.strange for index, part in parts if index not in moving)
    row = PersonRow(
        name=name,
        rgb=person.look.rgb,
        seen=seen,
        seen_due=expected_seen,
        flashes=len(flashes.found.keys() & flashes.due),
        flashes_due=len(flashes.due),
        beeps=len(beeps.found.keys() & beeps.due),
        beeps_due=len(beeps.due),
        av_p95_ns=_p95([abs(o) for o in offsets]),
        av_median_ns=round(statistics.median(offsets)) if offsets else None,
        skew_ns=round(statistics.median(at - BEEP_NS // 2 - n * _S for n, at in beeps.found.items()))
        if beeps.found
        else None,
        forbidden=len(flashes.stray) + len(beeps.stray) + len(ghosts),
        strange=strange,
    )
    for what, got, due in (
        ("seen", row.seen, row.seen_due),
        ("flashes", row.flashes, row.flashes_due),
        ("heard", row.beeps, row.beeps_due),
    ):
        if due:
            findings.append(Finding(f"{name} {what}", got >= bars.presence * due, f"{got} of {due}"))
    if offsets:
        p95 = row.av_p95_ns or 0
        findings.append(Finding(f"{name} sound against picture", p95 <= bars.av_p95_ns, f"p95 {p95 / _MS:.1f} ms"))
    if opening_ns is not None:
        findings.append(
            Finding(f"{name} opening", opening_ns <= bars.opening_ns, f"first seen after {opening_ns / _MS:.0f} ms")
        )
    for kind, stray in (("flash", flashes.stray), ("beep", beeps.stray), ("picture", ghosts)):
        if stray:
            times = ", ".join(f"{at / _S:.2f}" for at in stray[:5])
            findings.append(Finding(f"{name} forbidden", False, f"{len(stray)} x {kind} at film second {times}"))
    if strange:
        findings.append(Finding(f"{name} corrupt", False, f"{strange} pictures with colours that are not theirs"))
    return row, findings


def _presence(
    film: Film, person: Attendance, spans: Sequence[_Span], bars: Bars, moving: frozenset[int]
) -> tuple[int, int, list[int], int | None]:
    """Pictures that show the person live, pictures that should, film times of forbidden ones, the slowest opening.

    A span opens with the first picture that shows the person; none is asked for until it has had the time it may take.
    """
    sight = film.sights[person.look.name]
    frame_ns = film.end_ns // max(1, len(film.starts_ns))
    seen = due = 0
    ghosts: list[int] = []
    openings: dict[int, int] = {}
    opened: set[int] = set()
    for index, start in enumerate(film.starts_ns):
        span = next((s for s in spans if s.film.start_ns <= start < s.film.end_ns), spans[-1])
        begins, ends = start + span.offset_ns, start + frame_ns + span.offset_ns
        live = abs(_age_ns(film, sight, index, span.offset_ns)) <= bars.fresh_ns
        if any(on.covers(begins, ends, frame_ns) for on in person.camera):
            if span.film.start_ns not in opened:
                openings[span.film.start_ns] = openings.get(span.film.start_ns, 0) + (0 if live else frame_ns)
                opened |= {span.film.start_ns} if live else set()
            if index not in moving and (live or begins >= span.clock.start_ns + bars.opening_ns):
                due += 1
                seen += live
        elif sight.boxes[index] is not None and not any(
            on.start_ns - bars.fresh_ns <= begins <= on.end_ns + bars.linger_ns for on in person.camera
        ):
            ghosts.append(start)
    return seen, due, ghosts, max(openings.values(), default=None)


@dataclass(slots=True)
class _Matched:
    due: set[int]
    "Seconds of the clock whose beat must be in the film, whole."
    found: dict[int, int]
    "Second of the clock -> clock time of the beat's middle."
    stray: list[int]
    "Film times of beats that nobody sent in a recorded span."


class _Beats:
    """Which seconds of one person must, may and must not be in the film."""

    def __init__(self, sent: Sequence[Interval], length_ns: int, spans: Sequence[_Span], opening_ns: int) -> None:
        self._spans, self._length = spans, length_ns
        self.due: set[int] = set()
        self.allowed: set[int] = set()
        for span in spans:
            start, stop = span.recorded.start, span.recorded.end
            known = Interval(start.latest_ns + opening_ns, stop.earliest_ns - _MARGIN_NS)
            found = Interval(span.clock.start_ns + opening_ns, span.clock.end_ns - _MARGIN_NS)
            for n in range(start.earliest_ns // _S, stop.latest_ns // _S + 1):
                at, end = n * _S, n * _S + length_ns
                if end <= start.earliest_ns or at >= stop.latest_ns:
                    continue
                if any(on.start_ns < end and at < on.end_ns for on in sent):
                    self.allowed.add(n)
                    whole = known.covers(at, end) or found.covers(at, end)
                    if whole and any(on.covers(at, end, _MARGIN_NS) for on in sent):
                        self.due.add(n)

    def match(self, beats: Iterable[Flash] | Iterable[Beep]) -> _Matched:
        found: dict[int, int] = {}
        stray: list[int] = []
        for beat in beats:
            film_ns = beat.middle_ns
            for span in self._spans:
                clock_ns = film_ns + span.offset_ns
                n = round((clock_ns - self._length // 2) / _S)
                near = abs(clock_ns - self._length // 2 - n * _S) <= _NEAR_BEAT_NS
                inside = span.film.start_ns - 30 * _MS <= film_ns <= span.film.end_ns + 30 * _MS
                if inside and near and n in self.allowed and n not in found:
                    found[n] = clock_ns
                    break
            else:
                stray.append(film_ns)
        return _Matched(self.due, found, stray)


def _p95(values: Sequence[float]) -> int | None:
    """The 95th percentile by nearest rank: one of the values, never between two."""
    return round(sorted(values)[math.ceil(0.95 * len(values)) - 1]) if values else None


# --- the film as a whole


def _duration(film: Film, expected: Expectation, spans: Sequence[_Span]) -> Iterable[Finding]:
    frame_ns = film.end_ns // max(1, len(film.starts_ns))
    slack = frame_ns + _AAC_PACKET_NS  # "one frame plus one audio packet"
    least = sum(max(0, part.end.earliest_ns - part.start.latest_ns) for part in expected.recorded)
    most = sum(part.end.latest_ns - part.start.earliest_ns for part in expected.recorded)
    left_ns = frame_ns * (len(spans) - 1) if expected.bars.in_step else 0
    miss = Edge(least, most + left_ns).miss_ns(film.end_ns)
    recorded = f"{least / _S:.2f}" if least == most else f"{least / _S:.2f} to {most / _S:.2f}"
    yield Finding("duration", miss <= slack, f"{film.end_ns / _S:.2f} s of {recorded} s recorded")
    lag = abs(film.end_ns - film.sound_ns) if film.sound_ns else 0
    yield Finding("picture and sound end together", lag <= slack, f"{lag / _MS:.0f} ms apart")
    uneven = sum(abs(b - a - frame_ns) > _MS for a, b in pairwise(film.starts_ns))
    yield Finding("even pictures", not uneven, f"{len(film.starts_ns)} pictures, {uneven} at uneven times")
    for number, span in enumerate(spans, 1):
        part = span.recorded
        for word, at_ns, edge in (("start", span.clock.start_ns, part.start), ("end", span.clock.end_ns, part.end)):
            out = edge.miss_ns(at_ns)
            near = out <= frame_ns + expected.bars.way_ns
            yield Finding(f"{word} of span {number}", near, f"clock {at_ns / _S:.3f} s, {out / _MS:.0f} ms off")


def _tiles(film: Film, expected: Expectation, moving: frozenset[int]) -> Finding:
    """Tiles lie apart, and stand in one order all the time."""
    names = [person.look.name for person in expected.people]
    before: set[tuple[str, str]] = set()
    if len(moving) > 0.15 * len(film.starts_ns) + _MOVING_PICTURES:
        return Finding("tiles", False, f"tiles move in {len(moving)} of {len(film.starts_ns)} pictures")
    for index, start in enumerate(film.starts_ns):
        if index in moving:
            continue
        there = [(name, box) for name in names if (box := film.sights[name].boxes[index]) is not None]
        for place, (name, box) in enumerate(there):
            for other, second in there[place + 1 :]:
                across = min(box.x1, second.x1) - max(box.x0, second.x0)
                down = min(box.y1, second.y1) - max(box.y0, second.y0)
                if across > 0.05 * box.width and down > 0.05 * box.height:
                    return Finding("tiles", False, f"{name} and {other} overlap at film second {start / _S:.2f}")
                earlier = box.x0 <= second.x0 if abs(box.y0 - second.y0) < 0.5 * box.height else box.y0 < second.y0
                before.add((name, other) if earlier else (other, name))
    for one, two in sorted(before) if expected.in_place else ():
        if (two, one) in before:
            return Finding("tiles", False, f"{one} and {two} change places")
        if expected.in_order and names.index(one) > names.index(two):
            return Finding("tiles", False, f"{one} stands before {two}, who joined earlier")
    return Finding("tiles", True, "apart and in one order" if before else "at most one at a time")


def _moving(film: Film) -> frozenset[int]:
    """Pictures in which somebody's tile is on its way to another place, and those around them."""
    found: set[int] = set()
    for sight in film.sights.values():
        for index, (old, box) in enumerate(pairwise(sight.boxes), 1):
            if box is not None and old is not None:
                reach = 3 + 0.02 * box.width
                edges = zip((box.x0, box.x1, box.y0, box.y1), (old.x0, old.x1, old.y0, old.y1), strict=True)
                if any(abs(now - then) > reach for now, then in edges):
                    found.update(range(index - 2, index + 3))
    return frozenset(found)


def _index(film: Film) -> Finding:
    return Finding("index in front", film.facts.index_in_front, f"{film.facts.size_bytes / 1e6:.2f} MB")


@dataclass(frozen=True, slots=True)
class Apart:
    """How far two films of one recording differ."""

    flash_ns: int
    beep_ns: int
    missing: int
    "Flashes and beeps that only one of them has."


def apart(one: Film, two: Film) -> Apart:
    """Compare two films event by event, in film time; events within half a second are the same."""
    missing = 0

    def worst(name: str, get: Callable[[Film], dict[str, list[Flash]] | dict[str, list[Beep]]]) -> int:
        nonlocal missing
        first, second = ([b.middle_ns for b in get(film).get(name, [])] for film in (one, two))
        pairs = [(a, min(second, key=lambda b: abs(b - a), default=math.inf)) for a in first]
        gaps = [abs(a - b) for a, b in pairs if abs(a - b) < _S / 2]
        missing += len(first) + len(second) - 2 * len(gaps)
        return round(max(gaps, default=0))

    names = one.sights.keys() | two.sights.keys()
    flash_ns = max((worst(name, lambda film: film.flashes) for name in names), default=0)
    beep_ns = max((worst(name, lambda film: film.beeps) for name in names), default=0)
    return Apart(flash_ns, beep_ns, missing)
