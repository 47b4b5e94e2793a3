"""What `tapedeck doctor` says of a machine."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tapedeck.browsing import tell_browser
from tapedeck.cli import doctor
from tapedeck.cli.doctor import Finding, examine
from tapedeck.config import Settings
from tapedeck.media.fonts import Fonts


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests write too: how long the disk takes is none of this machine's faults."""
    monkeypatch.setattr(doctor, "_SLOW_FSYNC_S", 600.0)


def findings(data_dir: Path, port: int = 0, rtc_ports: tuple[int, int] | None = None) -> dict[str, Finding]:
    found = examine(data_dir=data_dir, host="127.0.0.1", port=port, rtc_ports=rtc_ports)
    return {finding.what: finding for finding in found}


def said(data_dir: Path) -> tuple[int, str]:
    out = io.StringIO()
    code = doctor.doctor(Console(file=out, width=300), data_dir=data_dir, host="127.0.0.1", port=0, rtc_ports=None)
    return code, out.getvalue()


def test_a_machine_that_can_record_is_well_and_left_as_it_was(tmp_path: Path) -> None:
    code, text = said(tmp_path / "data")
    assert code == 0, text
    assert "bad" not in text
    assert list(tmp_path.iterdir()) == [], "it looks and makes nothing"


@pytest.mark.parametrize(
    ("settings", "mark", "words"),
    [
        ({"browser": "no-such-program"}, "note", "there is no program no-such-program"),
        ({"browser": "python3", "browser_sandbox": "off"}, "ok", "web pages are recorded with"),
    ],
)
def test_whether_there_is_a_browser_is_said_and_a_recorder_without_one_is_well(
    tmp_path: Path, settings: dict[str, Any], mark: str, words: str
) -> None:
    out = io.StringIO()
    found = tell_browser(Settings(data_dir=tmp_path, **settings))
    code = doctor.doctor(
        Console(file=out, width=300), data_dir=tmp_path, host="127.0.0.1", port=0, rtc_ports=None, browser=lambda: found
    )
    assert code == 0
    (line,) = [line for line in out.getvalue().splitlines() if "browser" in line]
    assert line.startswith(mark)
    assert words in line


def test_a_browser_whose_sandbox_root_cannot_have_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    ok, text = tell_browser(Settings(data_dir=tmp_path, browser="python3"))
    assert not ok
    assert "run the server as another user" in text and "TAPEDECK_BROWSER_SANDBOX=off" in text


def test_a_port_that_is_taken_is_named_with_the_setting_that_changes_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        finding = findings(tmp_path, port)["http port"]
    assert not finding.ok
    assert str(port) in finding.text and "TAPEDECK_PORT" in finding.text


def test_media_ports_that_are_taken_are_found_at_both_ends(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
        for ports in ((port, 65_535), (1024, port)):
            finding = findings(tmp_path, rtc_ports=ports)["media ports"]
            assert not finding.ok and "TAPEDECK_RTC_PORTS" in finding.text


def test_a_data_directory_that_is_a_file_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not findings(tmp_path / "file" / "data")["data directory"].ok


def test_a_directory_of_another_user_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    finding = findings(tmp_path)["data directory"]
    assert not finding.ok and "owner" in finding.text


def test_little_space_a_slow_disk_and_missing_codecs_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LOW_DISK_BYTES", 1 << 62)
    monkeypatch.setattr(doctor, "_SLOW_FSYNC_S", -1.0)
    monkeypatch.setattr(doctor, "missing_codecs", lambda: ["libx264"])
    monkeypatch.setattr(doctor, "Fonts", lambda: Fonts([tmp_path]))
    monkeypatch.setattr(doctor, "_OLDEST_PYTHON", (9, 0))
    found = findings(tmp_path)
    bad = {what for what, finding in found.items() if not finding.ok}
    assert bad == {"python", "codecs", "fonts", "free space", "disk sync"}
    assert "libx264" in found["codecs"].text
    assert said(tmp_path)[0] == 1


def test_scripts_that_no_font_writes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = findings(tmp_path)["fonts"].text
    assert "emoji" not in text and "Hebrew" not in text
    monkeypatch.setattr(doctor, "Fonts", lambda: Fonts([Path("/usr/share/fonts/truetype/dejavu")]))
    found = findings(tmp_path)["fonts"]
    assert found.ok and "emoji (fonts-noto-color-emoji)" in found.text and "Korean (fonts-noto-cjk)" in found.text
    assert "Hebrew" not in found.text


def test_a_check_that_fails_itself_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    finding = findings(tmp_path)["disk sync"]
    assert (finding.ok, finding.text) == (False, "Input/output error")
    assert list(tmp_path.iterdir()) == [], "the probe is gone"


def test_a_path_is_printed_as_it_is(tmp_path: Path) -> None:
    code, text = said(tmp_path / "[bold]x[/]")
    assert code == 0
    assert "[bold]x[/]" in text


@pytest.mark.parametrize(("there", "words"), [(True, "rtmps and srt"), (False, "install libsrt1.5-openssl")])
def test_whether_there_is_srt_is_told_and_never_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, words: str
) -> None:
    monkeypatch.setattr("tapedeck.cli.doctor.has_srt", lambda: there)
    found = next(
        one for one in examine(data_dir=tmp_path, host="127.0.0.1", port=0, rtc_ports=None) if one.what == "srt"
    )
    assert found.ok and words in found.text
