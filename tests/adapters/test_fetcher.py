"""Outbound GET: bounded in size, time and hops, and nothing private is ever dialled, whatever leads there."""

from __future__ import annotations

import gzip
import socket

import pytest
from aiohttp import web
from tests.notify.receiver import Receiver, receiver
from tests.ports import free_port

from tapedeck.adapters import dial
from tapedeck.adapters.fetcher import HttpFetcher
from tapedeck.core.egress import RefusedTargetError, UnreachableError
from tapedeck.core.errors import DestinationError

V4 = (socket.AF_INET, socket.IPPROTO_TCP)


def moved(url: str) -> web.Response:
    return web.Response(status=302, headers={"location": url})


def body(data: bytes, **headers: str) -> web.Response:
    return web.Response(body=data, headers=headers)


async def fetch(endpoint: Receiver, most: int = 1000, timeout_s: float = 5, **how: object) -> bytes:
    fetcher = HttpFetcher(**({"allow_private": True} | how))  # type: ignore[arg-type]
    try:
        return await fetcher.fetch(endpoint.url, most, timeout_s)
    finally:
        await fetcher.aclose()


async def test_a_body_comes_as_it_is_sent() -> None:
    async with receiver() as endpoint:
        endpoint.answer = lambda _: body(b"\x00picture")
        assert await fetch(endpoint) == b"\x00picture"
    (arrival,) = endpoint.arrivals
    assert "authorization" not in arrival.headers and "cookie" not in arrival.headers


async def test_a_packed_body_is_not_unpacked() -> None:
    """A few kilobytes may unpack to gigabytes."""
    packed = gzip.compress(b"\x00" * 1_000_000)
    async with receiver() as endpoint:
        endpoint.answer = lambda _: body(packed, **{"content-encoding": "gzip"})
        assert await fetch(endpoint, len(packed)) == packed
    assert endpoint.arrivals[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_not_read_to_its_end(chunked: bool) -> None:
    async with receiver() as endpoint:

        def answer(_: object) -> web.Response:
            response = body(b"x" * 1001)
            if chunked:
                response.enable_chunked_encoding()
            return response

        endpoint.answer = answer
        with pytest.raises(DestinationError, match="more than 1000 bytes"):
            await fetch(endpoint)


async def test_no_answer_in_time_is_unreachable() -> None:
    async with receiver() as endpoint:
        endpoint.answer = lambda _: 0
        with pytest.raises(UnreachableError, match=r"no answer within 0\.2 s"):
            await fetch(endpoint, timeout_s=0.2)


@pytest.mark.parametrize("status", [204, 404, 500])
async def test_anything_but_200_is_no_body(status: int) -> None:
    async with receiver() as endpoint:
        endpoint.answer = lambda _: status
        with pytest.raises(DestinationError, match=f"status {status}"):
            await fetch(endpoint)


async def test_a_few_redirects_are_followed_and_no_more() -> None:
    async with receiver() as endpoint:
        endpoint.answer = lambda a: body(b"there") if a.path == "/3" else moved(f"/{len(endpoint.arrivals)}")
        assert await fetch(endpoint) == b"there"
        endpoint.arrivals.clear()
        endpoint.answer = lambda a: moved("/again")
        with pytest.raises(DestinationError, match="more than 3 times"):
            await fetch(endpoint)
        assert len(endpoint.arrivals) == 4


async def test_a_redirect_to_a_private_address_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first address is allowed (here: by name of the test), the second is loopback: it sees nothing."""
    monkeypatch.setattr(dial, "is_public_text", lambda text: text == "127.0.0.2")
    async with receiver("127.0.0.2") as outside, receiver() as inside:
        outside.answer = lambda _: moved(inside.url)
        fetcher = HttpFetcher(look_up=lambda *_: [(*V4, "127.0.0.2")])
        with pytest.raises(RefusedTargetError, match="private"):
            await fetcher.fetch(f"http://images.example:{outside.port}/logo", 1000, 5)
        await fetcher.aclose()
    assert (len(outside.arrivals), inside.arrivals) == (1, [])


@pytest.mark.parametrize("target", ["ftp://images.example/a", "http://user:word@images.example/", "file:///etc/passwd"])
async def test_a_redirect_to_what_is_no_web_address_is_refused(target: str) -> None:
    async with receiver() as endpoint:
        endpoint.answer = lambda _: moved(target)
        with pytest.raises(RefusedTargetError):
            await fetch(endpoint)
    assert len(endpoint.arrivals) == 1


async def test_a_name_that_changes_its_address_between_two_hops_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: each connection goes to the address that was looked at for it."""
    monkeypatch.setattr(dial, "is_public_text", lambda text: text == "127.0.0.2")
    said: list[str] = []

    def look_up(host: str, port: int, family: int) -> list[tuple[int, int, str]]:
        said.append("127.0.0.1" if said else "127.0.0.2")
        return [(*V4, said[-1])]

    port = free_port()
    async with receiver("127.0.0.2", port) as outside, receiver("127.0.0.1", port) as inside:
        name = f"http://changing.example:{outside.port}"
        outside.answer = lambda _: web.Response(status=302, headers={"location": f"{name}/b", "connection": "close"})
        fetcher = HttpFetcher(look_up=look_up, names_kept_s=0)
        with pytest.raises(RefusedTargetError):
            await fetcher.fetch(f"{name}/a", 1000, 5)
        await fetcher.aclose()
    assert said == ["127.0.0.2", "127.0.0.1"]
    assert (len(outside.arrivals), inside.arrivals) == (1, [])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"])
async def test_loopback_is_not_dialled(host: str) -> None:
    async with receiver() as endpoint:
        fetcher = HttpFetcher()
        with pytest.raises(RefusedTargetError):
            await fetcher.fetch(f"http://{host}:{endpoint.port}/", 1000, 5)
        await fetcher.aclose()
    assert endpoint.arrivals == []
