"""The server as a process, and its connections as an attacker sees them."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from tests.pace import beat

from tapedeck import wiring
from tapedeck.api.connection import HEAD_LIMIT, PIPELINE_LIMIT, Connection
from tapedeck.api.edge import Edge
from tapedeck.api.http import read_body
from tapedeck.config import load_settings
from tapedeck.core.errors import InvalidError, UnavailableError


async def echo_length(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with how long the body was."""
    body = await read_body(Request(scope, receive), 1 << 22)
    await Response(str(len(body)))(scope, receive, send)


class Hasty(Connection):
    head_s = 0.2


@asynccontextmanager
async def listening(protocol: type[Connection] = Connection) -> AsyncIterator[int]:
    """An application behind these connections; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            Edge(echo_length), http=protocol, ws="none", lifespan="off", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def ask(port: int, *pieces: bytes) -> bytes:
    """Send, and return all that comes until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        async with asyncio.timeout(60):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            while chunk := await reader.read(65_536):
                answer += chunk
    except ConnectionError:
        pass  # it was closed while we were still sending
    finally:
        writer.close()
    return answer


def statuses(answer: bytes) -> list[bytes]:
    return re.findall(rb"HTTP/1\.1 (\d+) ", answer)


_END = b"Host: a\r\nConnection: close\r\n\r\n"


async def test_ordinary_requests_are_served_one_after_another_and_piece_by_piece() -> None:
    async with listening() as port:
        body = b"x" * 3_000_000
        first = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        chunked = b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
        answer = await ask(port, first, body, chunked, b"GET /c HT", b"TP/1.1\r\n", _END)
        assert statuses(answer) == [b"200"] * 3
        assert [part.split(b"\r\n\r\n")[1][:7] for part in answer.split(b"HTTP/1.1 200")[1:]] == [
            b"3000000",
            b"5",
            b"0",
        ]


@pytest.mark.parametrize(
    "pieces",
    [
        [b"GET /", *[b"a" * 65_536] * 64],
        [b"GET / HTTP/1.1\r\nX: ", *[b"a" * 65_536] * 64],
        [b"GET / HTTP/1.1\r\n", *[b"X: " + b"a" * 16_000 + b"\r\n"] * 256, _END],
        [
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            *[b"X: " + b"a" * 16_000 + b"\r\n"] * 256,
            _END,
        ],
    ],
    ids=["path", "one field", "many fields", "trailers"],
)
async def test_a_head_without_end_is_cut_off(pieces: list[bytes]) -> None:
    async with listening() as port:
        sent = 0
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionError):
            async with asyncio.timeout(60):
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    sent += len(piece)
                    await asyncio.sleep(0)
                while True:  # whatever was still in the socket's buffer
                    writer.write(b"a")
                    await writer.drain()
                    await beat(0.001)
        writer.close()


async def test_a_large_head_is_taken_up_to_the_limit() -> None:
    async with listening() as port:
        field = b"X: " + b"a" * (HEAD_LIMIT - 200) + b"\r\n"
        assert statuses(await ask(port, b"GET / HTTP/1.1\r\n", field, _END)) == [b"200"]
        answer = await ask(port, b"GET / HTTP/1.1\r\nX: " + b"a" * (HEAD_LIMIT + 10))
        assert statuses(answer) == [b"431"]


async def test_a_head_that_does_not_come_is_not_waited_for() -> None:
    async with listening(Hasty) as port:
        assert await ask(port) == b""
        assert await ask(port, b"GET / HTTP/1.1\r\nHo") == b""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert statuses(await reader.readuntil(b"\r\n\r\n")) == [b"200"]
        assert await reader.readexactly(1) == b"0"
        writer.write(b"GET /second HT")
        async with asyncio.timeout(3):  # the connection would be kept for 5 s if it said nothing
            assert await reader.read() == b""
        writer.close()


async def test_requests_do_not_pile_up_behind_one_connection() -> None:
    async with listening() as port:
        one = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        answer = await ask(port, one * (PIPELINE_LIMIT // 2) + b"GET / HTTP/1.1\r\n" + _END)
        assert statuses(answer) == [b"200"] * (PIPELINE_LIMIT // 2 + 1)
        assert b"400" in statuses(await ask(port, one * (PIPELINE_LIMIT * 4)))


async def test_a_client_that_goes_away_is_no_fault_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    gone = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await echo_length(scope, receive, send)
        finally:
            gone.set()

    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError("there is nobody to answer")

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    await Edge(app)(scope, receive, send)
    assert gone.is_set()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tapedeck.api.http.BODY_S", 0.05)

    async def receive() -> Any:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(HTTPException) as caught:
        await read_body(Request({"type": "http", "headers": []}, receive), 10)
    assert caught.value.status_code == 408


async def test_a_second_signal_ends_the_wait_for_stops_that_do_not_come() -> None:
    begun = asyncio.Event()

    class Hanging:
        async def shutdown(self) -> None:
            begun.set()
            await asyncio.Event().wait()

        def drain(self) -> None:
            """As `WhipServer`."""

        def close(self) -> None:
            """As `EventFeed`."""

    stuck: Any = Hanging()
    none: Any = None
    node = wiring.Node(
        none,
        "",
        none,
        none,
        stuck,
        none,
        none,
        stuck,
        none,
        none,
        none,
        none,
        none,
        none,
        none,
        none,
        none,
        none,
        stuck,
    )
    draining = asyncio.create_task(node.drain(60))
    await begun.wait()
    node.abandon()
    async with asyncio.timeout(30):
        await draining


async def test_a_stop_that_fails_does_not_keep_films_from_being_finished() -> None:
    done: list[str] = []

    class Part:
        async def shutdown(self) -> None:
            raise UnavailableError("The database is locked")

        async def aclose(self, timeout_s: float = 0) -> None:
            done.append("closed")

        def drain(self) -> None:
            done.append("drained")

        def close(self) -> None:
            done.append("quiet")

    part: Any = Part()
    none: Any = None
    await wiring.Node(
        none, "", none, none, part, none, none, part, part, none, none, none, none, none, none, none, none, none, part
    ).drain(60)
    assert done == ["drained", "closed", "closed", "quiet"]


async def test_a_part_that_cannot_be_closed_keeps_no_other_open() -> None:
    closed: list[str] = []

    class Part:
        def __init__(self, name: str) -> None:
            self.name = name

        @property
        def keeper(self) -> Part:
            """As `Playing`."""
            return self

        async def aclose(self, timeout_s: float = 0) -> None:
            closed.append(self.name)
            if self.name != "db":
                raise UnavailableError("The connection is gone")

        settle = aclose

    named = [field.name for field in dataclasses.fields(wiring.Node)]
    parts: dict[str, Any] = {name: Part(name) for name in named[: named.index("runners")]}
    parts["closers"] = (Part("one of them").aclose,)
    await wiring.Node(**parts).aclose()
    assert closed[-1] == "db" and {"host", "one of them", "poster"} < set(closed)


async def test_a_server_that_cannot_be_built_leaves_its_database_closed(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, account_id="acme", app_id="apps")
    with pytest.raises(InvalidError, match="APP_ID"):
        await wiring.build(settings, 1)
    for thread in [thread for thread in threading.enumerate() if thread.name.startswith("sqlite")]:
        thread.join(5)
        assert not thread.is_alive()
