"""The way out of a browser: what passes, what is refused, and that one connection serves one request."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web
from tests.pace import beat, eventually

from tapedeck.adapters.browser.gateway import Gateway
from tapedeck.adapters.egress import Guard, LookUp


@asynccontextmanager
async def site() -> AsyncIterator[tuple[int, list[web.Request]]]:
    """A server on loopback that says back what it was sent; its port and what it was asked."""
    asked: list[web.Request] = []

    async def echo(request: web.Request) -> web.Response:
        asked.append(request)
        body = await request.read()
        return web.Response(body=body or b"hello", headers={"x-method": request.method})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    try:
        yield runner.addresses[0][1], asked
    finally:
        await runner.cleanup()


@asynccontextmanager
async def gateway(guard: Guard) -> AsyncIterator[tuple[str, list[str]]]:
    """The address of a gateway, and the hosts that it refused."""
    refused: list[str] = []
    opened = Gateway(guard, refused.append)
    port = await opened.open()
    try:
        yield f"http://127.0.0.1:{port}", refused
    finally:
        await opened.aclose()


def sockets() -> set[str]:
    """The sockets of this process."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one of the directory that is read
            found.add(os.readlink(path))
    return {one for one in found if one.startswith("socket:")}


async def test_one_whose_beginning_is_cut_short_does_not_listen() -> None:
    known, turns, is_open = sockets(), 0, False
    while not is_open:
        cut = Gateway(Guard())
        opening = asyncio.create_task(cut.open())
        for _ in range(turns):
            await beat(0)
        is_open = opening.done()
        opening.cancel()
        await asyncio.wait({opening})
        await cut.aclose()
        assert sockets() <= known, f"cancelled after {turns} turns of the loop"
        turns += 1
    assert turns > 2


async def test_requests_pass_with_their_bodies() -> None:
    async with site() as (port, asked), gateway(Guard(allow_private=True)) as (proxy, _):
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/a?b=c%20d", proxy=proxy) as answer:
                assert (answer.status, await answer.read()) == (200, b"hello")
            async with http.post(f"http://127.0.0.1:{port}/", data=b"x" * 300_000, proxy=proxy) as answer:
                assert await answer.read() == b"x" * 300_000

            async def pieces() -> AsyncIterator[bytes]:
                for number in range(5):
                    yield str(number).encode() * 1000

            async with http.put(f"http://127.0.0.1:{port}/", data=pieces(), proxy=proxy) as answer:
                assert len(await answer.read()) == 5000
        assert asked[0].path_qs == "/a?b=c%20d"
        assert "proxy-connection" not in asked[0].headers


async def test_a_tunnel_carries_both_ways() -> None:
    async with site() as (port, _), gateway(Guard(allow_private=True)) as (proxy, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.rsplit(":", 1)[1]))
        writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"hello")
        writer.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "2130706433"])
async def test_private_addresses_are_refused_and_told(host: str) -> None:
    async with gateway(Guard()) as (proxy, refused), aiohttp.ClientSession() as http:
        async with http.get(f"http://{host}:80/", proxy=proxy) as answer:
            assert answer.status == 403
        assert refused == [host.strip("[]")]


async def test_a_tunnel_to_a_private_address_is_refused() -> None:
    async with site() as (port, asked), gateway(Guard()) as (proxy, refused):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.rsplit(":", 1)[1]))
        writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 403")
        writer.close()
        assert refused == ["127.0.0.1"]
        assert not asked


async def test_a_name_that_turns_private_is_refused_at_the_address_that_is_dialled() -> None:
    answers = iter(["127.0.0.1"])

    def look_up(host: str, port: int, family: int) -> list[tuple[int, int, str]]:
        assert host == "rebound.example"
        return [(socket.AF_INET, 0, next(answers))]

    checked: LookUp = look_up
    async with site() as (port, asked), gateway(Guard(look_up=checked)) as (proxy, refused):
        async with aiohttp.ClientSession() as http:
            async with http.get(f"http://rebound.example:{port}/", proxy=proxy) as answer:
                assert answer.status == 403
        assert refused == ["rebound.example"]
        assert not asked


async def test_a_connection_serves_one_request_so_that_none_goes_to_the_wrong_server() -> None:
    async with site() as (port, asked), gateway(Guard(allow_private=True)) as (proxy, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.rsplit(":", 1)[1]))
        one = f"GET http://127.0.0.1:{port}/1 HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
        writer.write((one + one.replace("127.0.0.1", "other.example")).encode())
        answer = await reader.read()
        assert answer.count(b"HTTP/1.1") == 1
        assert b"connection: close" in answer.lower()
        assert len(asked) == 1
        writer.close()


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"GET ftp://a/ HTTP/1.1\r\n\r\n", b"\x16\x03\r\n\r\n"])
async def test_what_is_no_request_of_a_browser_ends_the_connection(said: bytes) -> None:
    async with gateway(Guard(allow_private=True)) as (proxy, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.rsplit(":", 1)[1]))
        writer.write(said)
        assert b" 200 " not in await reader.read()
        writer.close()


