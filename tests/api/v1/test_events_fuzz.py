"""The live stream and readers that are hostile, slow or gone: whatever they send, and however they read."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote_from_bytes

from sqlalchemy import insert, select
from tests.api.kit import Site
from tests.pace import beat, eventually
from tests.service.world import World

from tapedeck.db.models import OutboxRow

APP = "/v1/accounts/acme/apps/campus/events"
EVENT = re.compile(rb"id: ([0-9]+)\nevent: ([a-zA-Z.]+)\ndata: (\{[^\n]*\})")
TITLE = "x" * 4000


async def happen(world: World, doublings: int) -> int:
    """Let much happen at once; the number of the newest."""
    await world.live(await world.meeting(title=TITLE), people=0)
    columns = [column for column in OutboxRow.__table__.columns if column.name != "id"]
    async with world.db.write() as session:
        for _ in range(doublings):
            await session.execute(insert(OutboxRow).from_select([c.name for c in columns], select(*columns)))
    world.ledger.announce()
    return await world.feed.position()


@asynccontextmanager
async def connected(
    url: str, head: bytes, window: int | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A request sent as it is, on a socket with a receive buffer of `window` bytes."""
    port = int(url.rsplit(":", 1)[1])
    sock = socket.socket()
    if window is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 14)
    try:
        writer.write(head)
        yield reader, writer
    finally:
        writer.transport.abort()


def request(site: Site, target: str = APP, last: bytes | None = None, token: str | None = None) -> bytes:
    fields = [b"host: test", b"authorization: " + site.bearer(token)["authorization"].encode()]
    if last is not None:
        fields.append(b"last-event-id: " + last)
    return b"\r\n".join([f"GET {target} HTTP/1.1".encode(), *fields, b"", b""])


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The parts of a chunked body, each one event or comment; it ends with the body or the connection."""
    while size := int(await reader.readline() or b"0", 16):
        part = await reader.readexactly(size + 2)
        assert part.endswith(b"\n\n\r\n"), part[-40:]
        yield part[:-4]


async def heard(reader: asyncio.StreamReader, until: int | None) -> list[int]:
    """Numbers of the events up to one, or to the end."""
    found: list[int] = []
    async for part in chunks(reader):
        if part.startswith(b":"):
            continue
        event = EVENT.fullmatch(part)
        assert event is not None, part[:200]
        assert json.loads(event[3])["event"] == event[2].decode()
        found.append(int(event[1]))
        if found[-1] == until:
            break
    return found


def garbage(rng: random.Random, newest: int) -> bytes:
    """What might be sent for the number of an event."""
    whole = str(rng.choice([0, newest - 1, newest, newest + 1, 10**17, 10**18, 2**63, 2**64, 10**40, -1])).encode()
    noise = bytes(rng.choice([*range(0x20, 0x7F), *range(0x80, 0x100), 0x09]) for _ in range(rng.randrange(24)))
    wrapped = rng.choice([b" ", b"+", b"0x", b"0" * 9, b"_", b"\xb2", b"\xef\xbb\xbf"]) + whole
    return rng.choice([whole, noise, wrapped, whole + b"," + whole, whole + noise, b"9" * rng.randrange(3000), b""])


async def test_any_last_event_id_and_query_is_a_stream_or_a_refusal(served: tuple[Site, str]) -> None:
    site, url = served
    newest = await happen(site.world, 2)
    rng = random.Random(5)
    statuses = set()
    for turn in range(200):
        last = garbage(rng, newest)
        target = APP
        if turn % 4 == 3:
            value = quote_from_bytes(garbage(rng, newest))
            target = f"{APP}?{rng.choice(['meeting_id', 'recording_id', 'scope', ''])}={value}"
        async with connected(url, request(site, target, last)) as (reader, _):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 600)
            status = int(head.split()[1])
            statuses.add(status)
            assert status in (200, 400), (last, target, head)
            if status == 200 and last.strip().isdigit() and target == APP:
                begun = min(int(last), newest)
                if begun < newest:
                    assert await heard(reader, newest) == list(range(begun + 1, newest + 1))
            elif status == 400 and b"application/json" in head.lower():
                length = int(re.findall(rb"content-length: ([0-9]+)", head.lower())[0])
                said = json.loads(await reader.readexactly(length))
                assert said["success"] is False and said["error"]["code"] == 400, said

    async def nobody_listens() -> bool:
        return not site.world.feed._waiting

    assert statuses == {200, 400}
    await eventually(nobody_listens)


async def test_a_number_still_to_come_does_not_make_a_reader_deaf(served: tuple[Site, str]) -> None:
    site, url = served
    await happen(site.world, 0)
    site.world.feed._alive_s = 0.5
    async with connected(url, request(site, last=b"9" * 18)) as (reader, _):
        for _turn in range(2):  # by the second it knows where the events end
            await reader.readuntil(b": alive\n\n")
        await eventually(lambda: _listening(site, 1))
        newest = await happen(site.world, 0)
        async with asyncio.timeout(600):
            await reader.readline()
            assert (await heard(reader, newest))[-1] == newest


async def test_a_reader_that_stalls_holds_up_nobody_and_misses_nothing(served: tuple[Site, str]) -> None:
    site, url = served
    async with connected(url, request(site, last=b"0"), window=4096) as (slow, _):
        await slow.readuntil(b"\r\n\r\n")
        newest = await happen(site.world, 11)
        async with connected(url, request(site, last=b"0")) as (quick, _):
            await quick.readuntil(b"\r\n\r\n")
            async with asyncio.timeout(600):
                assert await heard(quick, newest) == list(range(1, newest + 1))
        async with asyncio.timeout(600):
            assert await heard(slow, newest) == list(range(1, newest + 1))


async def test_a_reader_that_stalls_hears_no_more_once_its_token_is_void(served: tuple[Site, str]) -> None:
    site, url = served
    world = site.world
    world.feed._alive_s = 0.05
    text, token = await world.access.issue_token("acme")
    newest = await happen(world, 12)
    async with connected(url, request(site, last=b"0", token=text), window=4096) as (slow, _):
        await slow.readuntil(b"\r\n\r\n")
        await beat(0.2)
        await world.access.revoke_token(token.id)
        async with asyncio.timeout(600):
            found = await heard(slow, None)
    assert found == list(range(1, len(found) + 1)) and len(found) < newest


async def test_a_void_token_hears_no_more_however_much_happens(served: tuple[Site, str]) -> None:
    site, url = served
    world = site.world
    world.feed._alive_s = 0.1
    text, token = await world.access.issue_token("acme")

    async def bustle() -> None:
        while True:  # elsewhere in the server: no reader is ever left in silence
            world.ledger.announce()
            await beat(0.01)

    noise = asyncio.create_task(bustle())
    try:
        async with connected(url, request(site, token=text)) as (reader, _):
            await reader.readuntil(b": alive\n\n")
            async with asyncio.timeout(600):
                await reader.readuntil(b": alive\n\n")  # and each is told that the stream lives
                await world.access.revoke_token(token.id)
                await reader.readuntil(b"\r\n0\r\n\r\n")
    finally:
        noise.cancel()


async def _listening(site: Site, count: int) -> bool:
    return len(site.world.feed._waiting) == count
