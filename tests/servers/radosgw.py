"""Ceph's gateway on one monitor and one store in memory: the reference for signatures, links and uploads in parts.

Everything listens on loopback: without `cluster addr` and with the second messenger the store would listen everywhere.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.ports import free_port
from tests.servers.process import running

__all__ = ["ACCESS_KEY", "SECRET", "Radosgw", "radosgw"]

_START_S = 90.0
ACCESS_KEY, SECRET = "films-access-key", "films-secret-key/+of=tests"


@dataclass(frozen=True, slots=True)
class Radosgw:
    """A running gateway."""

    url: str
    secure_url: str | None = None
    "The same over TLS, if it has a certificate."


@contextmanager
def radosgw(directory: Path, room: int = 1 << 30, certificate: Path | None = None) -> Iterator[Radosgw]:
    """The gateway with one user, for `room` bytes. `certificate`: PEM with its key, of 127.0.0.1."""
    monitor, gateway, secure = free_port(), free_port(), free_port()
    tls = "" if certificate is None else f" ssl_endpoint=127.0.0.1:{secure} ssl_certificate={certificate}"
    for name in ("mon", "osd", "log"):
        (directory / name).mkdir()
    conf, fsid = directory / "ceph.conf", str(uuid4())
    conf.write_text(_CONF.format(d=directory, fsid=fsid, monitor=monitor, gateway=gateway, tls=tls, room=room))
    log = directory / "radosgw.log"

    def do(*command: str | Path) -> None:
        made = subprocess.run([str(word) for word in command], capture_output=True, timeout=150, check=False)
        if made.returncode:
            raise RuntimeError(f"{command[0]}: {made.stderr.decode(errors='replace')[-2000:]}")

    do("monmaptool", "--create", "--addv", "a", f"[v1:127.0.0.1:{monitor}]", "--fsid", fsid, directory / "monmap")
    do("ceph-mon", "--mkfs", "-i", "a", "--monmap", directory / "monmap", "-c", conf)
    with ExitStack() as stack:
        stack.enter_context(running(["ceph-mon", "-i", "a", "-c", conf, "-f"], monitor, log))
        osd = str(uuid4())
        _patiently(lambda: do("ceph", "-c", conf, "osd", "new", osd))
        do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd, "-c", conf)
        told = directory / "log" / "osd.0.log"
        stack.enter_context(_store(["ceph-osd", "-i", "0", "-c", str(conf), "-f"], log, told))
        do("radosgw-admin", "-c", conf, "user", "create", "--uid=films", "--display-name=films",
           f"--access-key={ACCESS_KEY}", f"--secret={SECRET}")  # fmt: skip
        stack.enter_context(running(["radosgw", "-n", "client.rgw.a", "-c", conf, "-f"], gateway, log))
        yield Radosgw(f"http://127.0.0.1:{gateway}", f"https://127.0.0.1:{secure}" if certificate else None)


def _patiently(ask: Callable[[], None]) -> None:
    """A monitor takes connections before it has given its administrator any rights, and refuses commands till then
    (EPERM)."""
    wake = time.monotonic() + _START_S
    while True:
        try:
            return ask()
        except RuntimeError:
            if time.monotonic() > wake:
                raise


@contextmanager
def _store(command: Sequence[str], log: Path, told: Path) -> Iterator[None]:
    """The store, which keeps nothing, so it need not end in peace.

    It is started again where it asked before the monitor's map had reached it ("wrong fsid"): it ends itself then.
    """
    process = _started(command, log, told)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _started(command: Sequence[str], log: Path, told: Path) -> subprocess.Popen[bytes]:
    """The store, when it takes objects. `told`: where it says so."""
    wake = time.monotonic() + _START_S
    while time.monotonic() < wake:
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        while process.poll() is None:
            if told.exists() and b"booting -> active" in told.read_bytes():
                return process
            if time.monotonic() > wake:
                process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
    raise RuntimeError(f"{command[0]} does not start: {log.read_text(errors='replace')[-2000:]}")


_CONF = """\
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{monitor}
cluster addr = 127.0.0.1
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
run dir = {d}
log file = {d}/log/$name.log
admin socket = {d}/$name.asok
[mon.a]
mon data = {d}/mon
mon addr = v1:127.0.0.1:{monitor}
public addr = v1:127.0.0.1:{monitor}
public bind addr = v1:127.0.0.1:{monitor}
mon initial members = a
mon allow pool size one = true
[osd.0]
osd data = {d}/osd
public addr = 127.0.0.1
osd objectstore = memstore
memstore device bytes = {room}
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{gateway}{tls}
rgw crypt require ssl = false
rgw gc obj min wait = 1
rgw gc processor period = 3
"""
