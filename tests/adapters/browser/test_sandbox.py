"""A real Chromium in its sandbox, as servers run it: as a user who is not root.

Where the tests are run by root, the browser is a script that gives its profile to a user whom nobody else is, and goes
on as that user; whatever runs or lies about as that user is then the browser's.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.browser.test_tab import ADA, OnePlace, next_of, opened
from tests.pace import eventually
from tests.pages.site import open_site
from tests.sources.kit import studio
from tests.sources.test_browser import decode

from tapedeck.adapters.browser import browsers
from tapedeck.adapters.browser.browsers import Chromiums
from tapedeck.adapters.browser.chromium import _memory_of, find_chromium
from tapedeck.core.errors import UnavailableError
from tapedeck.core.page import PageFact
from tapedeck.ports.browser import PageOrder

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

IS_ROOT = os.geteuid() == 0
USER = 61_184 + os.getpid() % 4000 if IS_ROOT else os.geteuid()
SWITCH = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups") if IS_ROOT else ()
NAMESPACES = ("user", "pid", "net")
PR_SET_CHILD_SUBREAPER = 36
HELPER = Path("/usr/lib/chromium")
"Where Debian's package chromium-sandbox has it."


def browser_script(folder: Path, *before: str) -> Path:
    """A program that runs the real Chromium as the user; `before`: words of a command that goes before it."""
    script = folder / "browser"
    command = shlex.join([*before, *SWITCH, str(find_chromium())])
    script.write_text(f'#!/bin/sh\nset -e\nchown -R {USER}:{USER} "$HOME"\nexec {command} "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests, the browser is run by a user who can have a sandbox."""
    try:
        made = subprocess.run([*SWITCH, "unshare", "--user", "--pid", "--net", "--fork", "true"], capture_output=True)
    except OSError as exc:
        pytest.skip(f"util-linux is not here: {exc}")
    if made.returncode:
        pytest.skip(f"no user but root may make namespaces here, and so no sandbox: {made.stderr.decode().strip()}")
    if IS_ROOT:
        monkeypatch.setattr(tempfile, "tempdir", "/tmp")  # another may be for root only
        monkeypatch.setattr(browsers, "sandbox_problem", lambda: None)  # it asks of this process


@pytest.fixture
def orphans() -> Iterator[None]:
    """Orphans become children of the tests, as they do of a server that is the first process of a container."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def commands(pids: Sequence[int]) -> dict[int, bytes]:
    """The command lines of those that have not ended meanwhile."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes()
    return found


def status(pid: int) -> dict[str, str]:
    """What /proc says of a process (proc(5), status)."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: " ".join(value.split()) for name, _, value in lines}


def namespaces(pid: int) -> list[str]:
    return [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in NAMESPACES]


def that_name(profile: Path) -> set[int]:
    """Processes that name a profile in their command line or environment: all that a browser starts do."""
    found, name = set(), bytes(profile)
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if name in (path / "cmdline").read_bytes() or name in (path / "environ").read_bytes():
                    found.add(int(path.name))
            except OSError:
                continue  # it is gone, or another's
    return found


def remains(leader: int) -> list[tuple[int, str]]:
    """Number and state of what is left of a browser, the dead that nobody asked how they ended included."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                is_users = IS_ROOT and path.stat().st_uid == USER
            except OSError:
                continue
            if is_users or int(fields[3]) == leader:
                found.append((int(path.name), fields[0]))
    return found


