"""A real `tapedeck serve` in a process of its own, for the demo and for tests that kill it.

Owns the process: environment, address, log file, end. Settings of the caller's environment do not reach it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tapedeck.core.errors import UnavailableError

__all__ = ["Server", "running_server"]

_START_S = 90.0
_STOP_S = 90.0
_ADDRESS = re.compile(rb"https?://[^\s/]+:\d+")


@dataclass(slots=True)
class Server:
    """A server that can be started again on its data directory, with the same port and the same credentials."""

    folder: Path
    "Holds `data/` and `server.log`; the server runs in it."
    env: Mapping[str, str] = field(default_factory=dict)
    "Further `TAPEDECK_*` settings."
    account_id: str = field(default_factory=lambda: secrets.token_hex(16))
    app_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    module: str = "tapedeck"
    "What is run, as `python -m`."
    port: int = 0
    "0: any, and known when it has started. While it is down between two starts, others may be given such a port."
    _process: asyncio.subprocess.Process | None = None
    _reader: asyncio.Task[None] | None = None

    @property
    def base_url(self) -> str:
        """The server's root."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        """TAPEDECK_DATA_DIR."""
        return self.folder / "data"

    @property
    def log_path(self) -> Path:
        """What it wrote to standard error."""
        return self.folder / "server.log"

    @property
    def pid(self) -> int:
        """Its process id; only while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it and return when it takes connections. UnavailableError with its last words when it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        keep = {name: value for name, value in os.environ.items() if not name.startswith("TAPEDECK_")}
        environment = {
            **keep,
            "TAPEDECK_API_TOKEN": self.token,
            "TAPEDECK_ACCOUNT_ID": self.account_id,
            "TAPEDECK_APP_ID": self.app_id,
            **self.env,
        }
        command = (sys.executable, "-m", self.module, "serve", "--host", "127.0.0.1", "--port", str(self.port))
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                "--data-dir",
                str(self.data_dir),
                cwd=self.folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_START_S):
                while line := await self._process.stdout.readline():
                    if found := _ADDRESS.search(line):
                        self.port = int(found[0].rsplit(b":", 1)[1])
                        break
                else:
                    await self._process.wait()
                    raise UnavailableError(f"the server ended while starting: {self.last_words()}")
        except TimeoutError:
            await self.kill()
            raise UnavailableError(f"the server did not start within {_START_S:.0f} s: {self.last_words()}") from None
        self._reader = asyncio.create_task(_drain(self._process.stdout))

    async def stop(self) -> int:
        """Ask it to end (SIGTERM), as an operator would; returns its exit code. Killed when it takes too long."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> int:
        """End it at once (SIGKILL), as a crash would."""
        return await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)
            try:
                async with asyncio.timeout(_STOP_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._reader is not None:
            await self._reader
        self._process = self._reader = None
        return process.returncode or 0

    def last_words(self) -> str:
        """The end of its log."""
        text = self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""
        return " / ".join(text.strip().splitlines()[-3:]) or "(no words)"


async def _drain(stream: asyncio.StreamReader) -> None:
    """Read what nobody wants, so that the pipe never fills."""
    while await stream.read(65_536):
        pass


@asynccontextmanager
async def running_server(
    folder: Path, env: Mapping[str, str] | None = None, module: str = "tapedeck", port: int = 0
) -> AsyncIterator[Server]:
    """A server that is stopped at the end."""
    server = Server(folder, env or {}, module=module, port=port)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
