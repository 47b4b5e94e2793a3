"""A film goes up while it is made: whole, once, and never as something else, wherever it is interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.workers.reels import MIB, Reel, Tape, Watched

from tapedeck.core.errors import DestinationError, NotFoundError, UnavailableError
from tapedeck.core.parts import PartRule, aligned_part
from tapedeck.workers.transfer import Film, FilmGoneError, Transfer

DAY = 26 << 30
ALIGN = aligned_part(DAY)


class Desk:
    """A store, and transfers to it as processes come and go."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Watched(root / "bucket")

    def transfer(self, **more: Any) -> Transfer:
        journal = self.root / "films" / "film.mp4.journal"
        return Transfer(self.store, "film.mp4", "video/mp4", "film.mp4", journal, most_film_bytes=DAY, **more)

    def reel(self, seed: int = 1, *, tells_room: bool = False) -> Reel:
        return Reel(self.root / "films", seed=seed, head_align=ALIGN, tells_room=tells_room)

    async def holds(self, film: Film) -> None:
        """The store has the film, and nothing else that lies about; and who comes back only looks."""
        assert await self.store.bytes_of("film.mp4") == film.path.read_bytes()
        assert not await self.store.unfinished("")
        sent, again = len(self.store.sent), self.transfer()
        assert (await again.finish(film)).size_bytes == film.size_bytes
        assert len(self.store.sent) == sent
        again.forget()
        assert not (self.root / "films" / "film.mp4.journal").exists()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def follow(transfer: Transfer, reel: Reel) -> None:
    while await transfer.follow(reel.path):
        pass


