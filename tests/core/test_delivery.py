"""When a store is tried again and given up, and when a film counts as delivered."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.delivery import Patience, Verdict, verdict_on
from tapedeck.core.destination import Destination, DestinationKind, DestinationState
from tapedeck.core.recording import FilmFile

S, V = DestinationState, Verdict
VIDEO = FilmFile("video", "f.mp4", 1, 1, "00")
POSTER = FilmFile("poster", "f.jpg", 1, 0, "00")
ADA, BOB = FilmFile("track", "a.webm", 1, 1, "00", layer="ada"), FilmFile("track", "b.webm", 1, 1, "00", layer="bob")


def place(state: DestinationState, error: str | None = None, layer: str | None = None) -> Destination:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    return Destination("d", "r", DestinationKind.EXTERNAL, at, layer=layer, state=state, error=error)


DONE, FAILED, BUSY, TROUBLED = place(S.DONE), place(S.FAILED, "no"), place(S.WAITING), place(S.WAITING, "not yet")


@pytest.mark.parametrize(
    ("places", "verdict"),
    [
        ([DONE], V.DELIVERED),
        ([DONE, DONE], V.DELIVERED),
        ([DONE, BUSY], V.OPEN),
        ([DONE, TROUBLED], V.DELIVERED),
        ([DONE, FAILED], V.DELIVERED),
        ([BUSY], V.OPEN),
        ([TROUBLED], V.OPEN),
        ([TROUBLED, FAILED], V.OPEN),
        ([FAILED], V.FAILED),
        ([], V.FAILED),
    ],
)
def test_a_film_that_lies_somewhere_is_delivered(places: list[Destination], verdict: Verdict) -> None:
    assert verdict_on([VIDEO], places) is verdict
    assert verdict_on([VIDEO, POSTER], places) is verdict, "stills change nothing"


def test_each_layer_has_its_own_places() -> None:
    of_ada, of_bob = place(S.DONE, layer="ada"), place(S.WAITING, layer="bob")
    assert verdict_on([ADA], [of_ada, of_bob]) is V.DELIVERED
    assert verdict_on([ADA, BOB], [of_ada, of_bob]) is V.OPEN
    assert verdict_on([ADA, BOB], [of_ada, place(S.FAILED, "no", "bob")]) is V.DELIVERED
    assert verdict_on([ADA, BOB], [place(S.FAILED, "no", "ada"), place(S.FAILED, "no", "bob")]) is V.FAILED


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_grow_to_the_longest_and_are_spread(attempts: int, chance: float) -> None:
    patience = Patience()
    pause_s = patience.pause_s(attempts, chance)
    assert 0.8 <= pause_s <= 360
    assert patience.is_over(attempts, refused=True) >= patience.is_over(attempts, refused=False)
