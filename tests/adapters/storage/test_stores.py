"""Every kind of store keeps the two ports, against a real server: what goes in comes out, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import pytest
from tests.adapters.storage.conftest import Place
from tests.servers.proxy import open_wire
from yarl import URL

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.azure import AzureStore
from tapedeck.adapters.storage.factory import PrefixedStore, make_store
from tapedeck.core.destination import file_key
from tapedeck.core.egress import RefusedTargetError, UnreachableError
from tapedeck.core.errors import DestinationError, NotFoundError, UnavailableError
from tapedeck.core.naming import NAME_LIMIT
from tapedeck.core.parts import plan_whole
from tapedeck.ports.storage import MultipartStore, ObjectStore, Part

pytestmark = pytest.mark.server
MIB = 1 << 20
FILM = os.urandom(11 * MIB + 12_345)
NAME = "Aufnahme ß 录音.mp4"


def fresh(name: str = "film.mp4") -> str:
    return f"tests/{uuid4().hex}/{name}"


async def content(store: ObjectStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.read(key, start, end)])


async def send(store: MultipartStore, key: str, token: str, numbers: Sequence[int] | None = None) -> list[Part]:
    plan = plan_whole(store.rule, len(FILM))
    assert len(plan) > 1
    return [
        await store.put_part(key, token, piece.number, FILM[piece.start : piece.end], piece.start)
        for piece in reversed(plan)
        if numbers is None or piece.number in numbers
    ]


async def test_a_file_comes_back_as_it_went_in(place: Place, tmp_path: Path) -> None:
    film, key = tmp_path / "film", fresh()
    film.write_bytes(FILM[: 3 * MIB])
    info = await place.store.put_file(key, film, "video/mp4", NAME)
    assert (info.key, info.size_bytes) == (key, 3 * MIB)
    assert info.content_type == ("video/mp4" if place.has_links else "")
    assert abs(datetime.now(UTC) - info.modified) < timedelta(minutes=5)
    assert await place.store.head(key) == info
    assert await content(place.store, key) == FILM[: 3 * MIB]
    assert film.exists()
    for start, end in ((0, 0), (0, 1), (5, 700_000), (3 * MIB - 1, None), (10, 5), (0, 10**9), (10**9, None)):
        wanted = FILM[start : min(end, 3 * MIB)] if end is not None else FILM[start : 3 * MIB]
        assert await content(place.store, key, start, end) == (wanted if end is None or end > start else b"")
    film.write_bytes(b"other")
    await place.store.put_file(key, film, "video/mp4", NAME)
    assert await content(place.store, key) == b"other"
    await place.store.delete(key)
    await place.store.delete(key)
    for question in (place.store.head(key), content(place.store, key)):
        with pytest.raises(NotFoundError):
            await question
    with pytest.raises(NotFoundError):
        await place.store.put_file(key, tmp_path / "missing", "video/mp4", NAME)


async def test_parts_in_any_order_and_sent_again_make_the_object(place: Place) -> None:
    key = fresh()
    token = await place.store.begin(key, "video/mp4", NAME)
    with pytest.raises(NotFoundError):
        await place.store.head(key)
    first = plan_whole(place.store.rule, len(FILM))[0]
    await place.store.put_part(key, token, 1, b"x" * first.size, 0)
    parts = await send(place.store, key, token)
    info = await place.store.complete(key, token, parts)
    assert info.size_bytes == len(FILM)
    assert await content(place.store, key) == FILM
    assert await place.store.unfinished(key) == []
    await place.store.delete(key)


async def test_another_process_goes_on_with_the_parts_that_are_there(place: Place) -> None:
    key = fresh()
    token = await place.store.begin(key, "video/mp4", NAME)
    sent = await send(place.store, key, token, [2])
    other = make_store(place.storage, Guard(allow_private=True))
    try:
        known = await other.parts(key, token)
        assert [(part.number, part.size_bytes) for part in known] == [(2, sent[0].size_bytes)]
        (left,) = [left for left in await other.unfinished(key) if left.key == key]
        if place.kind in ("ceph", "azure") or not place.has_links:  # moto says the same year of all
            assert abs(datetime.now(UTC) - left.started) < timedelta(minutes=5)
        rest = await send(other, key, token, [1])
        await other.complete(key, token, [*known, *rest])
        assert await content(other, key) == FILM
        await other.delete(key)
    finally:
        await other.aclose()


@pytest.mark.parametrize("place", ["ceph"], indirect=True)
async def test_a_part_that_changes_on_the_wire_is_refused_by_the_store(place: Place) -> None:
    """moto checks no sum, and Azurite's refusal is worded like no Azure's."""
    port = urlsplit(place.storage["endpoint"]).port
    assert port is not None
    async with open_wire("127.0.0.1", port) as wire:
        store = make_store(place.storage | {"endpoint": wire.url}, Guard(allow_private=True))
        key, part = fresh(), FILM[: 6 * MIB]
        try:
            token = await store.begin(key, "video/mp4", NAME)
            wire.flip_at = wire.carried + 3 * MIB
            with pytest.raises(UnavailableError, match="cannot do it now"):
                await store.put_part(key, token, 1, part, 0)
            done = await store.put_part(key, token, 1, part, 0)
            await store.complete(key, token, [done])
        finally:
            await store.aclose()
    assert await content(place.store, key) == part


async def test_an_aborted_upload_leaves_nothing(place: Place) -> None:
    key = fresh()
    token = await place.store.begin(key, "video/mp4", NAME)
    await send(place.store, key, token, [1])
    (left,) = await place.store.unfinished(key)
    await place.store.abort(left.key, left.token)
    await place.store.abort(key, token)
    assert await place.store.unfinished(key) == []
    with pytest.raises(NotFoundError):
        await place.store.head(key)


async def test_names_in_any_script_stay_under_their_path(place: Place, tmp_path: Path) -> None:
    film = tmp_path / "film"
    film.write_bytes(FILM[:1000])
    for path in ("", "/2026/Ünïcode 录音/записи/", "a b&c?d#e%2F+=", "~/.ssh", "..a/b.."):
        key = file_key(path, f"{uuid4().hex} ß.mp4".rjust(NAME_LIMIT - 1, "n"))
        await place.store.put_file(key, film, "video/mp4", NAME)
        assert await content(place.store, key) == FILM[:1000]
        if place.has_links:
            assert await fetch(await place.store.presign(key, NAME, later())) == (200, FILM[:1000])
        await place.store.delete(key)


async def test_a_link_serves_the_file_under_its_name_until_it_ends(place: Place, tmp_path: Path) -> None:
    film, key = tmp_path / "film", fresh("film ß.mp4")
    film.write_bytes(FILM[: 2 * MIB])
    await place.store.put_file(key, film, "video/mp4", "other.mp4")
    if not place.has_links:
        with pytest.raises(DestinationError, match="no links"):
            await place.store.presign(key, NAME, later())
        return
    url = await place.store.presign(key, NAME, later())
    async with aiohttp.ClientSession() as http:
        async with http.get(URL(url, encoded=True)) as said:
            assert said.status == 200 and await said.read() == FILM[: 2 * MIB]
            assert "filename*=UTF-8''Aufnahme%20%C3%9F%20%E5%BD%95%E9%9F%B3.mp4" in said.headers["content-disposition"]
            assert said.headers["content-type"] == "video/mp4"
        async with http.get(URL(url, encoded=True), headers={"range": "bytes=100-199"}) as said:
            assert said.status == 206 and await said.read() == FILM[100:200]
            assert said.headers["content-range"] == f"bytes 100-199/{2 * MIB}"
        async with http.head(URL(url, encoded=True)) as said:
            assert said.status == (403 if place.kind == "ceph" else 200), "S3 signs by method"
    if place.kind in ("ceph", "azure"):  # the others let everything in
        ended = await place.store.presign(key, NAME, datetime.now(UTC) - timedelta(seconds=5))
        assert (await fetch(ended))[0] == 403
        await place.store.delete(key)
        assert (await fetch(ended))[0] == 403  # the sweeper has been there; the answer stays the same
        assert (await fetch(url.replace(key[6:14], "xxxxxxxx")))[0] == 403
    await place.store.delete(key)


def later() -> datetime:
    return datetime.now(UTC) + timedelta(days=7)


async def fetch(url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as http, http.get(URL(url, encoded=True)) as said:
        return said.status, await said.read()


async def test_a_private_address_is_not_dialled_unless_it_is_allowed(place: Place, tmp_path: Path) -> None:
    film = tmp_path / "film"
    film.write_bytes(b"film")
    store = make_store(place.storage, Guard(allow_private=False))
    try:
        for question in (store.put_file("x", film, "video/mp4", "x"), store.head("x"), store.unfinished("")):
            with pytest.raises(RefusedTargetError, match="private"):
                await question
    finally:
        await store.aclose()


def by_name(place: Place) -> dict[str, Any]:
    """The storage with a name instead of its address."""
    return {
        name: value.replace("127.0.0.1", "storage.example") if isinstance(value, str) else value
        for name, value in place.storage.items()
    }


async def test_a_name_that_changes_its_address_gains_nothing(place: Place) -> None:
    """DNS rebinding: the address that is dialled is the one that was looked at."""
    asked: list[str] = []

    def look_up(host: str, port: int, family: int) -> list[tuple[int, int, str]]:
        asked.append(host)
        return [(2, 6, "127.0.0.1")]

    store = make_store(by_name(place), Guard(allow_private=False, look_up=look_up))
    try:
        with pytest.raises(RefusedTargetError):
            await store.head("x")
    finally:
        await store.aclose()
    assert set(asked) == {"storage.example"}


async def test_where_nothing_answers_is_said_in_words(place: Place) -> None:
    def nowhere(host: str, port: int, family: int) -> list[tuple[int, int, str]]:
        return [(2, 6, "127.0.0.2")]

    store = make_store(by_name(place), Guard(allow_private=True, look_up=nowhere))
    try:
        with pytest.raises(UnreachableError) as caught:
            await store.head("x")
        assert len(str(caught.value)) < 120
    finally:
        await store.aclose()


async def test_no_secret_is_in_any_text_of_a_store(place: Place) -> None:
    secrets = [
        str(value)
        for name, value in place.storage.items()
        if name in ("access_key", "secret", "password", "private_key") and len(str(value)) > 2
    ]
    texts = [repr(place.store), str(place.store)]
    refused = make_store(place.storage, Guard(allow_private=False))
    try:
        with pytest.raises(RefusedTargetError) as caught:
            await refused.head("x")
        texts.append(str(caught.value))
    finally:
        await refused.aclose()
    with pytest.raises(NotFoundError) as missing:
        await place.store.head(fresh())
    texts.append(str(missing.value))
    for text in texts:
        assert not any(secret in text for secret in secrets)


@pytest.mark.parametrize("place", ["moto", "azure"], indirect=True)
async def test_below_a_prefix_keys_are_the_same(place: Place, tmp_path: Path) -> None:
    film = tmp_path / "film"
    film.write_bytes(b"film")
    below = PrefixedStore(place.store, "/front/")
    info = await below.put_file("a/film.mp4", film, "video/mp4", "film.mp4")
    assert info.key == "a/film.mp4" and await content(place.store, "front/a/film.mp4") == b"film"
    assert (await below.head("a/film.mp4")).key == "a/film.mp4"
    token = await below.begin("a/b.mp4", "video/mp4", "b.mp4")
    part = await below.put_part("a/b.mp4", token, 1, b"12", 0)
    assert [left.key for left in await below.unfinished("a/")] == ["a/b.mp4"]
    assert list(await below.parts("a/b.mp4", token)) == [part]
    await below.complete("a/b.mp4", token, [part])
    assert await content(below, "a/b.mp4") == b"12"
    assert await fetch(await below.presign("a/b.mp4", "b.mp4", later())) == (200, b"12")
    await below.abort("a/b.mp4", token)
    await below.delete("a/b.mp4")


@pytest.mark.parametrize("place", ["azure"], indirect=True)
async def test_objects_that_are_whole_are_not_asked_for_parts_that_wait(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question is a request, and a bucket of some years has a hundred thousand objects."""
    film = tmp_path / "film"
    film.write_bytes(b"film")
    for name in "abc":
        await place.store.put_file(f"many/{name}", film, "video/mp4", name)
    token = await place.store.begin("many/d", "video/mp4", "d")
    await place.store.put_part("many/d", token, 1, b"12", 0)
    asked, ask = list[str](), AzureStore._waiting

    async def waiting(self: AzureStore, key: str) -> list[Any]:
        asked.append(key)
        return await ask(self, key)

    monkeypatch.setattr(AzureStore, "_waiting", waiting)
    assert [left.key for left in await place.store.unfinished("many/")] == ["many/d"]
    assert asked == ["many/d"]
    assert await place.store.unfinished("many/a") == [] and asked == ["many/d", "many/a"]
    await place.store.abort("many/d", token)


async def test_an_object_that_was_made_is_known_by_its_parts(place: Place, tmp_path: Path) -> None:
    """What is asked when nobody heard whether an upload was completed."""
    key, film = fresh(), tmp_path / "film"
    token = await place.store.begin(key, "video/mp4", NAME)
    parts = await send(place.store, key, token)
    assert await place.store.made(key, token, parts) is None, "it is open"
    film.write_bytes(FILM[::-1])
    if place.kind != "azure":  # which drops the blocks that wait when a name gets another object
        await place.store.put_file(key, film, "video/mp4", NAME)
        assert await place.store.made(key, token, parts) is None, "another one of that length, and it is open"
    info = await place.store.complete(key, token, parts)
    assert await place.store.made(key, token, parts) == info
    assert await place.store.made(key, token, parts[:1]) is None, "of other parts"
    if place.kind in ("ceph", "azure"):  # they keep a checksum of the parts; moto as well, of another kind
        other = await place.store.begin(key, "video/mp4", NAME)
        await place.store.abort(key, other)
        await place.store.put_file(key, film, "video/mp4", NAME)
        assert await place.store.made(key, token, parts) is None, "somebody put another one there"
    await place.store.delete(key)
    assert await place.store.made(key, token, parts) is None, "it is gone"
