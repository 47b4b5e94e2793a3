"""A process ends at every step of bringing files to a store: the next one delivers them all, once, and leaves nothing.

A step is a call to the store or to the records about it; the process ends before the call does anything, or after it
was done and before anybody heard of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.pace import eventually
from tests.workers.post import ALIGN, Post, open_post
from tests.workers.reels import MIB, Reel

from tapedeck.core.destination import DestinationKind, DestinationState
from tapedeck.core.errors import DestinationError
from tapedeck.core.naming import object_key
from tapedeck.core.recording import FilmFile, Recording, RecordingState
from tapedeck.service.recordings import Action

K, S, R = DestinationKind, DestinationState, RecordingState
STORE = ("begin", "put_part", "complete")
RECORDS = ("arrived", "confirmed", "settle")
STEPS = 11
"""Two begins, four parts, two completions; one file noted, all of them, and the recording."""


class End:
    """Has a process end at one of its steps: what is called there never returns."""

    def __init__(self, at: int, *, done: bool) -> None:
        """`at`: counting from 0. `done`: what is called there happens."""
        self.steps: list[str] = []
        self.came = asyncio.Event()
        self._at, self._done = at, done

    def watch(self, owner: Any, *names: str) -> None:
        for name in names:
            setattr(owner, name, self._wrapped(name, getattr(owner, name)))

    def _wrapped(self, name: str, real: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **more: Any) -> Any:
            if self.came.is_set():  # it is dead, also where it did several things at once
                await asyncio.get_running_loop().create_future()
            self.steps.append(name)
            if len(self.steps) - 1 != self._at:
                return await real(*args, **more)
            if self._done:
                await real(*args, **more)
            self.came.set()
            return await asyncio.get_running_loop().create_future()

        return call


def release(owner: Any, *names: str) -> None:
    for name in names:
        delattr(owner, name)


async def two_files(post: Post, *kinds: DestinationKind) -> tuple[Recording, dict[str, bytes]]:
    """A recording with a film and the sound of it, both finished."""
    recording = await post.recording(*kinds)
    files, content = [], {}
    for kind, name, size in (
        ("video", recording.file_name, 12 * MIB),
        ("audio", f"{recording.file_name}.m4a", 10 * MIB),
    ):
        reel = Reel(post.films / recording.id, name, seed=size)
        reel.grow(size)
        film = reel.finish()
        content[name] = film.path.read_bytes()
        files.append(FilmFile(kind, name, film.size_bytes, 1000, f"{film.crc32c:08x}", str(film.path)))
    await post.world.recordings.control(post.world.app, post.world.backend, recording.id, Action.STOP)
    await post.world.recordings.settle()
    rendered = await post.world.lifecycle.on_rendered(recording.id, files)
    return rendered, content


def place_of(post: Post, kind: DestinationKind, recording: Recording, name: str) -> str:
    return name if kind is K.EXTERNAL else object_key(recording.id, recording.invoked_at, name)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(STEPS))
async def test_a_process_that_ends_there_is_taken_over(at: int, done: bool, tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        store, end = post.stores[K.EXTERNAL], End(at, done=done)
        end.watch(store, *STORE)
        end.watch(post.service, *RECORDS)
        recording, content = await two_files(post, K.EXTERNAL)
        post.worker.deliver(recording, recording.files)
        await eventually(lambda: _is_set(end))
        release(store, *STORE)
        release(post.service, *RECORDS)
        await post.restart()
        recording = await post.world.now_of(recording)
        if recording.state is R.UPLOADING:
            post.worker.deliver(recording, recording.files)  # as recovery does
            await post.over(recording)
        await post.until(recording, R.DONE)
        for name, film in content.items():
            assert await store.bytes_of(place_of(post, K.EXTERNAL, recording, name)) == film
        assert not await store.unfinished("")
        assert (await post.places(recording))[K.EXTERNAL].state is S.DONE
        parts = sum(-(-len(film) // (8 * MIB)) for film in content.values())
        again = len(store.sent) - parts
        assert again <= (1 if end.steps[at] == "put_part" and done else 0), (end.steps, store.sent)


async def _is_set(end: End) -> bool:
    return end.came.is_set()


async def test_those_are_all_the_steps(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        end = End(-1, done=False)
        end.watch(post.stores[K.EXTERNAL], *STORE)
        end.watch(post.service, *RECORDS)
        recording, _ = await two_files(post, K.EXTERNAL)
        post.worker.deliver(recording, recording.files)
        await post.over(recording)
        assert len(end.steps) == STEPS, end.steps


async def test_a_file_that_is_there_is_not_sent_again_for_another_that_is_not(tmp_path: Path) -> None:
    """Also when the film was lost and made anew: then both are others."""
    async with open_post(tmp_path) as post:
        store, end = post.stores[K.EXTERNAL], End(5, done=False)
        end.watch(store, *STORE)
        recording, content = await two_files(post, K.EXTERNAL)
        post.worker.deliver(recording, recording.files)
        await eventually(lambda: _is_set(end))
        assert end.steps == ["begin", "put_part", "put_part", "complete", "begin", "put_part"]
        release(store, *STORE)
        first, second = recording.files
        reel = Reel(post.films / recording.id, first.name, seed=99)
        reel.grow(12 * MIB)
        anew = reel.finish()
        film = replace(first, size_bytes=anew.size_bytes, crc32c=f"{anew.crc32c:08x}")
        content[first.name] = anew.path.read_bytes()
        await post.worker.aclose()
        post.worker = post._worker()
        post.worker.deliver(recording, (film, second))
        await post.over(recording)
        for name, wanted in content.items():
            assert await store.bytes_of(name) == wanted
        assert not await store.unfinished("")


@pytest.mark.parametrize("noted", [False, True])
async def test_what_a_dead_process_had_sent_of_a_film_that_never_was_is_dropped(noted: bool, tmp_path: Path) -> None:
    """`noted`: the process died after the store had begun the upload and it was noted on this machine."""
    async with open_post(tmp_path) as post:
        store, end = post.stores[K.EXTERNAL], End(2 if noted else 0, done=True)
        end.watch(store, *STORE)
        recording = await post.recording(K.BUCKET, K.EXTERNAL)
        reel = post.reel(recording)
        reel.grow(24 * MIB)
        post.worker.follow(recording)
        await eventually(lambda: _is_set(end))
        release(store, *STORE)
        await post.worker.aclose()
        assert await store.unfinished("")
        await post.world.lifecycle.on_failed(recording.id, "It is a test.")
        post.worker = post._worker()
        (left,) = await post.worker.unfinished()
        post.worker.cancel(left.recording)
        await post.over(recording)

        async def is_tidy() -> bool:
            return not await store.unfinished("")

        await eventually(is_tidy)
        places = await post.places(recording)
        assert {(place.state, place.error) for place in places.values()} == {(S.FAILED, None)}
        assert await post.worker.unfinished() == []


async def test_parts_of_a_film_that_never_was_are_dropped_when_their_store_is_back(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        store = post.stores[K.EXTERNAL]
        recording, _reel = await post.growing(24 * MIB, parts=3)
        abort, refusals = store.abort, [ConnectionError("down")] * 5

        async def fragile(key: str, token: str) -> None:
            if refusals:
                raise refusals.pop()
            await abort(key, token)

        store.abort = fragile  # type: ignore[method-assign]
        await post.world.lifecycle.on_failed(recording.id, "It is a test.")
        post.worker.cancel(await post.world.now_of(recording))
        await post.over(recording)
        assert not await store.unfinished("") and not refusals
        assert (await post.places(recording))[K.EXTERNAL].error is None


async def test_a_store_that_is_given_up_keeps_no_part_of_any_file_of_a_dead_process(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        store = post.stores[K.EXTERNAL]
        recording = await post.recording(K.EXTERNAL)
        names = (recording.file_name, f"{recording.file_name}.m4a")
        reels = [Reel(post.films / recording.id, name, seed=1, head_align=ALIGN) for name in names]
        for reel in reels:
            reel.grow(24 * MIB)
        post.worker.follow(recording)

        async def are_up() -> bool:
            return len(store.sent) == 6

        await eventually(are_up)
        await post.worker.aclose()
        assert len(await store.unfinished("")) == 2
        store.wrong = lambda: DestinationError("The storage refuses.")
        post.worker = post._worker()
        films = [reel.finish() for reel in reels]
        files = [
            FilmFile(kind, film.path.name, film.size_bytes, 1000, f"{film.crc32c:08x}", str(film.path))
            for kind, film in zip(("video", "audio"), films, strict=True)
        ]
        await post.world.recordings.control(post.world.app, post.world.backend, recording.id, Action.STOP)
        await post.world.recordings.settle()
        rendered = await post.world.lifecycle.on_rendered(recording.id, files)
        post.worker.deliver(rendered, rendered.files)
        await post.over(recording)
        place = (await post.places(recording))[K.EXTERNAL]
        assert (place.state, place.error) == (S.FAILED, "The storage refuses.")
        assert not await store.unfinished("")


async def test_a_recording_that_never_began_asks_no_store(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        post.stores[K.EXTERNAL].stuck = True
        recording = await post.recording(K.BUCKET, K.EXTERNAL)
        await post.world.lifecycle.on_failed(recording.id, "Nobody came.")
        post.worker.cancel(await post.world.now_of(recording))
        await post.over(recording)
        assert {place.state for place in (await post.places(recording)).values()} == {S.FAILED}
