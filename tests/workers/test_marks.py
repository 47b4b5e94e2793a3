"""Watermarks that are there, late, broken or hostile: the film is delivered each time, and what was wrong is said.

Addresses: 127.0.0.2 stands for the internet, 127.0.0.1 is what must see nothing.
"""

from __future__ import annotations

import asyncio
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from tests.media.marks import HOSTILE, image_bytes
from tests.notify.receiver import Arrival, Receiver, receiver
from tests.ports import free_port
from tests.service.world import make_world
from tests.workers.test_films import Studio, empty

from tapedeck.adapters import dial
from tapedeck.adapters.fetcher import HttpFetcher
from tapedeck.core.recording import Recording, RecordingState
from tapedeck.core.wanted import Watermark
from tapedeck.medialog.mark import find_mark
from tapedeck.service.lifecycle import Recovery
from tapedeck.workers.marks import MarkKeeper

R = RecordingState
V4 = (socket.AF_INET, socket.IPPROTO_TCP)
OUTSIDE, INSIDE = "127.0.0.2", "127.0.0.1"
_FILM = """
with open(os.path.join(job["log_dir"], "seen"), "a") as file:
    file.write(" ".join(sorted(name for name in os.listdir(job["log_dir"]) if name.startswith("watermark"))) + "|")
make()
"""
"""A film that notes which watermarks there were when it was begun."""


class Marked(Studio):
    """A studio whose recordings have watermarks."""

    keeper: MarkKeeper
    fetcher: HttpFetcher
    limit_s: float
    addresses: list[str]

    async def record(self, url: str, **mark: object) -> Recording:
        config = {"video_config": {"watermark": {"url": url, **mark}}}
        return await self.capturing(recording_config=config)

    async def film(self, url: str, **mark: object) -> Recording:
        """A recording, from its start to its delivered film."""
        recording = await self.record(url, **mark)
        await self.stop(recording)
        return await self.until(recording, R.DONE, R.FAILED)

    def seen(self, recording: Recording) -> list[str]:
        """The watermarks that were there when each film of the recording was begun."""
        path = self.captures / str(recording.session_id) / "seen"
        return path.read_text().split("|")[:-1] if path.exists() else []

    def kept(self, recording: Recording) -> bool:
        return find_mark(self.captures / str(recording.session_id), recording.id) is not None

    async def reopen(self) -> None:
        """The keeper of the next process."""
        await self.keeper.aclose()
        self.keeper = self._keeper()

    def _keeper(self) -> MarkKeeper:
        return MarkKeeper(
            lifecycle=self.world.lifecycle,
            ledger=self.world.ledger,
            fetcher=self.fetcher,
            captures_dir=self.captures,
            limit_s=self.limit_s,
        )


@asynccontextmanager
async def open_marked(
    root: Path, monkeypatch: pytest.MonkeyPatch, limit_s: float = 30.0, addresses: tuple[str, ...] = (OUTSIDE,)
) -> AsyncIterator[Marked]:
    """`addresses`: what names resolve to, one after the other, the last one for ever."""
    monkeypatch.setattr(dial, "is_public_text", lambda text: text == OUTSIDE)
    async with make_world(root) as world:

        async def prepare(recording: Recording) -> None:
            await studio.keeper.ready(recording)

        studio = Marked(world, root, _FILM, prepare)
        studio.limit_s, studio.addresses = limit_s, list(addresses)

        def look_up(host: str, port: int, family: int) -> list[tuple[int, int, str]]:
            said = studio.addresses.pop(0) if len(studio.addresses) > 1 else studio.addresses[0]
            return [(*V4, said)]

        studio.fetcher = HttpFetcher(look_up=look_up, names_kept_s=0)
        studio.keeper = studio._keeper()
        try:
            yield studio
        finally:
            await world.recordings.settle()
            await studio.films.aclose(0)
            await studio.keeper.aclose()
            await studio.fetcher.aclose()


def image(_: Arrival) -> web.Response:
    return web.Response(body=image_bytes())


def reasons(recording: Recording) -> list[str]:
    return [f"{caution.code}: {caution.message}" for caution in recording.cautions]


async def test_an_image_lies_beside_the_log_before_the_film_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiver(OUTSIDE) as endpoint, open_marked(tmp_path, monkeypatch) as studio:
        endpoint.answer = image
        size = {"height": 40}
        done = await studio.film(f"http://images.example:{endpoint.port}/l.png", position="right bottom", size=size)
        assert done.state is R.DONE and done.cautions == ()
        names = f"watermark-{done.id}.json watermark-{done.id}.png"
        assert set(studio.seen(done)) == {names}
        mark = find_mark(studio.captures / str(done.session_id), done.id)
        assert mark is not None and (mark.position, mark.width, mark.height) == ("right bottom", None, 40)
        assert len(endpoint.arrivals) == 1 and studio.keeper.holding == 0


