"""What is wrong with a storage is said in one sentence, and each by its own: key, secret, bucket, clock, host key."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.adapters.storage.conftest import Place, open_place
from tests.ports import free_port

from tapedeck.adapters.egress import Guard
from tapedeck.adapters.storage.factory import make_store
from tapedeck.adapters.storage.probe import probe
from tapedeck.cli.doctor import tell_storage
from tapedeck.config import load_settings
from tapedeck.core.egress import UnreachableError
from tapedeck.core.errors import DestinationError
from tapedeck.outlets import probe_storage

pytestmark = pytest.mark.server
WRONG = "d3Jvbmctd3Jvbmc="
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("ceph", {"secret": WRONG}, "does not belong to the access key"),
    ("ceph", {"access_key": "nobody"}, "does not know the access key"),
    ("ceph", {"bucket": "no-such-bucket"}, "bucket does not exist"),
    ("moto", {"bucket": "no-such-bucket"}, "bucket does not exist"),
    ("gcs", {"bucket": "no-such-bucket"}, "bucket does not exist"),
    ("gcs", {"secret": json.dumps({"client_email": "a", "private_key": WRONG})}, "no usable private key"),
    ("azure", {"bucket": "no-such-container"}, "bucket does not exist"),
    ("azure", {"AccountKey": WRONG}, "refuses the credentials|does not allow this key"),
    ("sftp", {"private_key": "other"}, "does not let this user in: check username and private_key"),
    ("sftp", {"private_key": "-----BEGIN"}, "private key cannot be read"),
    ("sftp", {"username": "nobody-of-this-name"}, "does not let this user in"),
    ("sftp", {"host_key": "SHA256:" + "A" * 43}, "not the one in host_key"),
    ("sftp-phrase", {"password": WRONG}, "check its passphrase"),
    ("sftp-password", {"password": WRONG}, "check username and password"),
]


@pytest.mark.parametrize(("kind", "change", "words"), CASES)
async def test_each_mistake_has_its_sentence(
    kind: str, change: dict[str, Any], words: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async for place in open_place(kind, request, tmp_path):
        storage = place.storage | {name: value for name, value in change.items() if name != "AccountKey"}
        if "AccountKey" in change:
            parts = dict(piece.split("=", 1) for piece in storage["access_key"].split(";"))
            storage["access_key"] = ";".join(f"{k}={v}" for k, v in (parts | change).items())
        if change.get("private_key") == "other":
            storage["private_key"] = request.getfixturevalue("sshd").other_key
        with pytest.raises(DestinationError, match=words) as caught:
            store = make_store(storage, Guard(allow_private=True))
            try:
                await probe(store, f"{change.get('path', 'probe')}/x", links=place.has_links)
            finally:
                await store.aclose()
        text = str(caught.value)
        assert len(text) < 160 and "\n" not in text and WRONG not in text


async def test_a_good_storage_is_written_read_linked_and_emptied_again(place: Place) -> None:
    text = await probe(place.store, "probe/x", links=place.has_links)
    assert "read back" in text and ("link" in text) is place.has_links
    assert await place.store.unfinished("probe/") == []


@pytest.mark.parametrize("pinned", ["host_key", "fingerprint"])
async def test_the_pinned_key_of_the_server_is_believed(
    pinned: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async for place in open_place("sftp", request, tmp_path):
        server = request.getfixturevalue("sshd")
        store = make_store(place.storage | {"host_key": getattr(server, pinned)}, Guard(allow_private=True))
        try:
            assert "read back" in await probe(store, "probe/x", links=False)
        finally:
            await store.aclose()


async def test_a_connection_that_was_cut_is_opened_again(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    async for place in open_place("sftp", request, tmp_path):
        await probe(place.store, "probe/x", links=False)
        connection = place.store._ssh  # type: ignore[attr-defined] # what a network does to it
        connection.abort()
        await connection.wait_closed()
        await probe(place.store, "probe/x", links=False)


@pytest.mark.parametrize("kind", ["moto", "azure", "gcs", "sftp"])
async def test_a_server_that_hangs_or_is_gone_is_given_up(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    async for place in open_place(kind, request, tmp_path):
        port = free_port()
        old = str(place.storage.get("port") or "")
        moved = json.loads(json.dumps(place.storage).replace(old, str(port))) if old else dict(place.storage)
        for name, value in list(moved.items()):
            if isinstance(value, str) and "127.0.0.1:" in value:
                head, _, tail = value.partition("127.0.0.1:")
                moved[name] = f"{head}127.0.0.1:{port}{tail.lstrip('0123456789')}"
        if old:
            moved["port"] = port
        store = make_store(moved, Guard(allow_private=True))
        try:
            with pytest.raises(UnreachableError, match="Nothing answers"):
                await store.head("x")
        finally:
            await store.aclose()


MISTAKES = [
    ("ceph", "s3://films/deep?endpoint={url}", {}, "opened by its link"),
    ("ceph", "s3://no-such-bucket?endpoint={url}", {}, "bucket does not exist"),
    ("ceph", "s3://films?endpoint={url}", {"bucket_secret": WRONG}, "does not belong to the access key"),
    ("ceph", "s3://films?endpoint={url}", {"bucket_access_key": "nobody"}, "does not know the access key"),
    ("ceph", "s3://films?endpoint={tls}", {}, "cannot prove who it is"),
    ("ceph", "s3://films?endpoint=http://no-such-host.invalid", {}, "host name is not known"),
    ("ceph", "s3://films?endpoint={gone}", {}, "Nothing answers"),
    ("ceph", "s3://films?endpoint={url}/films", {}, "only a scheme, a host and a port"),
    ("ceph", "s3://films?region=a%20b&endpoint={url}", {}, "region must be a region"),
    ("ceph", "s3://fi!ms?endpoint={url}", {}, "must be the name of a bucket"),
    ("ceph", "s3://films?endpoint={url}", {"bucket_secret": ""}, "BUCKET_SECRET is needed"),
    ("gcs", "gs://{bucket}/deep?endpoint={url}", {}, "opened by its link"),
    ("gcs", "gs://no-such-bucket?endpoint={url}", {}, "bucket does not exist"),
    ("gcs", "gs://{bucket}?endpoint={url}", {"bucket_secret": "{}"}, 'the type "service_account"'),
    ("azure", "az://{bucket}/deep", {}, "opened by its link"),
    ("azure", "az://no-such-container", {}, "bucket does not exist"),
    ("azure", "az://{bucket}", {"bucket_access_key": "AccountName=films"}, "with AccountName and AccountKey"),
    ("azure", "az://{bucket}", {"bucket_access_key": WRONG}, "must be a connection string"),
    ("file", "file://{here}/a%20bucket", {}, "was written, read back, and deleted"),
    ("file", "file://{here}/film/bucket", {}, "cannot be made: Not a directory"),
    ("file", "file://{here}/bucket?size=1", {}, "no options for file"),
    ("file", "ftp://{here}", {}, "give file:///path"),
]


@pytest.mark.parametrize(("kind", "url", "given", "words"), MISTAKES)
async def test_doctor_says_in_one_line_what_is_wrong_with_a_bucket(
    kind: str,
    url: str,
    given: dict[str, str],
    words: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "film").touch()
    storage: dict[str, Any] = {}
    if kind != "file":
        async for place in open_place(kind, request, tmp_path):
            storage = place.storage
    at = storage.get("endpoint", "")
    named = {"url": at, "tls": at.replace("http:", "https:"), "gone": f"http://127.0.0.1:{free_port()}"}
    url = url.format(here=tmp_path, bucket=storage.get("bucket"), **named)
    keys = {f"bucket_{name}": storage.get(name) for name in ("access_key", "secret")} | given
    settings = load_settings(data_dir=tmp_path / "data", **keys)
    code = await tell_storage(Console(), probe_storage(settings, url))
    said = capsys.readouterr()
    assert words in said.out and said.err == ""
    assert said.out.startswith("bad" if code else "ok") and said.out.count("\n") == 1
    assert not any(value in said.out for value in keys.values() if value)
    if kind == "file":
        assert sorted(path.name for path in tmp_path.iterdir()) == (["film"] if code else ["a bucket", "film"])


async def test_doctor_tries_a_url_or_a_file(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async for place in open_place("moto", request, tmp_path):
        url = f"s3://{place.storage['bucket']}/deep?endpoint={place.storage['endpoint']}"
        settings = load_settings(data_dir=tmp_path, bucket_access_key="AK", bucket_secret="SK")
        assert "opened by its link" in await probe_storage(settings, url)
        assert "read back" in await probe_storage(settings, f"file://{tmp_path}/bucket")
        file = tmp_path / "storage.json"
        file.write_text(json.dumps({"storage_config": place.storage}))
        with pytest.raises(DestinationError, match="private"):
            await probe_storage(settings, str(file))
        allowed = load_settings(data_dir=tmp_path, allow_private_urls=True)
        assert "deleted" in await probe_storage(allowed, str(file))
        await asyncio.to_thread(file.write_text, "{")
        with pytest.raises(Exception, match="not JSON"):
            await probe_storage(allowed, str(file))
