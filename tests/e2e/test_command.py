"""The command line as a person meets it: a failure is one plain sentence and exit code 1, what is printed works."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cloudflare
import pytest
from cloudflare import Cloudflare

from tapedeck.core.frames import Codec, EncodedFrame, FrameFlags, Kind, TrackInfo
from tapedeck.core.timeline import ParticipantJoined, Progress, RecordingStarted, RecordingStopped, TrackOpened
from tapedeck.core.times import parse_time
from tapedeck.medialog.writer import LogWriter
from tapedeck.sources.synthetic import CAST, SyntheticCamera

pytestmark = [pytest.mark.e2e, pytest.mark.patient, pytest.mark.timeout(300)]

TAPEDECK = (sys.executable, "-m", "tapedeck")


def environment(**settings: str) -> dict[str, str]:
    """That of the caller without its settings, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TAPEDECK_", "CLOUDFLARE_"))}
    return {**kept, "COLUMNS": "100", **{f"TAPEDECK_{name}": value for name, value in settings.items()}}


def run(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (*TAPEDECK, *arguments), cwd=cwd, env=environment(**settings), capture_output=True, text=True, timeout=60,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed command said: one sentence, and nothing for programmers."""
    assert done.returncode == 1, done
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("tapedeck:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@dataclass
class Served:
    process: subprocess.Popen[str]
    url: str
    port: int
    greeting: str


@contextmanager
def served(folder: Path, **settings: str) -> Iterator[Served]:
    """`tapedeck serve` on a free port, and all it prints until the snippet is over."""
    command = (*TAPEDECK, "serve", "--port", "0", "--data-dir", str(folder / "data"))
    with (
        (folder / "errors.log").open("w") as errors,
        subprocess.Popen(
            command, cwd=folder, env=environment(**settings), stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        try:
            lines = []
            while "start_recordings" not in (line := process.stdout.readline()):
                assert line or process.poll() is None, (folder / "errors.log").read_text()
                lines.append(line)
            greeting = "".join([*lines, line])
            found = re.search(r"http://127\.0\.0\.1:(\d+)", greeting)
            assert found
            yield Served(process, found[0], int(found[1]), greeting)
        finally:
            if process.poll() is None:
                process.terminate()
            process.stdout.read()
            process.wait(30)


# what can go wrong


def test_port_and_data_directory_in_use(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        port = complaint(run("serve", "--port", str(one.port), "--data-dir", "other", cwd=tmp_path))
        assert str(one.port) in port
        assert "--port" in port
        directory = complaint(run("serve", "--port", "0", "--data-dir", str(tmp_path / "data"), cwd=tmp_path))
        assert "--data-dir" in directory
        assert "another" in directory


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "data", Path("/proc/tapedeck")):
        said = complaint(run("serve", "--port", "0", "--data-dir", str(place), cwd=tmp_path))
        assert str(place) in said
        assert "--data-dir" in said


def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """A user without rights; root has them all, and is shown a file system that is read-only instead."""
    place = Path("/sys/kernel")
    if os.geteuid():
        place = tmp_path / "data"
        place.mkdir(0o555)
    said = complaint(run("serve", "--port", "0", "--data-dir", str(place), cwd=tmp_path))
    assert str(place) in said


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"PORT": "99999"}, "TAPEDECK_PORT"),
        ({"RTC_PORTS": "5000-4000"}, "TAPEDECK_RTC_PORTS"),
        ({"LOG_LEVEL": "loud"}, "TAPEDECK_LOG_LEVEL"),
        ({"SECRET_KEY": "short-secret"}, "TAPEDECK_SECRET_KEY"),
        ({"BUCKET_URL": "gopher://bucket"}, "BUCKET_URL"),
        ({"RTC_HOSTS": "localhost"}, "TAPEDECK_RTC_HOSTS"),
        ({"ICE_SERVERS": "turn:example.org"}, "TURN"),
        ({"DATABASE_URL": "sqlite+aiosqlite:////proc/none/tapedeck.db"}, "/proc/none"),
        ({"HOST": "192.0.2.1"}, "192.0.2.1"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, settings: dict[str, str], word: str) -> None:
    said = complaint(run("serve", "--data-dir", "data", cwd=tmp_path, **{"PORT": "0", **settings}))
    assert word.lower() in said.lower()
    assert "short-secret" not in said


@pytest.mark.parametrize("text", ["port = [", 'colour = "blue"', 'port = "many"'])
def test_a_bad_settings_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "tapedeck.toml").write_text(text)
    complaint(run("serve", "--data-dir", "data", cwd=tmp_path))


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tapedeck.db").write_bytes(b"this is no database, whatever its name" * 200)
    assert "database" in complaint(run("serve", "--port", "0", "--data-dir", "data", cwd=tmp_path)).lower()


def test_a_misspelt_setting_is_a_warning(tmp_path: Path) -> None:
    with served(tmp_path, PROT="1"):
        pass
    assert "TAPEDECK_PROT" in (tmp_path / "errors.log").read_text()


@pytest.mark.parametrize("command", ["show", "replay"])
def test_a_directory_that_is_no_log(tmp_path: Path, command: str) -> None:
    assert str(tmp_path) in complaint(run(command, str(tmp_path), cwd=tmp_path))


# what is printed works


def test_the_snippet_that_serve_prints_runs_as_it_is(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        snippet = one.greeting[one.greeting.index("from cloudflare") :]
        script = tmp_path / "snippet.py"
        script.write_text(snippet + "\nprint(recording.status)\n")
        done = subprocess.run(
            (sys.executable, script), env=environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (0, "INVOKED\n"), done.stderr


def test_a_token_made_beside_a_running_server_works(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        done = run("token", "create", "--data-dir", str(tmp_path / "data"), "--name", "second", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        account, app, token, _ = (line.split()[1] for line in done.stdout.splitlines())
        kit = Cloudflare(base_url=f"{one.url}/client/v4", api_token=token).realtime_kit
        assert kit.meetings.get(app, account_id=account).data == []
        wrong = Cloudflare(base_url=f"{one.url}/client/v4", api_token=token[:-1] + "x").realtime_kit
        with pytest.raises(cloudflare.AuthenticationError):
            wrong.meetings.get(app, account_id=account)


def test_the_token_is_shown_once_and_stays_valid(tmp_path: Path) -> None:
    with served(tmp_path) as one:
        found = re.search(r"^token +(\S+)", one.greeting, re.M)
        assert found
        token = found[1]
        assert f'api_token="{token}"' in one.greeting
    with served(tmp_path) as again:
        assert token not in again.greeting
        ids = re.findall(r"^(?:account|app) +(\S+)", again.greeting, re.M)
        assert ids == re.findall(r"^(?:account|app) +(\S+)", one.greeting, re.M)
        kit = Cloudflare(base_url=f"{again.url}/client/v4", api_token=token).realtime_kit
        assert kit.meetings.get(ids[1], account_id=ids[0]).data == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_in_order_when_asked(tmp_path: Path, number: signal.Signals) -> None:
    """Also while a bucket that took the connection does not answer: it is given two minutes to."""
    silent = socket.create_server(("127.0.0.1", 0))
    silent.settimeout(60)
    bucket = f"s3://films?endpoint=http://127.0.0.1:{silent.getsockname()[1]}"
    with silent, served(tmp_path, BUCKET_URL=bucket, BUCKET_ACCESS_KEY="A", BUCKET_SECRET="S") as one:
        with silent.accept()[0]:
            one.process.send_signal(number)
            assert one.process.wait(50) == 0
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", one.port))


def test_doctor_looks_at_the_machine(tmp_path: Path) -> None:
    done = run("doctor", "--data-dir", str(tmp_path / "data"), cwd=tmp_path, PORT="0")
    lines = done.stdout.splitlines()
    bad = [line for line in lines if line.startswith("bad") and "disk sync" not in line]  # other tests write, too
    assert not bad and done.returncode in (0, 1) and len(lines) >= 4, done.stdout + done.stderr
    with served(tmp_path) as one:
        told = run("doctor", "--data-dir", str(tmp_path / "data"), cwd=tmp_path, PORT=str(one.port))
        assert str(one.port) in told.stdout


def test_version_and_help(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path).stdout.startswith("tapedeck ")
    text = run("--help", cwd=tmp_path).stdout
    assert all(f" {command} " in text for command in ("serve", "token", "show", "replay", "doctor"))


# logs without a server


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Two seconds of Ada, recorded."""
    root = tmp_path / "log"
    writer = LogWriter(root, "session-1", "meeting-1", parse_time("2026-03-01T12:00:00Z"))
    track = TrackInfo("track-1", "peer-1", "person-1", Kind.VIDEO, Codec.VP8, channels=0)
    writer.event(ParticipantJoined(0, "person-1", "peer-1", "Ada"))
    writer.open_track(track)
    writer.event(TrackOpened(0, track))
    writer.event(RecordingStarted(0, "recording-1"))
    camera = SyntheticCamera(CAST[0], width=320, height=180, fps=15, codec=Codec.VP8)
    for index in range(30):
        frame = camera.frame(index)
        flags = FrameFlags.KEY if frame.key else FrameFlags.NONE
        writer.frame("track-1", EncodedFrame(frame.ticks, frame.at_ns + 10_000_000, frame.payload, Codec.VP8, flags))
    writer.event(RecordingStopped(1_900_000_000, "recording-1"))
    writer.event(Progress(2_100_000_000, 2_000_000_000))
    writer.close().result(10)
    return root


def test_show_tells_what_is_in_a_log(log_dir: Path) -> None:
    done = run("show", str(log_dir), cwd=log_dir.parent)
    assert done.returncode == 0, done.stderr
    for word in ("Ada", "VP8", "meeting-1", "recording-1", "2026-03-01"):
        assert word in done.stdout


def test_replay_makes_a_film_and_refuses_what_it_cannot(log_dir: Path, tmp_path: Path) -> None:
    done = run("replay", str(log_dir), "-o", "film.mp4", "--size", "320x180", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "film.mp4").read_bytes()[4:8] == b"ftyp"
    nothing = run("replay", str(log_dir), "-o", "none.mp4", "--recording", "another", cwd=tmp_path)
    complaint(nothing)
    complaint(run("replay", str(log_dir), "-o", "none.mp4", "--size", "large", cwd=tmp_path))
    complaint(run("replay", str(log_dir), "-o", "no/such/place/none.mp4/x", "--size", "0x0", cwd=tmp_path))
    assert not (tmp_path / "none.mp4").exists()