Answer = Callable[[Arrival], "web.StreamResponse | int"]
BROKEN: dict[str, tuple[Answer, str]] = {
    "missing": (lambda _: 404, "the answer was status 404"),
    "huge": (lambda _: web.Response(body=b"\x89PNG" + bytes(6 << 20)), "it has more than 5242880 bytes"),
    "slow": (lambda _: 0, "no answer within"),
    "bomb": (lambda _: web.Response(body=HOSTILE["bomb"][0]), "million pixels"),
    "svg": (lambda _: web.Response(body=HOSTILE["svg"][0], content_type="image/svg+xml"), "JPEG or WebP image but SVG"),
    "page": (lambda _: web.Response(text="<html>"), "not a PNG, JPEG or WebP image"),
    "endless": (lambda a: web.Response(status=302, headers={"location": a.path}), "redirects more than 3 times"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_film_without_it_is_delivered_and_the_reason_recorded(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, reason = BROKEN[kind]
    async with (
        receiver(OUTSIDE) as endpoint,
        open_marked(tmp_path, monkeypatch, limit_s=0.7 if kind == "slow" else 30.0) as studio,
    ):
        endpoint.answer = answer
        done = await studio.film(f"http://images.example:{endpoint.port}/logo?key=secret")
        assert done.state is R.DONE
        (said,) = reasons(await studio.world.now_of(done))
        assert said.startswith("watermark: The film has no watermark: ") and reason in said
        assert "secret" not in said and "images.example" not in said
        assert not studio.kept(done) and set(studio.seen(done)) == {""}


async def hostile(studio: Marked, outside: Receiver, inside: Receiver, url: str) -> None:
    done = await studio.film(url)
    assert done.state is R.DONE
    (said,) = reasons(await studio.world.now_of(done))
    assert "private" in said
    assert inside.arrivals == [], "nothing private is dialled"
    assert not studio.kept(done)


async def test_a_redirect_to_a_private_address_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(OUTSIDE) as outside, receiver(INSIDE) as inside, open_marked(tmp_path, monkeypatch) as studio:
        outside.answer = lambda _: web.Response(status=302, headers={"location": inside.url})
        inside.answer = image
        await hostile(studio, outside, inside, f"http://images.example:{outside.port}/logo.png")
        assert len(outside.arrivals) == 1


async def test_a_private_address_is_not_dialled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(OUTSIDE) as outside, receiver(INSIDE) as inside, open_marked(tmp_path, monkeypatch) as studio:
        inside.answer = image
        await hostile(studio, outside, inside, inside.url)


async def test_a_name_that_changes_to_a_private_address_gains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is asked first, private when it is asked again for the redirect."""
    port = free_port()
    async with receiver(OUTSIDE, port) as outside, receiver(INSIDE, port) as inside:
        async with open_marked(tmp_path, monkeypatch, addresses=(OUTSIDE, INSIDE)) as studio:
            name = f"http://changing.example:{outside.port}"
            gone = {"location": f"{name}/b", "connection": "close"}
            outside.answer = lambda _: web.Response(status=302, headers=gone)
            inside.answer = image
            await hostile(studio, outside, inside, f"{name}/a")
            assert len(outside.arrivals) == 1


async def test_a_log_that_is_on_the_disk_a_moment_later_gets_its_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiver(OUTSIDE) as endpoint, open_marked(tmp_path, monkeypatch) as studio:
        endpoint.answer = image
        config = {"video_config": {"watermark": {"url": f"http://images.example:{endpoint.port}/"}}}
        meeting = await studio.world.meeting(recording_config=config)
        recording = await studio.world.capturing(meeting, await studio.world.live(meeting))
        await endpoint.until(1)
        assert studio.seen(recording) == []
        (studio.captures / str(recording.session_id)).mkdir(parents=True)
        await studio.stop(recording)
        done = await studio.until(recording, R.DONE)
        assert done.cautions == () and studio.kept(done)


async def test_a_slow_image_holds_up_neither_start_nor_capture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(OUTSIDE) as endpoint, open_marked(tmp_path, monkeypatch, limit_s=60) as studio:
        waiting = asyncio.Event()

        async def late(_: Arrival) -> int:
            await waiting.wait()
            return 404

        endpoint.answer = late
        recording = await studio.record(f"http://images.example:{endpoint.port}/")
        assert (await studio.world.now_of(recording)).state is R.CAPTURING
        await endpoint.until(1)
        assert studio.seen(recording) == [], "its film waits"
        waiting.set()
        await studio.stop(recording)
        assert (await studio.until(recording, R.DONE)).state is R.DONE


async def test_a_host_that_was_away_for_a_moment_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiver(OUTSIDE) as endpoint, open_marked(tmp_path, monkeypatch) as studio:
        port = free_port()
        recording = await studio.record(f"http://images.example:{port}/")
        async with receiver(OUTSIDE, port) as back:
            back.answer = image
            await back.until(1)
            await studio.stop(recording)
            done = await studio.until(recording, R.DONE)
        assert done.cautions == () and studio.kept(done)
        assert endpoint.arrivals == []


async def test_after_a_restart_it_is_fetched_again_unless_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three recordings one has its image, one is known to have none, and of one nothing is known."""
    async with receiver(OUTSIDE) as endpoint, open_marked(tmp_path, monkeypatch) as studio:
        answers: dict[str, int] = {}
        endpoint.answer = lambda a: answers.get(a.path, 200) if a.path in answers else image(a)
        base = f"http://images.example:{endpoint.port}"
        good = await studio.record(f"{base}/good")
        answers |= {"/bad": 404, "/unknown": 0}
        bad, unknown = await studio.record(f"{base}/bad"), await studio.record(f"{base}/unknown")
        await studio.keeper.ready(good)
        await studio.keeper.ready(bad)
        await endpoint.until(3)
        await studio.films.aclose(0)
        await studio.reopen()
        endpoint.arrivals.clear()
        answers.clear()
        await studio.restart(_FILM)
        found = [await studio.world.now_of(recording) for recording in (good, bad, unknown)]
        studio.films.recover(Recovery({**empty(), R.CAPTURING: found}, []))
        for recording in found:
            await studio.stop(recording)
            await studio.until(recording, R.DONE)
        assert [arrival.path for arrival in endpoint.arrivals] == ["/unknown"]
        assert [studio.kept(recording) for recording in found] == [True, False, True]
        assert [len((await studio.world.now_of(one)).cautions) for one in found] == [0, 1, 0]


async def test_a_database_that_cannot_be_written_costs_a_word_and_no_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiver(OUTSIDE) as endpoint, open_marked(tmp_path, monkeypatch) as studio:
        endpoint.answer = lambda _: 404

        async def locked(*_: object) -> None:
            raise sqlite3.OperationalError("database is locked")

        monkeypatch.setattr(studio.world.lifecycle, "caution", locked)
        done = await studio.film(f"http://images.example:{endpoint.port}/")
        assert done.state is R.DONE


async def test_sound_alone_needs_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(OUTSIDE) as endpoint, open_marked(tmp_path, monkeypatch) as studio:
        url = f"http://images.example:{endpoint.port}/"
        video = {"export_file": False, "watermark": {"url": url}}
        recording = await studio.capturing(recording_config={"video_config": video, "audio_config": {}})
        await studio.stop(recording)
        assert (await studio.until(recording, R.DONE)).cautions == ()
        assert endpoint.arrivals == []


async def test_a_web_page_draws_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spec E4: it is told of the watermark with its configuration, and would have it twice."""
    async with receiver(OUTSIDE) as endpoint, open_marked(tmp_path, monkeypatch) as studio:
        endpoint.answer = image
        recording = await studio.capturing()
        mark = Watermark(f"http://images.example:{endpoint.port}/")
        of_page = replace(recording, options=replace(recording.options, watermark=mark, page="https://page.example/"))
        await studio.keeper.ready(of_page)
        assert endpoint.arrivals == [] and not studio.kept(of_page)
        assert (await studio.world.now_of(recording)).cautions == ()
        of_people = replace(of_page, options=replace(of_page.options, page=None))
        await studio.keeper.ready(of_people)
        assert len(endpoint.arrivals) == 1 and studio.kept(of_people)


async def test_a_fault_of_this_machine_is_told_without_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "/srv/tapedeck/captures/x.png")

    monkeypatch.setattr("tapedeck.workers.marks.save_mark", save)
    async with receiver(OUTSIDE) as endpoint, open_marked(tmp_path, monkeypatch) as studio:
        endpoint.answer = image
        done = await studio.film(f"http://images.example:{endpoint.port}/l.png")
        said = "watermark: The film has no watermark: it could not be fetched and kept for a reason of our own"
        assert reasons(done) == [said]
