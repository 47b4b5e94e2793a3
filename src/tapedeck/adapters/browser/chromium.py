"""One Chromium process with everything that belongs to it: own profile, own process group, bounded memory.

Owns starting, watching and ending it: when `aclose` returns, no process of it is left and its profile is gone. It is
started behind capture in priority, as what the kernel ends first when memory runs out, and to die with this process.
Refuses to know pages (`tab.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

from tapedeck.adapters.browser.devtools import DevTools, OnEvent
from tapedeck.core.errors import UnavailableError

__all__ = ["Chromium", "clear_profiles", "find_chromium", "sandbox_problem", "to_the_end"]

_KNOWN = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "FONTCONFIG_PATH")
_GRACE_S = 3.0
_LOOK_S = 0.02
_LOG_BYTES = 16 << 10

_LAUNCH = """
import ctypes, os, signal, sys
fd = int(sys.argv[1])
for number in (3, 4):
    os.dup2(fd, number)
    os.set_inheritable(number, True)
if fd > 4:
    os.close(fd)
os.nice(3)
try:
    open("/proc/self/oom_score_adj", "w").write("600")
except OSError:
    pass
try:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
except (OSError, AttributeError):
    pass
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Brings the pipe to the numbers that Chromium expects (3 and 4), and ties the process to its parent
(PR_SET_PDEATHSIG)."""

FLAGS = (
    "--headless=new",
    "--enable-automation",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-component-extensions-with-background-pages",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-crash-reporter",
    # The reporter's processes run all the same, in sessions of their own, where nobody would count or end them.
    "--disable-crashpad-for-testing",
    "--disable-client-side-phishing-detection",
    "--disable-domain-reliability",
    "--disable-field-trial-config",
    "--disable-print-preview",
    "--disable-notifications",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-ipc-flooding-protection",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--password-store=basic",
    "--use-mock-keychain",
    "--hide-scrollbars",
    "--metrics-recording-only",
    "--no-pings",
    "--disable-quic",
    "--dns-prefetch-disable",
    "--deny-permission-prompts",
    "--no-startup-window",
    # What it would tell and ask its maker of its own accord goes to nobody: the gateway knows that name.
    "--gaia-url=https://recorder.invalid",
    "--google-apis-url=https://recorder.invalid",
    "--apps-gallery-update-url=https://recorder.invalid/",
    "--component-updater=url-source=https://recorder.invalid/",
)


def find_chromium(path: str = "") -> Path | None:
    """The browser to use: `path` if it is given, else the first that the system knows; None when there is none."""
    for name in [path] if path else _KNOWN:
        found = shutil.which(name)
        if found is not None:
            return Path(found)
    return None


def sandbox_problem() -> str | None:
    """Why Chromium's sandbox cannot work in this process, as far as that is known without trying; None if it may."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return (
            "Chromium's sandbox does not work for root: run the server as another user, or set "
            "TAPEDECK_BROWSER_SANDBOX=off where a container or virtual machine around the server takes its place"
        )
    return None


