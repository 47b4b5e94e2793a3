"""Who is large: not for less than a second and a half, and whoever speaks."""

from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.choose import Person
from tapedeck.core.focus import HOLD_NS, Focus

MS = 1_000_000


def person(who: str, *, speaking: bool = False, spoke_ns: int = -1, camera: str | None = "c") -> Person:
    return Person(who, who.title(), camera, speaking, spoke_ns)


def test_before_anybody_spoke_the_first_with_a_camera_is_large() -> None:
    assert Focus().update(0, []) is None
    assert Focus().update(0, [person("ada", camera=None), person("bob"), person("cy")]) == "bob"
    assert Focus().update(0, [person("ada", camera=None), person("bob", camera=None)]) == "ada"


def test_whoever_speaks_is_large_and_stays_so_in_silence() -> None:
    focus = Focus()
    focus.update(0, [person("ada"), person("bob")])
    assert focus.update(2_000 * MS, [person("ada"), person("bob", speaking=True)]) == "bob"
    assert focus.update(9_000 * MS, [person("ada"), person("bob")]) == "bob"


def test_nobody_is_large_for_less_than_the_hold() -> None:
    focus = Focus()
    quiet, ada, bob = (
        [person("ada", speaking=a), person("bob", speaking=b)]
        for a, b in ((False, False), (True, False), (False, True))
    )
    focus.update(0, quiet)
    asked = [(focus.update(at, crowd), focus.due_ns) for at, crowd in ((5_000 * MS, bob), (5_500 * MS, ada))]
    assert asked == [("bob", None), ("bob", 5_000 * MS + HOLD_NS)]
    assert (focus.update(5_000 * MS + HOLD_NS, ada), focus.due_ns) == ("ada", None)


def test_whoever_waits_and_falls_silent_again_does_not_become_large() -> None:
    focus = Focus()
    focus.update(0, [person("ada"), person("bob")])
    assert focus.update(500 * MS, [person("ada"), person("bob", speaking=True)]) == "ada"
    assert focus.update(900 * MS, [person("ada"), person("bob")]) == "ada" and focus.due_ns is None
    assert focus.update(2_000 * MS, [person("ada"), person("bob")]) == "ada"


def test_nobody_is_interrupted() -> None:
    focus = Focus()
    focus.update(0, [person("ada", speaking=True), person("bob")])
    assert focus.update(60_000 * MS, [person("ada", speaking=True), person("bob", speaking=True)]) == "ada"


def test_when_the_large_one_leaves_another_is_large_at_once() -> None:
    focus = Focus()
    focus.update(0, [person("ada", speaking=True), person("bob"), person("cy")])
    assert focus.update(100 * MS, [person("bob", spoke_ns=5), person("cy", spoke_ns=9)]) == "cy"
    assert focus.update(200 * MS, [person("ada", speaking=True), person("bob"), person("cy")]) == "cy"


def test_behind_a_screen_it_changes_freely_and_holds_from_when_it_is_seen_again() -> None:
    focus = Focus()
    quiet, bob, ada = (
        [person("ada", speaking=a), person("bob", speaking=b)]
        for a, b in ((False, False), (False, True), (True, False))
    )
    focus.update(0, quiet)
    assert focus.update(9_000 * MS, bob, is_seen=False) == "bob"
    assert (focus.update(9_100 * MS, ada, is_seen=False), focus.due_ns) == ("ada", None)
    assert focus.update(60_000 * MS, quiet) == "ada", "the share is over"
    assert (focus.update(60_500 * MS, bob), focus.due_ns) == ("ada", 60_000 * MS + HOLD_NS)
    assert focus.update(60_000 * MS + HOLD_NS, bob) == "bob"


steps = st.lists(st.tuples(st.integers(0, 700), st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3))), max_size=60)


@given(steps)
def test_the_large_one_is_there_and_changes_slowly_unless_they_leave(
    script: list[tuple[int, set[int], set[int]]],
) -> None:
    focus, at_ns, who, since_ns = Focus(), 0, None, 0
    for wait, there, speaking in script:
        at_ns += wait * MS
        crowd = [person(f"p{n}", speaking=n in speaking) for n in sorted(there)]
        now = focus.update(at_ns, crowd)
        assert (now is None) == (not there)
        assert now is None or now in {p.participant_id for p in crowd}
        if now != who:
            assert who is None or who not in {p.participant_id for p in crowd} or at_ns - since_ns >= HOLD_NS
            who, since_ns = now, at_ns
        elif speaking & there and who not in {f"p{n}" for n in speaking}:
            assert focus.due_ns is not None and focus.due_ns > at_ns
