"""Targets of a running recording against a real SRT server: encrypted, frozen, killed, with another passphrase."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from tests.media.live import shooting
from tests.pace import eventually
from tests.srtserver import PASSPHRASE, listening, srt_server
from tests.workers.studio import open_studio

from tapedeck.adapters.dial import Dialler
from tapedeck.adapters.srt import SrtConnection
from tapedeck.core.errors import InvalidError
from tapedeck.core.target import TargetState, srt_place_of
from tapedeck.push.report import FailedError, Report
from tapedeck.push.srt import SrtPush
from tapedeck.service.targets import TargetService
from tapedeck.service.vault import Vault

pytestmark = pytest.mark.timeout(150)

T = TargetState


async def test_a_server_gets_the_film_to_its_end_and_no_secret_is_seen(tmp_path: Path) -> None:
    with srt_server(tmp_path / "srt") as server:
        async with open_studio(tmp_path) as studio:
            recording = await studio.capturing()
            with shooting(tmp_path, studio.live_dir(recording)) as shoot:
                target_id = await studio.add(recording, server.url())
                target = await studio.until(recording, target_id, T.LIVE)
                assert target.address == f"srt://127.0.0.1:{server.port}?***"
                command = Path(f"/proc/{studio.worker.pids()[target_id]}/cmdline").read_bytes()
                assert b"s3cret" not in command and b"srt" not in command

                async def has_some() -> bool:
                    return bool(server.recorded()) and server.recorded()[0].stat().st_size > 300_000

                await eventually(has_some, 60)
                end_s = shoot.stop()
            target = await studio.until(recording, target_id, T.ENDED)
            assert target.reason is None
            assert server.process is not None
            server.process.wait(30)
    with av.open(str(server.recorded()[0])) as container:
        found: dict[str, list[float]] = {"video": [], "audio": []}
        for packet in container.demux():
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame | av.AudioFrame)
                found[packet.stream.type].append(float(frame.time or 0))
    pictures, sounds = found.values()
    for times in (pictures, sounds):
        assert max(b - a for a, b in pairwise(times)) < 0.05, "nothing is missing"
    assert pictures[0] == pytest.approx(sounds[0], abs=0.1)
    assert pictures[-1] == pytest.approx(sounds[-1], abs=0.6), "both come to the end; sound is made by the half second"
    assert pictures[-1] - pictures[0] < end_s


async def test_what_an_address_says_is_what_the_server_is_asked_for(tmp_path: Path) -> None:
    with listening() as (port, came):
        async with open_studio(tmp_path) as studio:
            recording = await studio.capturing()
            asked = f"streamid=%23!::r=live/one,m=publish&passphrase={PASSPHRASE}&pbkeylen=32&latency=700"
            target_id = await studio.add(recording, f"srt://127.0.0.1:{port}?{asked}")
            caller = await asyncio.wait_for(asyncio.wrap_future(came), 60)
            assert caller.stream_id == "#!::r=live/one,m=publish"
            assert (caller.latency_ms, caller.key_bytes) == (700, 32)
            target = await studio.target(recording, target_id)
            assert target.address == f"srt://127.0.0.1:{port}?***"


async def test_a_frozen_and_a_killed_server_are_left_and_found_again(tmp_path: Path) -> None:
    with srt_server(tmp_path / "srt") as server:
        async with open_studio(tmp_path, stall_s=3.0) as studio:
            recording = await studio.capturing()
            with shooting(tmp_path, studio.live_dir(recording)):
                target_id = await studio.add(recording, server.url())
                await studio.until(recording, target_id, T.LIVE)
                assert server.process is not None
                server.process.send_signal(signal.SIGSTOP)
                target = await studio.until(recording, target_id, T.RETRYING)
                assert target.reason == "the server took nothing for 3 s"
                server.kill()
                server.start()
                await studio.until(recording, target_id, T.LIVE)
                server.kill()
                await studio.until(recording, target_id, T.RETRYING)


async def test_another_passphrase_and_a_private_address_are_told_apart(tmp_path: Path) -> None:
    with srt_server(tmp_path / "srt") as server:
        async with open_studio(tmp_path) as studio:
            recording = await studio.capturing()
            target_id = await studio.add(recording, server.url("another-s3cret"))
            target = await studio.until(recording, target_id, T.RETRYING)
            assert target.reason == "the passphrase is not the server's"
    async with open_studio(tmp_path / "guarded", allow_private=False) as studio:
        recording = await studio.capturing()
        target = await studio.until(recording, await studio.add(recording, server.url()), T.ENDED)
        assert target.reason == "the address is private, and this server is not allowed to connect there"


async def test_a_server_without_libsrt_takes_no_srt_address(tmp_path: Path) -> None:
    async with open_studio(tmp_path) as studio:
        world = studio.world
        recording = await studio.capturing()
        vault = Vault(world.db, world.vault._sealer, srt=False)
        targets = TargetService(world.db, world.clock, vault)
        with pytest.raises(InvalidError, match="libsrt") as refused:
            await targets.add(world.app, recording.id, "srt://live.example.com:9000")
        assert [problem.pointer for problem in refused.value.problems] == ["/url"]
        wanted = {"live_streaming_config": {"rtmp_url": "srt://live.example.com:9000"}}
        with pytest.raises(InvalidError, match="libsrt") as refused:
            vault.seal(wanted)
        assert [problem.pointer for problem in refused.value.problems] == ["/rtmp_out_config/rtmp_url"]


def test_a_name_with_many_addresses_that_do_not_answer_is_given_up_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tapedeck.push.srt._CONNECT_S", 1.0)
    tried, connect = list[str](), SrtConnection.connect

    def noted(self: SrtConnection, family: int, address: str, *given: Any, **named: Any) -> None:
        tried.append(address)
        connect(self, family, address, *given, **named)

    monkeypatch.setattr(SrtConnection, "connect", noted)
    found = [(int(socket.AF_INET), 0, f"127.0.0.{number}") for number in range(1, 9)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        place = srt_place_of(f"srt://many.example:{silent.getsockname()[1]}")
        push = SrtPush(place, tmp_path, Dialler(True, lambda *_: found), 30.0, Report(StringIO()))
        with pytest.raises(FailedError):
            push.run(threading.Event())
    assert tried == ["127.0.0.1"], "and it is said why before anybody takes the process for stuck"
