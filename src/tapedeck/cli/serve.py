"""`tapedeck serve`: binds, starts a node, prints how to use it, and ends it in order.

On SIGINT or SIGTERM: no new meetings, running recordings are stopped and their films finished, then the process ends. A
second signal ends it at once; nothing recorded is lost by that, films are finished after the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import NoReturn

import structlog
import uvicorn
import uvloop
from rich.console import Console

from tapedeck import wiring
from tapedeck.api.connection import Connection
from tapedeck.core.errors import UnavailableError
from tapedeck.heap import give_back_large_blocks

__all__ = ["leave", "run"]

log = structlog.get_logger(__name__)

DRAIN_S = 60.0
"""How long films may take to finish after a stop."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_SNIPPET = """\
from cloudflare import Cloudflare

client = Cloudflare(base_url="{url}/client/v4", api_token={token})
kit, account, app = client.realtime_kit, "{account}", "{app}"
meeting = kit.meetings.create(app, account_id=account, title="First").data
recording = kit.recordings.start_recordings(app, account_id=account, meeting_id=meeting.id).data
"""


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers: the order of the end is ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(settings: wiring.Settings, console: Console) -> int:
    """Serve until told to stop. UnavailableError with one sentence when the port or the data directory is taken."""
    wiring.configure_logs(settings)
    os.umask(0o077)
    _allow_files()
    give_back_large_blocks()
    with wiring.owned_data_dir(settings), _listen(settings.host, settings.port) as listener:
        wiring.migrate_apart(settings)
        return uvloop.run(_serve(settings, listener, console))


def leave(code: int) -> NoReturn:
    """End the process of a server that has ended, now.

    Its threads may still wait for a store that took a connection and does not answer, or for a name server. Nobody
    needs what they do, but the interpreter would wait for it, two minutes long.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it is gone
            stream.flush()
    os._exit(code)


def _allow_files() -> None:
    """As many open files as the system grants: every publication has a socket, every track a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # some systems name a limit that they do not grant
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except (OSError, UnicodeError) as exc:
        listener.close()
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise UnavailableError(
            f"cannot listen on {host}:{port} ({reason}): stop what uses it, or choose another with --port"
        ) from exc
    listener.setblocking(False)
    return listener


async def _serve(settings: wiring.Settings, listener: socket.socket, console: Console) -> int:
    port = listener.getsockname()[1]
    node = await wiring.build(settings, port)
    asked = asyncio.Event()
    server = _Server(
        uvicorn.Config(
            node.app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
    )

    def on_signal() -> None:
        if asked.is_set():
            server.force_exit = True
            node.abandon()
            for number in _SIGNALS:
                loop.remove_signal_handler(number)  # a third one ends the process as it would any other
        asked.set()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        await node.start()
        gc.collect()
        gc.freeze()  # what is here stays: full collections then take 2 ms instead of 40, in the middle of everything
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        _greet(console, node)
        stopped = asyncio.create_task(asked.wait(), name="signal")
        await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        log.info("serve.draining")
        await node.drain(DRAIN_S)
        server.should_exit = True
        await serving
    finally:
        await node.aclose()
    log.info("serve.ended")
    return 0


def _greet(console: Console, node: wiring.Node) -> None:
    token = node.bootstrap.token
    console.print(f"Tapedeck is at [bold]{node.public_url}[/]", highlight=False)
    console.print(f"account  {node.bootstrap.account_id}", highlight=False)
    console.print(f"app      {node.bootstrap.app.id}", highlight=False)
    if token:
        console.print(f"token    {token}   (shown this once)", highlight=False, soft_wrap=True)
    else:
        console.print("token    as before; `tapedeck token create` makes another", highlight=False)
    snippet = _SNIPPET.format(
        url=node.public_url,
        token=f'"{token}"' if token else "TOKEN",
        account=node.bootstrap.account_id,
        app=node.bootstrap.app.id,
    )
    console.print(snippet, highlight=False, markup=False, soft_wrap=True)