@pytest.mark.parametrize("said", [b"HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"", b"x" * (1 << 17)])
async def test_a_server_that_says_no_http_ends_the_connection_and_nothing_else(said: bytes) -> None:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server, gateway(Guard(allow_private=True)) as (to, _):
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(to.rsplit(":", 1)[1]))
        writer.write(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert await reader.read() == b""
        writer.close()
    assert not faults


async def test_a_server_that_is_not_there_is_a_bad_gateway() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        async with gateway(Guard(allow_private=True)) as (proxy, refused), aiohttp.ClientSession() as http:
            async with http.get(f"http://127.0.0.1:{port}/", proxy=proxy) as answer:
                assert answer.status == 502
            assert not refused


def test_a_browser_that_resets_a_connection_is_no_fault() -> None:
    """On the server's own loop, whose transports raise RuntimeError when they are written to after that."""
    faults: list[dict[str, object]] = []

    async def reset() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        has_gone, is_over = asyncio.Event(), asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nbegin")
            await has_gone.wait()
            writer.write_eof()
            await reader.read()
            is_over.set()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as far, gateway(Guard(allow_private=True)) as way:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(way[0].rsplit(":", 1)[1]))
            port = far.sockets[0].getsockname()[1]
            writer.write(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            await reader.readuntil(b"begin")
            taken: socket.socket = writer.get_extra_info("socket")
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()
            for _ in range(5):
                await beat(0.01)
            has_gone.set()
            await is_over.wait()

    uvloop.run(reset())
    assert not faults


@pytest.mark.parametrize("tunnel", [False, True])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n\r\nsome"])
async def test_a_server_that_stands_still_is_left_when_the_browser_is_gone(
    tunnel: bool, said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that leaves a stream of events: where each stays open, the browser soon has no connection left."""
    monkeypatch.setattr("tapedeck.adapters.browser.gateway._PARTING_S", 0.1)
    asked, over = asyncio.Event(), asyncio.Event()

    async def stand_still(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        asked.set()
        await over.wait()
        writer.close()

    server = await asyncio.start_server(stand_still, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened = Gateway(Guard(allow_private=True))
    reader, writer = await asyncio.open_connection("127.0.0.1", await opened.open())
    if tunnel:
        writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
    writer.write(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    await asyncio.wait_for(asked.wait(), 30)
    writer.close()

    async def is_left() -> bool:
        return not opened._serving

    try:
        await eventually(is_left)
    finally:
        over.set()
        await opened.aclose()
        server.close()


@pytest.mark.parametrize("tunnel", [False, True])
async def test_a_server_that_takes_nothing_keeps_no_connection(tunnel: bool) -> None:
    """Of what it was to be sent some is still here when the browser is ended."""
    made: list[socket.socket] = []

    class Narrow(Guard):
        def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
            made.append(super().connect(host, port, timeout_s))
            made[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            return made[0]

    async def is_stuck() -> bool:
        return bool(made) and struct.unpack("i", fcntl.ioctl(made[0], termios.TIOCOUTQ, bytes(4)))[0] > 0

    async def is_closed() -> bool:
        return made[0].fileno() == -1

    with socket.create_server(("127.0.0.1", 0)) as far:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port = far.getsockname()[1]
        opened = Gateway(Narrow(allow_private=True))
        reader, writer = await asyncio.open_connection("127.0.0.1", await opened.open())
        try:
            if tunnel:
                writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
                await reader.readuntil(b"\r\n\r\n")
            else:
                writer.write(f"POST http://127.0.0.1:{port}/ HTTP/1.1\r\ncontent-length: 1048576\r\n\r\n".encode())
            writer.write(bytes(1 << 20))
            await eventually(is_stuck)
            for _ in range(5):
                await beat(0.005)
        finally:
            writer.transport.abort()
            await opened.aclose()
        await eventually(is_closed)


async def test_an_answer_that_comes_before_all_was_sent_is_passed_on() -> None:
    """A server refuses a body that it does not want to read, and closes."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with gateway(Guard(allow_private=True)) as (proxy, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(proxy.rsplit(":", 1)[1]))
        writer.write(f"POST http://127.0.0.1:{port}/ HTTP/1.1\r\nContent-Length: 9\r\n\r\n".encode())
        assert (await reader.read()).startswith(b"HTTP/1.1 413")
        writer.close()
    server.close()
