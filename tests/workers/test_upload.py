"""Films and their destinations: each on its own, tried for hours that pass at once, and nothing freed too early."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.pace import eventually
from tests.workers.post import Moody, open_post
from tests.workers.reels import MIB

from tapedeck.core.delivery import Patience
from tapedeck.core.destination import Destination, DestinationKind, DestinationState
from tapedeck.core.errors import DestinationError, UnavailableError
from tapedeck.core.naming import object_key
from tapedeck.core.recording import FilmFile, Recording, RecordingState
from tapedeck.ports.storage import ObjectInfo, Part
from tapedeck.workers.transfer import FilmGoneError

K, S, R = DestinationKind, DestinationState, RecordingState


async def test_a_film_goes_to_the_bucket_and_to_the_customer(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        recording, film = await post.film(K.BUCKET, K.EXTERNAL)
        done = await post.until(recording, R.DONE)
        key = object_key(recording.id, recording.invoked_at, recording.file_name)
        assert done.files[0].key == key
        assert done.files[0].local_path is None
        assert await post.stores[K.BUCKET].bytes_of(key) == film
        assert await post.external(recording) == film
        await post.over(recording)
        assert {place.state for place in (await post.places(recording)).values()} == {S.DONE}


async def test_the_head_that_the_render_handed_over_is_not_read_back(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        recording = await post.recording(K.EXTERNAL)
        reel = post.reel(recording)
        reel.grow(MIB)
        film = reel.finish(index_bytes=MIB)
        whole = film.path.read_bytes()
        with film.path.open("r+b") as file:
            file.write(bytes(MIB))  # a reader of the disk would send this
        post.worker.follow(recording)
        post.worker.keep(recording.id, {recording.file_name: film.head})
        await post.stop(recording, film)
        await post.over(recording)
        assert await post.external(recording) == whole


async def test_a_store_that_is_down_for_ten_minutes_gets_its_film_and_holds_up_nobody(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        up_again = post.world.clock.now() + timedelta(minutes=10)
        held = asyncio.Event()

        def wrong() -> Exception | None:
            return UnavailableError("The storage does not answer.") if post.world.clock.now() < up_again else None

        async def begin(key: str, content_type: str, filename: str) -> str:
            if post.world.clock.now() + timedelta(minutes=5) > up_again:
                await held.wait()
            return await Moody.begin(post.stores[K.EXTERNAL], key, content_type, filename)

        post.stores[K.EXTERNAL].wrong = wrong
        post.stores[K.EXTERNAL].begin = begin  # type: ignore[method-assign]
        recording, film = await post.film(K.BUCKET, K.EXTERNAL)
        done = await post.until(recording, R.DONE)
        assert done.files[0].key is not None
        waiting = (await post.places(recording))[K.EXTERNAL]
        assert (waiting.state, waiting.error) == (S.WAITING, "The storage does not answer.")
        assert waiting.next_at is not None
        assert (post.films / recording.id / recording.file_name).is_file(), "the other one still needs it"
        held.set()
        await post.over(recording)
        assert await post.external(recording) == film
        place = (await post.places(recording))[K.EXTERNAL]
        assert (place.state, place.error) == (S.DONE, None)
        assert post.world.clock.now() >= up_again


async def test_a_store_that_refuses_is_given_up_and_the_film_is_not(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        post.stores[K.EXTERNAL].wrong = lambda: DestinationError("The storage does not know the access key.")
        start = post.world.clock.now()
        recording, _ = await post.film(K.BUCKET, K.EXTERNAL)
        await post.over(recording)
        assert (await post.world.now_of(recording)).state is R.DONE
        place = (await post.places(recording))[K.EXTERNAL]
        assert (place.state, place.error) == (S.FAILED, "The storage does not know the access key.")
        assert timedelta(minutes=15) <= post.world.clock.now() - start < timedelta(hours=1)


async def test_without_any_store_a_recording_fails_after_hours(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        post.stores[K.EXTERNAL].wrong = lambda: UnavailableError("The storage does not answer.")
        start = post.world.clock.now()
        recording, _ = await post.film(K.EXTERNAL)
        failed = await post.until(recording, R.FAILED)
        assert failed.failure == "The storage does not answer."
        assert timedelta(hours=6) <= post.world.clock.now() - start < timedelta(hours=7)
        await post.over(recording)


async def test_the_fallback_takes_what_a_store_refuses_for_good(tmp_path: Path) -> None:
    async with open_post(tmp_path, has_fallback=True) as post:
        post.stores[K.EXTERNAL].wrong = lambda: DestinationError("There is no such bucket.")
        recording, film = await post.film(K.EXTERNAL)
        done = await post.until(recording, R.DONE)
        assert done.files[0].key is None, "it is not in the built-in bucket"
        key = object_key(recording.id, recording.invoked_at, recording.file_name)
        assert await post.stores[K.FALLBACK].bytes_of(key) == film
        await post.over(recording)
        places = await post.places(recording)
        assert (places[K.EXTERNAL].state, places[K.FALLBACK].state) == (S.FAILED, S.DONE)


async def test_a_process_that_dies_when_it_gave_a_store_up_leaves_the_film_to_the_fallback(tmp_path: Path) -> None:
    async with open_post(tmp_path, has_fallback=True) as post:
        post.stores[K.EXTERNAL].wrong = lambda: DestinationError("There is no such bucket.")
        real, noted = post.service.given_up, asyncio.Event()

        async def given_up(destination: Destination, error: str, **more: Any) -> Any:
            await real(destination, error, **more)
            noted.set()
            await asyncio.get_running_loop().create_future()

        post.service.given_up = given_up  # type: ignore[method-assign]
        recording, film = await post.film(K.EXTERNAL)
        await asyncio.wait_for(noted.wait(), 60)
        post.service.given_up = real  # type: ignore[method-assign]
        await post.restart()
        recording = await post.world.now_of(recording)
        post.worker.deliver(recording, recording.files)  # as recovery does with whatever is being delivered
        await post.until(recording, R.DONE)
        key = object_key(recording.id, recording.invoked_at, recording.file_name)
        assert await post.stores[K.FALLBACK].bytes_of(key) == film


async def test_a_store_that_hangs_holds_up_its_own_film_only(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        post.stores[K.EXTERNAL].stuck = True
        stuck, _ = await post.film(K.EXTERNAL)
        other, _ = await post.film(K.BUCKET)
        await post.until(other, R.DONE)
        assert (await post.world.now_of(stuck)).state is R.UPLOADING


async def test_the_next_process_goes_on_where_this_one_died(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        store = post.stores[K.EXTERNAL]
        real = store.put_part

        async def put_part(key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
            if number > 2:
                await asyncio.get_running_loop().create_future()
            return await real(key, token, number, data, offset)

        store.put_part = put_part  # type: ignore[method-assign]
        recording, film = await post.film(K.BUCKET, K.EXTERNAL, size=34 * MIB)

        async def two_are_noted() -> bool:
            return post.noted(recording) == 2

        await eventually(two_are_noted)
        store.put_part = real  # type: ignore[method-assign]
        await post.restart()
        await post.over(recording)
        assert await post.external(recording) == film
        numbers = [number for number, _ in store.sent]
        assert len(numbers) == len(set(numbers)) == 5
        assert not await store.unfinished("")


async def test_a_bucket_that_comes_late_makes_the_link_late(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        post.links = False
        post.stores[K.BUCKET].troubles["begin"] = [UnavailableError("full")] * 3
        recording, _ = await post.film(K.BUCKET, K.EXTERNAL)
        await post.until(recording, R.DONE)
        await post.over(recording)
        assert (await post.world.now_of(recording)).files[0].key is not None


@pytest.mark.parametrize("is_late", [True, False])
async def test_two_destinations_at_the_same_instant_cost_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    """Each looks, and then says what it saw: the one that saw no file in the bucket may be the first or the last."""
    async with open_post(tmp_path) as post:
        real = post.world.lifecycle.on_uploaded

        async def at_once(recording_id: str, files: Sequence[FilmFile]) -> Recording:
            said = [files, [replace(file, key=None) for file in files]]
            first, last = said if is_late else said[::-1]
            await real(recording_id, first)
            return await real(recording_id, last)

        monkeypatch.setattr(post.world.lifecycle, "on_uploaded", at_once)
        recording, _ = await post.film(K.BUCKET)
        await post.until(recording, R.DONE)
        await post.over(recording)
        done = await post.world.now_of(recording)
        assert done.files[0].key is not None and done.expires_at is not None


async def test_what_is_wrong_with_a_store_is_told_while_the_meeting_goes_on(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        store = post.stores[K.EXTERNAL]
        refusing = True
        store.wrong = lambda: DestinationError("There is no such bucket.") if refusing else None
        recording = await post.recording(K.BUCKET, K.EXTERNAL)
        reel = post.reel(recording)
        reel.grow(24 * MIB)
        post.worker.follow(recording)

        async def complains() -> bool:
            return (await post.places(recording))[K.EXTERNAL].error == "There is no such bucket."

        async def is_content() -> bool:
            return (await post.places(recording))[K.EXTERNAL].error is None and len(store.sent) == 3

        await eventually(complains)
        refusing = False
        await eventually(is_content)
        film = reel.finish()
        content = film.path.read_bytes()
        await post.stop(recording, film)
        await post.until(recording, R.DONE)
        await post.over(recording)
        assert await post.external(recording) == content
        assert len(store.sent) == len({number for number, _ in store.sent})


async def test_what_was_sent_of_a_film_that_never_was_is_dropped(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        store = post.stores[K.EXTERNAL]
        recording, _reel = await post.growing(24 * MIB, parts=3)
        post.worker.cancel(recording)
        await post.over(recording)
        assert not await store.unfinished("")


async def test_uploads_that_nobody_goes_on_with_are_aborted(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        store = post.stores[K.BUCKET]
        recording, film = await post.film(K.BUCKET, K.EXTERNAL)
        await post.over(recording)
        key = object_key(recording.id, recording.invoked_at, recording.file_name)
        await store.begin(key, "video/mp4", "left.mp4")
        await post.worker.sweep()
        assert len(await store.unfinished("")) == 1, "it may be somebody's"
        post.world.clock.move(40 * 366 * 86_400)
        await post.worker.sweep()
        assert not await store.unfinished("")
        assert await store.bytes_of(key) == film


async def test_a_node_that_ends_waits_for_films_that_arrive_and_for_no_store_in_trouble(tmp_path: Path) -> None:
    async with open_post(tmp_path) as post:
        post.stores[K.EXTERNAL].wrong = lambda: DestinationError("No such bucket.")
        post.on_pause = asyncio.Event().wait
        recording, _ = await post.film(K.BUCKET, K.EXTERNAL)
        async with asyncio.timeout(60):
            await post.worker.drain(3600)
        assert (await post.world.now_of(recording)).state is R.DONE
        assert (await post.places(recording))[K.EXTERNAL].error == "No such bucket."
        assert post.worker.is_needed(recording.id)
        post.stores[K.EXTERNAL].stuck = True
        await post.film(K.EXTERNAL)
        began = asyncio.get_running_loop().time()
        await post.worker.drain(0.3)
        assert asyncio.get_running_loop().time() - began >= 0.3, "one that has not complained is waited for"


@pytest.mark.parametrize(("attempts", "refused", "over"), [(1, True, False), (9, True, False), (12, True, True)])
def test_patience_adds_up_its_pauses(attempts: int, refused: bool, over: bool) -> None:
    assert Patience().is_over(attempts, refused=refused) is over


async def test_who_had_the_film_just_when_another_missed_it_is_noted_with_its_files(tmp_path: Path) -> None:
    """What was sent is there, whatever became of the film on this machine."""
    async with open_post(tmp_path) as post:
        outside, inside, sent, goes_on = (
            post.stores[K.EXTERNAL],
            post.stores[K.BUCKET],
            asyncio.Event(),
            asyncio.Event(),
        )
        missed: list[Recording] = []

        async def complete(key: str, token: str, parts: Sequence[Part]) -> ObjectInfo:
            sent.set()
            await goes_on.wait()
            return await Moody.complete(outside, key, token, parts)

        async def put_file(key: str, path: Path, content_type: str, filename: str) -> ObjectInfo:
            await sent.wait()
            if not missed:
                raise FilmGoneError("The film is not on this machine any more.")
            return await Moody.put_file(inside, key, path, content_type, filename)

        def make_again(recording: Recording, reason: str) -> bool:
            missed.append(recording)
            goes_on.set()
            return True

        outside.complete, inside.put_file = complete, put_file  # type: ignore[method-assign]
        post.worker.on_gone = make_again
        recording, film = await post.film(K.BUCKET, K.EXTERNAL)

        async def is_done() -> bool:
            return (await post.places(recording))[K.EXTERNAL].state is S.DONE

        await eventually(is_done)
        assert len(await post.service.uploads((await post.places(recording))[K.EXTERNAL])) == 1
        assert await post.external(recording) == film
        (again,) = missed
        post.worker.deliver(again, again.files)
        assert (await post.until(recording, R.DONE)).files[0].key is not None
        await post.over(recording)