@pytest.mark.usefixtures("user", "orphans")
async def test_a_page_is_recorded_in_a_sandbox_and_nothing_of_a_killed_browser_is_left(tmp_path: Path) -> None:
    """Not even of one that is killed while its children cannot notice it, in namespaces of their own."""
    program = browser_script(tmp_path) if IS_ROOT else find_chromium()
    async with open_site() as site, studio() as place:
        guarded: dict[str, Any] = {"allow_private": False, "guard": OnePlace(site.port)}
        async with opened(site.show(ADA), path=str(program), sandbox=True, **guarded) as page:
            await next_of(page, PageFact.SAID)
            await page.publish(place.poster())
            await place.until(lambda: bool(place.ingest.peers) and len(place.peer.tracks) == 2, 60)
            await place.until(lambda: len(place.peer.video.frames) >= 20, 60)
            frames = list(place.peer.video.frames)

            chromium = page.chromium
            leader, profile = chromium.pid, chromium.profile

            async def found() -> bool:
                return that_name(profile) <= set(chromium.processes())

            await eventually(found)  # all are in one session, also those that nobody watches
            running = commands(chromium.processes())
            assert not [pid for pid, command in running.items() if b"--no-sandbox" in command]
            renderers = [pid for pid, command in running.items() if b"--type=renderer" in command]
            assert len(renderers) >= 2, "the page and the recorder"
            assert status(leader)["Uid"] == " ".join([str(USER)] * 4)
            for pid in renderers:
                said = status(pid)
                assert said["Uid"] == " ".join([str(USER)] * 4)
                assert (said["Seccomp"], said["NoNewPrivs"], int(said["CapEff"], 16)) == ("2", "1", 0)
                assert not set(namespaces(pid)) & set(namespaces(leader))

            for pid in running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            os.kill(leader, signal.SIGKILL)
            assert (await next_of(page, PageFact.BROKEN)).text == "Chromium ended unexpectedly"
    assert not remains(leader)
    assert not that_name(profile)
    if IS_ROOT:
        left = [
            path for folder in ("/tmp", "/dev/shm") for path in Path(folder).iterdir() if path.lstat().st_uid == USER
        ]
        assert not left

    picture = decode("h264", frames)[-1].to_ndarray(format="rgb24")
    colour = picture[-picture.shape[0] // 8 :].mean(axis=(0, 1))
    assert (picture.shape, max(abs(colour - ADA.rgb)) < 24) == ((180, 320, 3), True), colour


@pytest.fixture
def rooted(user: None, tmp_path: Path) -> tuple[str, ...]:
    """What goes before a command to give it a root directory of its own: there nobody may make user namespaces
    (unshare(2), EPERM)."""
    if not IS_ROOT:
        pytest.skip("only root can take the namespaces from a browser")
    program = find_chromium()
    if program is None or any((place / "chrome-sandbox").exists() for place in (HELPER, program.resolve().parent)):
        pytest.skip("Chromium has a helper here that makes its sandbox without them")
    (root := tmp_path / "root").mkdir()
    words = ("unshare", "--mount", "sh", "-c", f'mount --rbind / {root} && exec chroot {root} "$@"', "sh")
    if subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    return words


async def test_a_browser_that_cannot_have_its_sandbox_is_not_run_without_it(
    tmp_path: Path, rooted: tuple[str, ...]
) -> None:
    chromiums = Chromiums(str(browser_script(tmp_path, *rooted)))
    with pytest.raises(UnavailableError, match="allow user namespaces to its user"):
        await chromiums.open(PageOrder("http://127.0.0.1:1/", 320, 180, 30))


def seen_by_user(pid: int) -> int:
    """What a process takes by the measure of the browser's, when the user asks."""
    reading, writing = os.pipe()
    asking = os.fork()
    if asking == 0:
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)
        os.write(writing, str(_memory_of(pid)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        found = int(said.read())
    os.waitpid(asking, 0)
    return found


@pytest.mark.skipif(not IS_ROOT, reason="only root has processes here that the user may not look into")
def test_memory_that_nobody_may_look_into_is_counted_without_what_it_shares() -> None:
    """As that of pages in the sandbox of Chromium's helper."""
    size = 64 << 20
    hoard = f"import sys; held = b'x' * {size}; print(flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", hoard], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen, resident = seen_by_user(process.pid), int(status(process.pid)["VmRSS"].split()[0]) << 10
        process.kill()
    assert size < seen < resident - (2 << 20), "the interpreter is some megabytes, which all of them share"