class Chromium:
    """One browser. `start` it, talk to it through `devtools`, `aclose` it."""

    def __init__(self, program: Path, *, sandbox: bool, prefix: str = "tapedeck-browser-") -> None:
        """`prefix`: what the name of its profile's directory, among temporary files, begins with."""
        self._program = program
        self._sandbox = sandbox
        self._prefix = prefix
        self.profile = Path()
        "Where its profile is, while it has one."
        self._process: asyncio.subprocess.Process | None = None
        self._complaints = bytearray()
        self._listening: asyncio.Task[None] | None = None
        self.devtools: DevTools

    @property
    def pid(self) -> int:
        """The process that leads the group; 0 before the start."""
        return 0 if self._process is None else self._process.pid

    async def start(self, on_event: OnEvent, flags: Sequence[str]) -> None:
        """UnavailableError when it does not run, with the reason."""
        ours, theirs = socket.socketpair()
        try:
            # Not in a thread: one that is given up would make a directory that nobody knows of.
            self.profile = Path(tempfile.mkdtemp(prefix=self._prefix))
            (self.profile / "tmp").mkdir()
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _LAUNCH, str(theirs.fileno()), str(self._program)),
                *(*FLAGS, *_memory_flags(), *([] if self._sandbox else ["--no-sandbox"]), *flags),
                *(f"--user-data-dir={self.profile / 'profile'}", f"--disk-cache-size={32 << 20}"),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env=_environment(self.profile),
                cwd=self.profile,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
        except BaseException as exc:
            ours.close()
            if isinstance(exc, OSError):
                raise UnavailableError(f"Chromium could not be started: {exc.strerror or exc}") from exc
            raise
        finally:
            theirs.close()
        self._listening = asyncio.create_task(self._listen(self._process), name="chromium")
        self.devtools = DevTools(on_event)
        await self.devtools.open(ours)

    def complaint(self) -> str:
        """Why it ended, in its own words as far as they are understood."""
        text = self._complaints.decode(errors="replace")
        if "No usable sandbox" in text or "without --no-sandbox" in text:
            return (
                "Chromium's sandbox does not work here: allow user namespaces to its user, install the package "
                "chromium-sandbox, or set TAPEDECK_BROWSER_SANDBOX=off where a container or virtual machine around the "
                "server takes its place"
            )
        return "Chromium ended unexpectedly"

    def processes(self) -> list[int]:
        """Its processes, the leader included. Blocks on /proc."""
        return [] if self._process is None else _session_of(self._process.pid)

    def memory_bytes(self) -> int:
        """What all its processes take, shared pages counted once (PSS). Blocks on /proc."""
        return sum(_memory_of(pid) for pid in self.processes())

    def takes_more_than(self, limit_bytes: int) -> bool:
        """Whether all its processes take more than that (PSS). Blocks on /proc.

        The kernel walks all their pages to count shared ones once: it is asked to only if they would be too many
        with those counted for each process.
        """
        return sum(_resident_of(pid) for pid in self.processes()) > limit_bytes < self.memory_bytes()

    def disk_bytes(self) -> int:
        """What its profile takes of the disk: all that its pages store. Blocks on it."""
        return _size_of(self.profile)

    async def aclose(self) -> None:
        """End it with all its children, and forget its profile. Again is harmless."""
        process = self._process
        if hasattr(self, "devtools"):
            await self.devtools.aclose()
        if process is not None:
            await self._kill(process.pid)
            await process.wait()
            self._process = None
        if self._listening is not None:
            # To the end, which comes with the last process: a pipe that is left before it stays open with its loop.
            await asyncio.wait({self._listening}, timeout=_GRACE_S)
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        if self.profile.name:
            await asyncio.to_thread(shutil.rmtree, self.profile, ignore_errors=True)

    async def _kill(self, leader: int) -> None:
        """Nothing is left of the group when this returns, but what the kernel cannot end within the grace."""
        deadline = asyncio.get_running_loop().time() + _GRACE_S
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, signal.SIGKILL)
            left = await asyncio.to_thread(_remains_of, leader)
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            if not left:
                return
            await asyncio.sleep(_LOOK_S)

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while data := await process.stderr.read(1 << 12):
            self._complaints += data
            del self._complaints[:-_LOG_BYTES]


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Who is cancelled meanwhile waits for it all the same: half an end leaves processes that nobody ends."""
    doing = asyncio.ensure_future(work)
    try:
        await asyncio.shield(doing)
    finally:
        await doing


def clear_profiles(prefix: str) -> None:
    """Remove what browsers of an earlier process left. Blocks on the disk."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        shutil.rmtree(path, ignore_errors=True)


def _environment(profile: Path) -> dict[str, str]:
    """Nothing of ours, secrets least of all, but where programs and words are found."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return kept | {"HOME": str(profile), "TMPDIR": str(profile / "tmp"), "XDG_RUNTIME_DIR": str(profile / "tmp")}


def _memory_flags() -> tuple[str, ...]:
    """Where the shared memory of the system is small (64 MB in many containers) it lies among temporary files."""
    with contextlib.suppress(OSError):
        shared = os.statvfs("/dev/shm")
        if shared.f_bavail * shared.f_frsize >= 512 << 20:
            return ()
    return ("--disable-dev-shm-usage",)


def _session_of(leader: int) -> list[int]:
    """Processes that live in the session a leader made, the dead ones not counted."""
    return [pid for pid, state, _ in _members(leader) if state not in "ZX"]


def _remains_of(leader: int) -> list[int]:
    """Processes of a session that are to be waited for: those that live, and the dead that somebody has to ask how they
    ended. That is this process where it is the first of a container and so becomes the parent of all orphans: else each
    of them keeps its number for ever. How the leader ended is asked by who started it."""
    members = {pid: (state, parent) for pid, state, parent in _members(leader) if state != "X"}
    left = []
    for pid, (state, parent) in members.items():
        if state == "Z" and parent == os.getpid() and pid != leader:
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    left.append(pid)  # some of its threads have yet to end
        elif state != "Z" or parent in members:
            left.append(pid)
    return left


def _members(leader: int) -> Iterator[tuple[int, str, int]]:
    """Number, state and parent of all in the session that a leader made (proc(5), stat: fields 1, 3, 4 and 6)."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                fields = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    yield int(name), fields[0], int(fields[1])


def _memory_of(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return _own_memory_of(pid)


def _own_memory_of(pid: int) -> int:
    """Of a process that shows its pages to nobody, as in the sandbox of the package chromium-sandbox: without those of
    files, which it shares with the browser, and which would be most of it."""
    own = 0
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines():
            if line.startswith(("RssAnon:", "RssShmem:")):
                own += int(line.split()[1]) << 10
    return own


def _size_of(directory: Path) -> int:
    """Blocks of all files below, as far as they can be seen: what is written to meanwhile comes and goes."""
    size = 0
    for root, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(root, name)).st_blocks << 9
    return size


def _resident_of(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
