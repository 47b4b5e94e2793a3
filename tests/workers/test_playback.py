"""Fragments on disk: read as they grow, kept while a recording goes on, freed when its film is finished, or fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.media.test_hls import FILM, bytes_of, check_segments, index_of, shoot
from tests.pace import eventually
from tests.service.world import World
from tests.workers.s3server import running_moto
from tests.workers.test_upload_s3 import bucket

from tapedeck.core.errors import NotFoundError, UnavailableError
from tapedeck.core.liveindex import Fragment, line_of
from tapedeck.core.mp4film import FilmTable
from tapedeck.core.recording import Fail, FilmFile, Recording
from tapedeck.db import playbacks
from tapedeck.service.playback import Pass, PlaybackService
from tapedeck.service.recordings import Action
from tapedeck.service.watching import Finished, Span
from tapedeck.workers.playback import LocalFilms, PlaybackKeeper

S = 1_000_000_000


def fragment(number: int, run: int = 0, at_ms: int | None = 0) -> Fragment:
    """The bytes of each are its number, four times."""
    return Fragment(number * 2 * S, (number + 1) * 2 * S, number * 4, 4, run, at_ms)


def write(directory: Path, *found: Fragment, torn: bytes = b"") -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "media").write_bytes(b"".join(bytes([number]) * 4 for number in range(len(found))))
    (directory / "index").write_bytes(b"".join(line_of(one) for one in found) + torn)
    (directory / "init-0.mp4").write_bytes(b"head")


async def running(world: World) -> Recording:
    meeting = await world.meeting()
    return await world.capturing(meeting, await world.live(meeting))


async def anchors(world: World, recording: Recording) -> object:
    played = playbacks.find_played(world.db, recording.id)
    assert played is not None
    return played.anchors


async def test_fragments_are_read_as_they_come_and_not_before_they_are_whole(tmp_path: Path) -> None:
    films, place = LocalFilms(tmp_path), tmp_path / "r"
    assert await films.fragments("r") == []
    write(place, fragment(0), torn=line_of(fragment(1))[:-3])
    assert await films.fragments("r") == [fragment(0)]
    write(place, fragment(0), fragment(1))
    assert await films.fragments("r") == [fragment(0), fragment(1)]
    assert await films.media("r", fragment(1)) == b"\x01" * 4
    assert await films.head("r", 0) == b"head"
    for missing in (films.head("r", 1), films.media("r", fragment(2)), films.media("x", fragment(0))):
        with pytest.raises(NotFoundError):
            await missing
    write(place, fragment(0))  # another attempt cut off what it cannot trust
    await films.fragments("r")
    assert await films.fragments("r") == [fragment(0)]
    await films.drop("r")
    assert await films.fragments("r") == [] and not place.exists()


async def test_finished_film_keeps_when_it_was_captured_and_frees_its_fragments(world: World) -> None:
    keeper = PlaybackKeeper(world.playback, world.films, world.ledger)
    recording = await running(world)
    place = world.root / "hls" / recording.id
    write(place, fragment(0, at_ms=1000), fragment(1, at_ms=3000), fragment(2, at_ms=65_000))
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.finish(recording)
    await keeper.aclose()
    assert not place.exists()
    assert await anchors(world, recording) == [(0, 1000), (4 * S, 65_000), (6 * S, None)]


async def test_fragments_of_a_finished_film_are_freed_once_the_database_takes_their_times(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, refused = playbacks.keep_anchors, list[str]()

    async def refuse(session: AsyncSession, recording_id: str, found: Sequence[tuple[int, int]]) -> None:
        if len(refused) < 3:
            refused.append(recording_id)
            raise UnavailableError("The database is locked")
        await keep(session, recording_id, found)

    monkeypatch.setattr(playbacks, "keep_anchors", refuse)
    keeper = PlaybackKeeper(world.playback, world.films, world.ledger, first_delay_s=0.01)
    recording = await running(world)
    place = world.root / "hls" / recording.id
    write(place, fragment(0, at_ms=1000))
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.finish(recording)

    async def freed() -> bool:
        return not place.exists()

    await eventually(freed, 30)
    await keeper.aclose()
    assert (len(refused), await anchors(world, recording)) == (3, [(0, 1000), (2 * S, None)])


async def test_failed_recording_frees_its_fragments(world: World) -> None:
    keeper = PlaybackKeeper(world.playback, world.films, world.ledger)
    recording = await running(world)
    write(world.root / "hls" / recording.id, fragment(0))
    await world.recordings.stop(recording.id, Fail("The log is gone."))
    await keeper.aclose()
    assert not (world.root / "hls" / recording.id).exists()


async def test_start_keeps_what_goes_on_finishes_what_is_finished_and_sweeps_the_rest(world: World) -> None:
    goes_on, finished = await running(world), await running(world)
    for name in (goes_on.id, finished.id, "nobody"):
        write(world.root / "hls" / name, fragment(0, at_ms=5000))
    await world.recordings.control(world.app, world.backend, finished.id, Action.STOP)
    await world.recordings.settle()
    film = FilmFile("video", "film.mp4", 4, 4000, "00000000", local_path="/nowhere")
    await world.lifecycle.on_rendered(finished.id, [film])
    keeper = PlaybackKeeper(world.playback, world.films, world.ledger)
    await keeper.recover(await world.lifecycle.recover({}))
    await keeper.aclose()
    assert [path.name for path in (world.root / "hls").iterdir()] == [goes_on.id]
    assert await anchors(world, finished) == [(0, 5000), (fragment(0).end_ns, None)]
    assert await world.films.fragments(goes_on.id) == [fragment(0, at_ms=5000)]


async def test_finished_film_is_played_from_an_object_store_by_ranges(world: World, tmp_path: Path) -> None:
    with running_moto() as moto:
        async with bucket(moto) as (_, store):
            playback = PlaybackService(
                world.db, world.clock, store, world.films, b"a key of the tests", "http://test", is_live=True
            )
            recording = await running(world)
            await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
            await world.recordings.settle()
            await asyncio.to_thread(shoot, tmp_path, FILM, 5)
            path = tmp_path / "film.mp4"
            size = path.stat().st_size
            await store.put_file("a/film.mp4", path, "video/mp4", "film.mp4")
            made = FilmFile("video", "film.mp4", size, 5000, "00000000", local_path=str(path))
            await world.lifecycle.on_rendered(recording.id, [made])
            await world.lifecycle.on_uploaded(recording.id, [replace(made, key="a/film.mp4", local_path=None)])
            path.unlink()
            url = (await playback.link(recording.id, timedelta(hours=1))).url
            entry = playback.enter(url.split("/")[-2])
            assert (await playback.media(entry)).data.count(b"#EXTINF") == 3
            found = index_of(tmp_path / "hls")
            played = [await playback.segment(entry, number) for number in range(3)]
            assert played == [bytes_of(tmp_path / "hls", one) for one in found]
            check_segments(await playback.init(entry, 0), list(zip(found, played, strict=True)))
            await store.delete("a/film.mp4")
            with pytest.raises(NotFoundError):
                await playback.segment(entry, 0)


async def test_a_broken_part_of_a_film_that_was_imported_is_not_found(tmp_path: Path) -> None:
    await asyncio.to_thread(shoot, tmp_path, FILM, 3)
    film = (tmp_path / "film.mp4").read_bytes()
    at = film.index(b"moov") + 4
    moov = film[at : at + int.from_bytes(film[at - 8 : at - 4]) - 8]

    async def read(start: int, end: int) -> bytes:
        return film[start:end]

    broken: list[tuple[FilmTable, int]] = []
    for place in range(0, len(moov), 4):
        with contextlib.suppress(ValueError):
            table = FilmTable(moov[:place] + b"\xff\xff\xff\xff" + moov[place + 4 :])
            broken += [(table, number) for number in range(min(table.count, 3)) if not is_there(table, number, film)]
    said: set[str] = set()
    for table, number in broken:
        with pytest.raises(NotFoundError, match="cannot be played over HLS: ") as refused:
            await Finished(table, "", len(film), [], Span(), read).segment(number)
        said.add(str(refused.value).rpartition(": ")[2])
    assert said == {"the index of the film is broken", "it lies behind the end of the file"}


async def test_a_part_that_lies_all_over_a_film_is_not_read(tmp_path: Path) -> None:
    """Of a film that was imported sound may lie a gigabyte behind its pictures: for each segment all would be read."""
    await asyncio.to_thread(shoot, tmp_path, FILM, 3)
    film = (tmp_path / "film.mp4").read_bytes()
    at = film.index(b"moov") + 4
    moov = bytearray(film[at : at + int.from_bytes(film[at - 8 : at - 4]) - 8])
    table = moov.rindex(b"stco") + 8
    for number in range(int.from_bytes(moov[table : table + 4])):
        place = table + 4 + 4 * number
        moov[place : place + 4] = (int.from_bytes(moov[place : place + 4]) + (1 << 30)).to_bytes(4)

    async def read(start: int, end: int) -> bytes:
        raise AssertionError(f"{end - start} bytes are read")

    far = Finished(FilmTable(bytes(moov)), "", 2 << 30, [], Span(), read)
    with pytest.raises(NotFoundError, match="cannot be played over HLS: it lies too far apart"):
        await far.segment(0)


async def test_an_index_is_not_looked_for_without_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was imported may be anything: each look costs a request to the store."""
    recording = await running(world)
    await world.recordings.control(world.app, world.backend, recording.id, Action.STOP)
    await world.recordings.settle()
    path = world.root / "film.mp4"
    path.write_bytes((8).to_bytes(4) + b"free" + ((8).to_bytes(4) + b"skip") * 10_000)
    size = path.stat().st_size
    film = FilmFile("video", "film.mp4", size, 5000, "00000000", local_path=str(path))
    await world.lifecycle.on_rendered(recording.id, [film])
    looks, real = list[int](), world.films.film

    async def look(path: str, start: int, end: int) -> bytes:
        looks.append(start)
        return await real(path, start, end)

    monkeypatch.setattr(world.films, "film", look)
    with pytest.raises(NotFoundError, match="has no index"):
        await world.playback.media(Pass(recording.id))
    assert len(looks) < 200


def is_there(table: FilmTable, number: int, film: bytes) -> bool:
    try:
        return table.piece(number).end <= len(film)
    except ValueError:
        return False
