"""Memory that two processes see: what is put there is there, and what cannot be is not asked for again."""

from __future__ import annotations

import os

from tapedeck.media.shelf import MOST_BYTES, Shelf, put_on


def test_things_lie_beside_each_other_and_outlive_the_shelf() -> None:
    shelf = Shelf()
    places = [put_on(shelf.fd, data) for data in (b"first", b"x" * 10_000, b"last")]
    taken = [shelf.take(at, size) for at, size in zip(places, (5, 10_000, 4), strict=True) if at is not None]
    shelf.close()
    assert [bytes(data[:]) for data in taken] == [b"first", b"x" * 10_000, b"last"]


def test_what_cannot_be_is_left_out() -> None:
    shelf = Shelf()
    assert put_on(None, b"data") is None and put_on(shelf.fd, b"") is None
    assert put_on(shelf.fd, bytes(MOST_BYTES + 1)) is None
    closed = os.open(os.devnull, os.O_RDONLY)
    assert put_on(closed, b"data") is None, "not a place to write to"
    os.close(closed)
    assert put_on(shelf.fd, b"data") == 0
    for at, size in ((0, 0), (-1, 4), (1, 3), (0, 5), (4096, 4)):
        assert shelf.take(at, size) == b""
    shelf.close()
    assert shelf.take(0, 4) == b""
