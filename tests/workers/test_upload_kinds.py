"""Films to real servers of Azure's, Google's and SSH's kind, cut off and taken over by the next process."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from azure.storage.blob.aio import BlobServiceClient
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.pace import eventually
from tests.servers.azurite import ACCOUNT_KEY, azurite
from tests.servers.proxy import Wire, open_wire
from tests.servers.sshd import sshd
from tests.workers.post import Post, open_post
from tests.workers.reels import MIB
from tests.workers.s3server import running_moto

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.factory import Store, make_store
from tapedeck.core.destination import DestinationKind
from tapedeck.core.recording import Recording, RecordingState
from tapedeck.logs import configure_logs
from tapedeck.ports.storage import Part
from tapedeck.workers.journal import Journal

pytestmark = pytest.mark.server

K, R = DestinationKind, RecordingState


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[int, dict[str, Any]]]]:
    """Port and `storage_config` by kind; each has an empty bucket."""
    folder = tmp_path_factory.mktemp("kinds")
    with running_moto() as moto, azurite(folder) as text, sshd(folder) as ssh:
        moto.make_bucket("films")

        async def make_container() -> None:
            async with BlobServiceClient.from_connection_string(text) as service:
                await service.create_container("films")

        asyncio.run(make_container())
        sftp = {"type": "sftp", "host": "127.0.0.1", "username": ssh.user, "auth_method": "KEY"}
        yield {
            "azure": (
                int(text.rpartition("127.0.0.1:")[2].partition("/")[0]),
                {"type": "azure", "access_key": text, "bucket": "films"},
            ),
            "gcs": (moto.port, {"type": "gcs", "secret": _account(), "bucket": "films"}),
            "sftp": (ssh.port, sftp | {"private_key": ssh.plain_key, "host_key": ssh.host_key}),
        }


@pytest.fixture
def talkative() -> Iterator[None]:
    """The log of a server that says everything."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logs("text", "debug")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _secrets(storage: dict[str, Any]) -> list[str]:
    """Texts that nobody must see."""
    match storage["type"]:
        case "azure":
            return [ACCOUNT_KEY, ACCOUNT_KEY[:20]]
        case "gcs":
            text = json.loads(storage["secret"])["private_key"]
        case _:
            text = storage["private_key"]
    return [line for line in text.splitlines() if len(line) > 30 and "KEY" not in line]


def _account() -> str:
    """Credentials of a service account."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return json.dumps({"client_email": "films@example.test", "private_key": key.private_bytes(*form).decode()})


def _through(wire: Wire, storage: dict[str, Any], port: int) -> Store:
    """The storage at the other end of the wire, as the next process opens it."""
    match storage["type"]:
        case "azure":
            storage = storage | {"access_key": storage["access_key"].replace(f":{port}/", f":{wire.port}/")}
        case "gcs":
            storage = storage | {"endpoint": wire.url}
        case _:
            storage = storage | {"port": wire.port}
    return make_store(storage, Guard(allow_private=True))


async def _up(store: Store, recording: Recording) -> int:
    """Parts of the film that the store has."""
    left = [upload for upload in await store.unfinished(recording.file_name) if upload.key == recording.file_name]
    return len(await store.parts(left[0].key, left[0].token)) if left else 0


@pytest.mark.parametrize("kind", ["azure", "gcs", "sftp"])
async def test_a_film_that_is_cut_off_and_taken_over_arrives_once_and_whole(
    kind: str,
    places: dict[str, tuple[int, dict[str, Any]]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    talkative: None,
) -> None:
    """And what is said of it, also to the log, and kept has nothing of its secrets."""
    port, storage = places[kind]
    async with open_wire("127.0.0.1", port) as wire:
        first, second = _through(wire, storage, port), _through(wire, storage, port)
        watcher = make_store(storage | ({"port": port} if kind == "sftp" else _direct(kind, port)), Guard(True))
        try:
            async with open_post(tmp_path, outside=first) as post:
                await _play(post, wire, first, second, watcher)
        finally:
            for store in (first, second, watcher):
                await store.aclose()
    texts = [capsys.readouterr().err, *(path.read_text("latin-1") for path in tmp_path.rglob("*.db*"))]
    assert "upload.trouble" in texts[0] and len(texts) > 1
    for secret in _secrets(storage):
        assert not any(secret in text for text in texts)


def _direct(kind: str, port: int) -> dict[str, Any]:
    return {"endpoint": f"http://127.0.0.1:{port}"} if kind == "gcs" else {}


def _numbers(store: Store) -> list[int]:
    """Of the parts that will be sent to it."""
    sent: list[int] = []
    put = store.put_part

    async def noted(key: str, token: str, number: int, data: bytes | memoryview, offset: int) -> Part:
        sent.append(number)
        return await put(key, token, number, data, offset)

    store.put_part = noted  # type: ignore[method-assign]
    return sent


async def _play(post: Post, wire: Wire, first: Store, second: Store, watcher: Store) -> None:
    recording = await post.recording(K.BUCKET, K.EXTERNAL)
    reel = post.reel(recording)
    reel.grow(20 * MIB)
    post.worker.follow(recording)

    async def two_are_up() -> bool:
        return post.noted(recording) >= 2

    await eventually(two_are_up, 60)
    wire.cuts = [MIB, 300_000, 2 * MIB]
    await wire.down()
    await wire.up()
    reel.grow(20 * MIB)

    async def all_cuts_happened() -> bool:
        return not wire.cuts and wire.connections >= 4

    async def three_are_up() -> bool:
        return post.noted(recording) >= 3

    await eventually(all_cuts_happened, 60)
    await eventually(three_are_up, 60)
    film = reel.finish()
    content = film.path.read_bytes()
    wire.flowing.clear()
    await post.stop(recording, film)
    await post.until(recording, R.UPLOADING)
    noted = await _up(watcher, recording)
    post.outside = second
    await post.restart()
    (journal,) = (post.films / recording.id).glob("*.journal")
    known, sent = set(Journal(journal).parts), _numbers(second)
    wire.flowing.set()

    async def is_over() -> bool:
        return not post.worker.is_needed(recording.id) and not (post.films / recording.id).exists()

    await eventually(is_over, 60)
    assert b"".join([chunk async for chunk in watcher.read(recording.file_name)]) == content
    assert not await watcher.unfinished(recording.file_name)
    assert noted >= 3
    assert len(known) >= 2
    assert sent and not known & set(sent), "what the first process had brought was not sent again"
    assert (await post.until(recording, R.DONE)).files[0].key is not None
