"""`tapedeck doctor`: looks at what a recorder needs on this machine and says in one line each what is wrong.

It changes nothing but a probe file that it removes again.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tapedeck.adapters.srt import has_srt
from tapedeck.core.errors import TapedeckError
from tapedeck.media.codecs import missing_codecs
from tapedeck.media.fonts import Fonts

__all__ = ["Finding", "doctor", "examine", "tell_storage"]

_LOW_DISK_BYTES = 2 << 30
_SLOW_FSYNC_S = 0.25
_OLDEST_PYTHON = (3, 11)
_SCRIPTS = {
    "Greek and Cyrillic": ("Ж", "fonts-dejavu-core"),
    "Arabic and Hebrew": ("ع", "fonts-dejavu-core"),
    "Chinese, Japanese and Korean": ("龍", "fonts-noto-cjk"),
    "Devanagari": ("न", "fonts-noto-core"),
    "Thai": ("ส", "fonts-noto-core"),
    "emoji": ("\U0001f389", "fonts-noto-color-emoji"),
}
"""A letter of each, and the Debian package with a font that writes it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `ok`, and a sentence that says what to do where it is not."""

    what: str
    ok: bool
    text: str


def doctor(
    console: Console,
    *,
    data_dir: Path,
    host: str,
    port: int,
    rtc_ports: tuple[int, int] | None,
    browser: Callable[[], tuple[bool, str]] | None = None,
) -> int:
    """Print the findings; 0 when all is well, 1 otherwise. `browser`: whether web pages can be recorded."""
    bad = 0
    for finding in examine(data_dir=data_dir, host=host, port=port, rtc_ports=rtc_ports):
        bad += not finding.ok
        mark = "[green]ok  [/]" if finding.ok else "[red]bad [/]"
        console.print(f"{mark} {finding.what}: {escape(finding.text)}", highlight=False, soft_wrap=True)
    if browser is not None:
        ok, text = browser()
        mark = "[green]ok  [/]" if ok else "[yellow]note[/]"
        console.print(f"{mark} browser: {escape(text)}", highlight=False, soft_wrap=True)
    return 1 if bad else 0


async def tell_storage(console: Console, probing: Awaitable[str]) -> int:
    """Print in one line what came of trying a storage; 0 when all is well, 1 otherwise."""
    try:
        mark, text, code = "[green]ok  [/]", await probing, 0
    except TapedeckError as exc:
        mark, text, code = "[red]bad [/]", str(exc), 1
    console.print(f"{mark} storage: {escape(text)}", highlight=False, soft_wrap=True)
    return code


def examine(*, data_dir: Path, host: str, port: int, rtc_ports: tuple[int, int] | None) -> Iterator[Finding]:
    """All findings, cheapest first."""
    checks: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
        ("python", _python),
        ("codecs", _codecs),
        ("fonts", _fonts),
        ("srt", _srt),
        ("data directory", lambda: _data_dir(data_dir)),
        ("free space", lambda: _space(data_dir)),
        ("disk sync", lambda: _fsync(data_dir)),
        ("http port", lambda: _tcp(host, port)),
        ("media ports", lambda: _udp(host, rtc_ports)),
    ]
    for what, check in checks:
        try:
            ok, text = check()
        except OSError as exc:
            ok, text = False, f"{exc.strerror or exc}"
        yield Finding(what, ok, text)


def _python() -> tuple[bool, str]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return False, f"{version} is too old; use 3.11 or newer"
    return True, version


def _codecs() -> tuple[bool, str]:
    missing = missing_codecs()
    if missing:
        return False, f"PyAV lacks {', '.join(missing)}; install the wheel from PyPI (pip install --only-binary av av)"
    return True, "H264, VP8, Opus and AAC are there"


def _srt() -> tuple[bool, str]:
    if has_srt():
        return True, "libsrt is there: recordings can be streamed over rtmp, rtmps and srt"
    return True, "no libsrt: recordings can be streamed over rtmp and rtmps; install libsrt1.5-openssl for srt"


def _fonts() -> tuple[bool, str]:
    fonts = Fonts()
    if fonts.any is None:
        return False, "no TrueType font found, names will be drawn small and in Latin only; install fonts-dejavu-core"
    missing = [f"{script} ({package})" for script, (ch, package) in _SCRIPTS.items() if fonts.for_character(ch) is None]
    if missing:
        return True, f"found; names will have boxes for what none of them writes: {', '.join(missing)}"
    return True, "found, for all scripts that were looked for"


def _existing(path: Path) -> Path:
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path


def _data_dir(data_dir: Path) -> tuple[bool, str]:
    where = _existing(data_dir)
    if not where.is_dir():
        return False, f"{where} is not a directory; set TAPEDECK_DATA_DIR to one"
    if not os.access(where, os.W_OK | os.X_OK):
        return False, f"{where} cannot be written by this user; change its owner or set TAPEDECK_DATA_DIR"
    return True, f"{data_dir} can be written"


def _space(data_dir: Path) -> tuple[bool, str]:
    free = shutil.disk_usage(_existing(data_dir)).free
    text = f"{free / (1 << 30):.1f} GiB free; a meeting of four takes about 5 GiB an hour until its film is delivered"
    return free >= _LOW_DISK_BYTES, text


def _fsync(data_dir: Path) -> tuple[bool, str]:
    probe = _existing(data_dir) / f".tapedeck-probe-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(b"\0" * (1 << 20))
            file.flush()
            begin = time.perf_counter()
            os.fsync(file.fileno())
            took = time.perf_counter() - begin
    finally:
        probe.unlink(missing_ok=True)
    return took < _SLOW_FSYNC_S, f"1 MiB made durable in {took * 1000:.0f} ms"


def _tcp(host: str, port: int) -> tuple[bool, str]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            return False, f"{host}:{port} cannot be used ({exc.strerror}); stop what holds it or set TAPEDECK_PORT"
    return True, f"{host}:{port} is free"


def _udp(host: str, ports: tuple[int, int] | None) -> tuple[bool, str]:
    low, high = ports or (0, 0)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in (low, high):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((host, port))
            except OSError as exc:
                return False, f"UDP {host}:{port} cannot be used ({exc.strerror}); set TAPEDECK_RTC_PORTS"
    return True, f"UDP {low}-{high} can be opened" if ports else "any free UDP port can be opened"
