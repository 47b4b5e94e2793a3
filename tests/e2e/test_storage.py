"""A film in S3 as the built-in bucket and on the customer's SFTP server: the same bytes, and no secret in the log."""

from __future__ import annotations

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.kit import open_house
from tests.servers.moto import moto
from tests.servers.sshd import PASSPHRASE, sshd

from tapedeck.sources.synthetic import CAST
from tapedeck.testing.people import Act, Cue, Person

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(300)]


async def test_a_film_lies_in_the_bucket_and_with_the_customer(tmp_path: Path) -> None:
    (tmp_path / "sshd").mkdir()
    with moto(tmp_path) as url, sshd(tmp_path / "sshd") as server:
        made = urllib.request.Request(f"{url}/films", method="PUT")
        await asyncio.to_thread(lambda: urllib.request.urlopen(made).close())
        env = {
            "TAPEDECK_BUCKET_URL": f"s3://films/deep?endpoint={url}",
            "TAPEDECK_BUCKET_ACCESS_KEY": "bucket-key-findme",
            "TAPEDECK_BUCKET_SECRET": "bucket-secret-findme",
            "TAPEDECK_ALLOW_PRIVATE_URLS": "true",
        }
        storage: dict[str, Any] = {"type": "sftp", "host": "127.0.0.1", "port": server.port, "username": server.user}
        storage |= {"auth_method": "KEY", "private_key": server.locked_key, "password": PASSPHRASE}
        storage |= {"path": "/Aufnahmen ß/録音/", "host_key": server.fingerprint}
        person = Person(CAST[0], (Cue(0.0, Act.JOIN), Cue(120.0, Act.LEAVE)))
        async with open_house(tmp_path / "house", env) as house:
            room = await house.room([person])
            playing = asyncio.create_task(room.play())
            take = await room.start(storage_config=storage)
            await take.until("RECORDING")
            await room.at(4.0)
            await take.act("stop")
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
            recording = await take.until("UPLOADED")
            assert recording.download_url is not None and recording.download_url.startswith(f"{url}/films/deep/")
            film = await house.fetch(recording.download_url)
            assert len(film) == recording.file_size
            theirs = server.home / "Aufnahmen ß/録音" / recording.output_file_name
            async with asyncio.timeout(60):
                while not theirs.exists():
                    await take.until("UPLOADED")
            assert theirs.read_bytes() == film
            said = house.server.log_path.read_text("utf-8")
        for secret in ("findme", PASSPHRASE, server.locked_key[40:80]):
            assert secret not in said
