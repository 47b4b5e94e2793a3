"""Outbound POST: what is sent is what was given, and nothing private is ever dialled."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from aiohttp import web
from tests.notify.receiver import receiver
from tests.ports import free_port

from tapedeck.adapters import dial as module
from tapedeck.adapters.poster import KEPT_BYTES, HttpPoster
from tapedeck.core.egress import RefusedTargetError, UnreachableError

V4 = (socket.AF_INET, socket.IPPROTO_TCP)


def says(*addresses: str) -> module.LookUp:
    return lambda host, port, family: [(*V4, address) for address in addresses]


async def test_the_body_arrives_byte_by_byte_with_its_headers() -> None:
    body = '{"title":"Physics 😀"}'.encode()
    async with receiver() as endpoint:
        poster = HttpPoster(allow_private=True)
        answer = await poster.post(endpoint.url, body, {"rtk-uuid": "1", "content-type": "application/json"})
        await poster.aclose()
    assert (answer.status, answer.text) == (200, "said 200")
    (arrival,) = endpoint.arrivals
    assert arrival.body == body
    assert arrival.headers["rtk-uuid"] == "1" and arrival.headers["content-type"] == "application/json"
    assert "cookie" not in arrival.headers and arrival.headers["content-length"] == str(len(body))


async def test_redirects_are_answers() -> None:
    async with receiver() as endpoint:
        endpoint.answer = lambda _: web.Response(status=307, headers={"location": f"{endpoint.url}/next"})
        poster = HttpPoster(allow_private=True)
        assert (await poster.post(endpoint.url, b"", {})).status == 307
        await poster.aclose()
    assert len(endpoint.arrivals) == 1


async def test_an_endless_answer_is_cut() -> None:
    async with receiver() as endpoint:
        endpoint.answer = lambda _: web.Response(status=500, text="x" * 5_000_000)
        poster = HttpPoster(allow_private=True)
        answer = await poster.post(endpoint.url, b"", {})
        await poster.aclose()
    assert answer.status == 500 and len(answer.text) == KEPT_BYTES


async def test_no_answer_in_time_and_no_connection_are_unreachable() -> None:
    async with receiver() as endpoint:
        endpoint.answer = lambda _: 0
        poster = HttpPoster(allow_private=True, timeout_s=0.2)
        with pytest.raises(UnreachableError, match=r"no answer within 0\.2 s"):
            await poster.post(endpoint.url, b"", {})
    with pytest.raises(UnreachableError, match="no connection"):
        await poster.post(endpoint.url, b"", {})
    with pytest.raises(UnreachableError):
        await poster.post("http://name.invalid/", b"", {})
    await poster.aclose()


HOSTILE = [
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://127.1:{port}/", "http://0:{port}/",
    "http://2130706433:{port}/", "http://0x7f000001:{port}/", "http://017700000001:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/", "http://[64:ff9b::7f00:1]:{port}/",
    "http://0.0.0.0:{port}/", "http://127.0.0.1.:{port}/", "http://inside.example:{port}/",
]  # fmt: skip


@pytest.mark.parametrize("url", HOSTILE)
async def test_loopback_in_any_spelling_is_not_dialled(url: str) -> None:
    """By address, by odd address, by name."""

    def look_up(host: str, port: int, family: int) -> list[tuple[int, int, str]]:
        if host == "inside.example":
            return [(*V4, "127.0.0.1"), (*V4, "10.0.0.1")]
        return module._look_up(host, port, family)

    async with receiver() as endpoint:
        poster = HttpPoster(look_up=look_up)
        with pytest.raises((RefusedTargetError, UnreachableError)) as caught:
            await poster.post(url.format(port=endpoint.port), b"", {})
        await poster.aclose()
    assert endpoint.arrivals == []
    if "127.1" not in url and "0x" not in url and "0177" not in url:  # those not every resolver takes for an address
        assert caught.type is RefusedTargetError, str(caught.value)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest/", "http://10.1.2.3/", "http://[fd00::1]/", "ftp://a/"])
async def test_other_private_places_are_refused_too(url: str) -> None:
    poster = HttpPoster()
    with pytest.raises(RefusedTargetError):
        await poster.post(url, b"", {})
    await poster.aclose()


async def test_a_name_that_changes_its_address_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the address that is dialled is the one that was looked at, each time."""
    monkeypatch.setattr(module, "is_public_text", lambda text: text == "127.0.0.1")
    said: list[str] = []

    def look_up(host: str, port: int, family: int) -> list[tuple[int, int, str]]:
        said.append("127.0.0.1" if not said else "127.0.0.2")
        return [(*V4, said[-1])]

    port = free_port()
    async with receiver("127.0.0.1", port) as outside, receiver("127.0.0.2", port) as inside:
        outside.answer = lambda _: web.Response(status=200, headers={"connection": "close"})
        poster = HttpPoster(look_up=look_up, names_kept_s=0)
        url = f"http://changing.example:{outside.port}/"
        assert (await poster.post(url, b"1", {})).status == 200
        with pytest.raises(RefusedTargetError):
            await poster.post(url, b"2", {})
        await poster.aclose()
    assert said == ["127.0.0.1", "127.0.0.2"]
    assert (len(outside.arrivals), inside.arrivals) == (1, [])


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as endpoint, receiver() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        poster = HttpPoster(allow_private=True)
        await poster.post(endpoint.url, b"", {})
        await poster.aclose()
    assert (len(endpoint.arrivals), len(proxy.arrivals)) == (1, 0)


async def test_a_slow_name_server_holds_no_thread_of_others() -> None:
    """Twenty names that do not resolve leave the loop's own threads free."""
    answers = threading.Event()  # one of the loop would be waited for by a thread when that is over

    def look_up(host: str, port: int, family: int) -> list[tuple[int, int, str]]:
        answers.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    poster = HttpPoster(look_up=look_up, timeout_s=0.2)
    posts = [asyncio.create_task(poster.post(f"http://h{n}.example/", b"", {})) for n in range(20)]
    try:
        assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), 30) == 7
        results = await asyncio.gather(*posts, return_exceptions=True)
        assert all(isinstance(result, UnreachableError) for result in results)
        assert not answers.is_set()
    finally:
        answers.set()
        await poster.aclose()