async def test_only_the_front_and_the_tail_are_left_at_the_end(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    for _ in range(23):
        reel.grow(MIB)
        await follow(transfer, reel)
    assert sum(size for _, size in desk.store.sent) == 15 * MIB, "all whole parts behind what is held back"
    live, film = list(desk.store.sent), reel.finish()
    assert (await transfer.finish(film)).size_bytes == film.size_bytes
    front_and_tail = desk.store.sent[len(live) :]
    assert sum(size for _, size in front_and_tail) == film.size_bytes - 15 * MIB
    await desk.holds(film)


async def test_the_head_of_a_film_that_is_in_memory_is_not_read(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(transfer, reel)
    film = reel.finish(index_bytes=3 * MIB)
    whole = film.path.read_bytes()
    assert film.head and whole.startswith(film.head)
    with film.path.open("r+b") as file:
        file.seek(MIB)
        file.write(bytes(MIB))  # a reader of the disk would send this
    await transfer.finish(film)
    assert await desk.store.bytes_of("film.mp4") == whole


async def test_a_head_in_memory_that_is_another_films_is_sent_from_the_disk(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(transfer, reel)
    film = reel.finish()
    await transfer.finish(replace(film, head=b"x" * len(film.head)))
    await desk.holds(film)


async def test_a_short_film_goes_up_when_it_is_finished(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(3 * MIB)
    await follow(transfer, reel)
    assert desk.store.sent == []
    film = reel.finish()
    assert film.size_bytes < 3 * MIB + 16_384, "no padding"
    await transfer.finish(film)
    await desk.holds(film)


async def test_the_next_process_sends_nothing_twice(desk: Desk) -> None:
    first, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(first, reel)
    sent = len(desk.store.sent)
    film = reel.finish()
    desk.store.troubles["put_part"] = [None, UnavailableError("gone")]
    with pytest.raises(UnavailableError, match="gone"):
        await first.finish(film)
    await desk.transfer().finish(film)
    numbers = [number for number, _ in desk.store.sent]
    assert sent == 3
    assert len(numbers) == len(set(numbers)), "each part once"
    await desk.holds(film)


async def test_a_film_begun_anew_keeps_what_is_the_same(desk: Desk) -> None:
    """A render that died makes the same film again, and the process that follows it may be another."""
    first, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(first, reel)
    reel.lose()
    second, again = desk.transfer(), desk.reel()
    again.grow(16 * MIB)
    await follow(second, again)
    again.grow(16 * MIB)
    await follow(second, again)
    assert [number for number, _ in desk.store.sent] == sorted({number for number, _ in desk.store.sent})
    film = again.finish()
    await second.finish(film)
    await desk.holds(film)


async def test_a_film_that_became_another_is_sent_as_what_it_is(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(transfer, reel)
    reel.lose()
    other = desk.reel(seed=2)
    other.grow(12 * MIB)
    film = other.finish()
    await transfer.finish(film)
    await desk.holds(film)


async def test_a_store_that_is_down_while_a_film_is_made_gets_the_rest_later(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(12 * MIB)
    desk.store.troubles["put_part"] = [UnavailableError("down")] * 3
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await transfer.follow(reel.path)
        reel.grow(4 * MIB)
    await follow(transfer, reel)
    film = reel.finish()
    await transfer.finish(film)
    numbers = [number for number, _ in desk.store.sent]
    assert len(numbers) == len(set(numbers))
    await desk.holds(film)


async def test_an_answer_that_got_lost_is_not_an_upload_that_did(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(12 * MIB)
    film = reel.finish()
    desk.store.troubles["completed"] = [UnavailableError("connection cut")]
    with pytest.raises(UnavailableError):
        await transfer.finish(film)
    sent = len(desk.store.sent)
    info = await desk.transfer().finish(film)
    assert (info.size_bytes, len(desk.store.sent)) == (film.size_bytes, sent)
    await desk.holds(film)


async def test_a_second_question_that_finds_no_upload_finds_the_object(desk: Desk) -> None:
    """Clients ask again by themselves: the first answer got lost, and the upload that the second asks for is over."""
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(transfer, reel)
    film = reel.finish()
    desk.store.troubles["completed"] = [NotFoundError("No such upload")]
    await transfer.finish(film)
    numbers = [number for number, _ in desk.store.sent]
    assert len(numbers) == len(set(numbers)), "each part once"
    await desk.holds(film)


async def test_an_upload_that_is_aborted_while_the_film_is_made_is_begun_again_at_once(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(16 * MIB)
    await follow(transfer, reel)
    (left,) = await desk.store.unfinished("")
    await desk.store.abort(left.key, left.token)
    reel.grow(16 * MIB)
    with pytest.raises(UnavailableError, match="lost what was sent"):
        await follow(transfer, reel)
    await follow(transfer, reel)
    live, film = len(desk.store.sent), reel.finish()
    await transfer.finish(film)
    assert len(desk.store.sent) - live == 3, "the front and the tail: the rest was up before it was finished"
    await desk.holds(film)


async def test_a_film_made_again_is_not_taken_for_the_one_that_was_delivered(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(transfer, reel)
    await transfer.finish(reel.finish())
    again = desk.reel(seed=2)
    again.grow(24 * MIB)
    await follow(transfer, again)
    film = again.finish()
    await transfer.finish(film)
    await desk.holds(film)


async def test_an_upload_that_somebody_aborted_is_begun_again(desk: Desk) -> None:
    first, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(first, reel)
    film = reel.finish()
    for upload in await desk.store.unfinished(""):
        await desk.store.abort(upload.key, upload.token)
    await desk.transfer().finish(film)
    await desk.holds(film)


async def test_a_store_that_does_not_answer_is_left(desk: Desk) -> None:
    transfer, reel = desk.transfer(answer_s=0.01), desk.reel()
    reel.grow(MIB)
    film = reel.finish()
    desk.store.stuck = True
    with pytest.raises(UnavailableError, match="does not answer"):
        await transfer._ask(desk.store._trouble("put_part"))
    desk.store.stuck = False
    await desk.transfer().finish(film)
    await desk.holds(film)


async def test_a_film_that_is_damaged_on_this_machine_is_never_delivered(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(12 * MIB)
    film = reel.finish()
    with film.path.open("r+b") as file:
        file.seek(-100, 2)
        file.write(b"damage")
    with pytest.raises(FilmGoneError, match="checksum"):
        await transfer.finish(film)
    with pytest.raises(FilmGoneError, match="not on this machine"):
        await transfer.finish(Film(film.path.with_name("other"), 5, 5))
    await transfer.abort()
    assert not await desk.store.unfinished("")


async def test_what_the_store_refuses_is_told(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(MIB)
    film = reel.finish()
    desk.store.troubles["complete"] = [DestinationError("The bucket is locked.")]
    with pytest.raises(DestinationError, match="locked"):
        await transfer.finish(film)
    await transfer.finish(film)
    await desk.holds(film)


async def test_a_journal_that_was_cut_costs_a_part(desk: Desk) -> None:
    first, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(first, reel)
    journal = desk.root / "films" / "film.mp4.journal"
    journal.write_bytes(journal.read_bytes()[:-20])
    film = reel.finish()
    await desk.transfer().finish(film)
    await desk.holds(film)


@pytest.mark.parametrize("is_made", [False, True])
async def test_a_journal_that_has_lost_any_line_loses_no_film(desk: Desk, is_made: bool) -> None:
    """The store was asked to make the object, and did it or did not; nobody heard. A disk gives back what it likes."""
    first, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(first, reel)
    film = reel.finish()
    if is_made:
        await first.finish(film)
    else:
        desk.store.troubles["complete"] = [UnavailableError("The storage does not answer.")]
        with pytest.raises(UnavailableError):
            await first.finish(film)
    journal = desk.root / "films" / "film.mp4.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    for lost in range(len(lines)):
        journal.write_bytes(b"".join(lines[:lost] + lines[lost + 1 :]))
        assert (await desk.transfer().finish(film)).size_bytes == film.size_bytes, lost
        assert await desk.store.bytes_of("film.mp4") == film.path.read_bytes()


async def test_a_film_that_outgrows_the_room_for_its_index_goes_up_anew_while_it_grows(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel(tells_room=True)
    reel.grow(24 * MIB)
    await follow(transfer, reel)
    first = len(desk.store.sent)
    reel.expect_index(ALIGN)
    await follow(transfer, reel)
    assert len(desk.store.sent) == first == 3, "it fits"
    reel.expect_index(ALIGN + 1)
    reel.grow(5 * MIB)
    await follow(transfer, reel)
    assert [number for number, _ in desk.store.sent[first:]] == [32, 33, 34, 35]
    next_process = desk.transfer()
    reel.grow(5 * MIB)
    await follow(next_process, reel)
    live, film = list(desk.store.sent), reel.finish(index_bytes=6 * MIB)
    assert len(live) == first + 5, "what is up stays up"
    await next_process.finish(film)
    assert sum(size for _, size in desk.store.sent[len(live) :]) == film.size_bytes - 25 * MIB
    assert film.size_bytes - 34 * MIB - 4 * ALIGN < 16_384
    await desk.holds(film)


async def test_where_a_file_cannot_say_what_room_it_needs_its_film_goes_up_in_the_end(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr("os.setxattr", refuse)
    transfer, reel = desk.transfer(), desk.reel(tells_room=True)
    reel.grow(24 * MIB)
    reel.expect_index(6 * MIB)
    await follow(transfer, reel)
    film = reel.finish(index_bytes=6 * MIB)
    assert film.size_bytes < 24 * MIB + 2 * ALIGN + 16_384
    await transfer.finish(film)
    await desk.holds(film)


async def test_a_film_longer_than_the_room_for_its_index_goes_up_in_the_end(desk: Desk) -> None:
    transfer, reel = desk.transfer(), desk.reel()
    reel.grow(24 * MIB)
    await follow(transfer, reel)
    film = reel.finish(index_bytes=6 * MIB)
    await transfer.finish(film)
    await desk.holds(film)


@pytest.mark.parametrize("equal", [False, True])
async def test_a_tar_goes_up_as_it_grows_and_nothing_of_it_moves(desk: Desk, equal: bool) -> None:
    desk.store.other_rule = PartRule(5 * MIB, 5 << 30, 10_000, equal)
    transfer, reel = desk.transfer(), Tape(desk.root / "films")
    for _ in range(40):
        reel.grow(MIB)
        await follow(transfer, reel)
    live = sum(size for _, size in desk.store.sent)
    assert live >= 25 * MIB
    film = reel.finish()
    assert (await transfer.finish(film)).size_bytes == film.size_bytes
    assert sum(size for _, size in desk.store.sent) <= film.size_bytes, "nothing twice"
    await desk.holds(film)


async def test_a_tar_goes_whole_to_a_store_that_keeps_room_for_an_index(desk: Desk) -> None:
    transfer, reel = desk.transfer(), Tape(desk.root / "films")
    reel.grow(24 * MIB)
    await follow(transfer, reel)
    assert desk.store.rule.by_offset and desk.store.sent == []
    film = reel.finish()
    await transfer.finish(film)
    await desk.holds(film)
