"""The command line: exit codes, and one sentence for everything that can go wrong outside of the program."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tapedeck import __version__, datadir, wiring
from tapedeck.cli import main as command
from tapedeck.config import load_settings
from tapedeck.core.errors import InvalidError


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    for name in [n for n in os.environ if n.startswith("TAPEDECK_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    mask = os.umask(0o022)
    yield
    os.umask(mask)


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tapedeck", *args])
    with pytest.raises(SystemExit) as ended:
        command.main()
    code = ended.value.code
    assert isinstance(code, int)
    return code


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tapedeck:")]
    assert len(lines) == 1, lines
    return lines[0]


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.strip() == f"tapedeck {__version__}"


def test_a_token_is_made_beside_no_server_and_for_nobody_else_s_eyes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    assert run(monkeypatch, "token", "create", "--data-dir", str(data)) == 0
    first = capsys.readouterr().out.split()
    assert run(monkeypatch, "token", "create", "--data-dir", str(data)) == 0
    second = capsys.readouterr().out.split()
    assert first[:4] == second[:4], "the same account and app"
    assert first[5].startswith("tdk_") and first[5] != second[5]
    assert mode(data) == 0o700
    assert {path.name: oct(mode(path)) for path in data.iterdir() if mode(path) & 0o077} == {}
    assert mode(data / "secret.key") == 0o600


def test_two_processes_that_start_at_once_have_one_secret(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    first = datadir.secret_of(settings)
    datadir._make_secret(tmp_path / "secret.key")  # the other one, which had looked before there was a key
    assert datadir.secret_of(settings) == first
    assert [path.name for path in tmp_path.iterdir()] == ["secret.key"]


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"\xff\xfe" * 20])
def test_a_key_file_that_holds_no_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "secret.key").write_bytes(content)
    assert run(monkeypatch, "token", "create", "--data-dir", str(tmp_path)) == 1
    assert "secret.key" in sentence(capsys)


@pytest.mark.parametrize("wanted", [["token", "create"], ["serve"]])
def test_a_data_directory_that_cannot_be_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, wanted: list[str]
) -> None:
    (tmp_path / "file").touch()
    assert run(monkeypatch, *wanted, "--data-dir", str(tmp_path / "file" / "data")) == 1
    assert "--data-dir" in sentence(capsys)


def test_a_port_in_use_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        assert run(monkeypatch, "serve", "--port", str(port), "--data-dir", str(tmp_path / "data")) == 1
    assert f"127.0.0.1:{port}" in sentence(capsys)


@pytest.mark.parametrize("host", ["no such host", "a" * 70 + ".example"])
def test_a_host_that_is_none_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, host: str
) -> None:
    assert run(monkeypatch, "serve", "--host", host, "--port", "0", "--data-dir", str(tmp_path / "data")) == 1
    assert "cannot listen" in sentence(capsys)


def test_a_data_directory_of_another_server_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with wiring.owned_data_dir(load_settings(data_dir=tmp_path)):
        assert run(monkeypatch, "serve", "--port", "0", "--data-dir", str(tmp_path)) == 1
    assert "another Tapedeck" in sentence(capsys)


def test_a_setting_that_is_wrong_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "serve", "--port", "99999") == 1
    assert "TAPEDECK_PORT" in sentence(capsys)


def test_what_is_repeated_of_the_user_s_words_is_not_taken_for_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "replay", str(tmp_path), "--size", "[/]") == 1
    assert "'[/]'" in sentence(capsys)


def test_an_error_of_the_system_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(28, "No space left on device", "/x")

    monkeypatch.setattr(wiring, "load_settings", refuse)
    assert run(monkeypatch, "token", "list") == 1
    assert sentence(capsys) == "tapedeck: No space left on device: /x"


def test_a_settings_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAPEDECK_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(InvalidError, match="nowhere"):
        load_settings()


@pytest.mark.parametrize("url", ["file://bucket", "file://data/bucket", "file:bucket", "file://"])
def test_a_bucket_must_be_an_absolute_path(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TAPEDECK_BUCKET_URL", url)
    with pytest.raises(InvalidError, match="file:///path"):
        load_settings()


def test_a_command_that_needs_no_server_imports_none() -> None:
    """It would take two seconds before every replay."""
    code = "import sys, tapedeck.cli.main, tapedeck.cli.replay; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"fastapi", "sqlalchemy", "aiortc"} & set(done.stdout.split())


def test_a_server_imports_nothing_of_what_it_may_never_need() -> None:
    """What storages and pictures need is 30 MB: it comes with the first storage or image."""
    code = "import sys, tapedeck.cli.serve, tapedeck.wiring; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "tapedeck.adapters.storage.factory" in done.stdout.split()
    assert not {"azure", "botocore", "asyncssh", "numpy", "PIL"} & set(done.stdout.split())
