"""The command line: arguments in, exit code out. Errors become one sentence on standard error, and exit code 1."""

from __future__ import annotations

import asyncio
import sys
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from tapedeck import __version__
from tapedeck.cli import accounts
from tapedeck.cli.late import LateModule
from tapedeck.core.access import TokenScope
from tapedeck.core.errors import InvalidError, TapedeckError
from tapedeck.core.layouts import Layout
from tapedeck.core.remote import RemoteAccount

if TYPE_CHECKING:
    from tapedeck import wiring
else:
    wiring = LateModule("tapedeck.wiring")

__all__ = ["app", "main"]

_FILM = Path("film.mp4")

app = typer.Typer(
    help="Tapedeck records WebRTC meetings on your own machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
token_app = typer.Typer(help="API tokens of backends: make, list, revoke.", no_args_is_help=True)
account_app = typer.Typer(help="Accounts, which have apps.", no_args_is_help=True)
app_app = typer.Typer(help="Apps, which have meetings.", no_args_is_help=True)
tenant_app = typer.Typer(help="Tenants of the rooms API.", no_args_is_help=True)
key_app = typer.Typer(help="Keys of tenants for the rooms API: make, list, revoke.", no_args_is_help=True)
app.add_typer(tenant_app, name="tenant")
app.add_typer(key_app, name="key")
app.add_typer(token_app, name="token")
app.add_typer(account_app, name="account")
app.add_typer(app_app, name="app")
_Account = Annotated[str | None, typer.Option(help="The account; default the first one, or all of them.")]
_DataDir = Annotated[Path | None, typer.Option(help="Where everything is kept (TAPEDECK_DATA_DIR).")]


def _version(wanted: bool) -> None:
    if wanted:
        Console().print(f"tapedeck {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Tapedeck records WebRTC meetings on your own machines."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address of the HTTP server (TAPEDECK_HOST).")] = None,
    port: Annotated[int | None, typer.Option(help="Its port; 0 takes a free one (TAPEDECK_PORT).")] = None,
    data_dir: _DataDir = None,
) -> None:
    """Run the recorder: API, WebRTC and capture in this process, films in child processes."""
    from tapedeck.cli import serve as command

    command.leave(command.run(wiring.load_settings(host=host, port=port, data_dir=data_dir), Console()))


@token_app.command("create")
def token_create(
    data_dir: _DataDir = None,
    name: Annotated[str, typer.Option(help="What the token is for.")] = "token",
    account: _Account = None,
    app_id: Annotated[str | None, typer.Option("--app", help="The only app it is good for; default all.")] = None,
    scope: Annotated[
        TokenScope, typer.Option(help="realtime: RealtimeKit's routes, and reading under /v1; realtime_admin: all.")
    ] = TokenScope.REALTIME_ADMIN,
    expires: Annotated[str | None, typer.Option(help="A span such as 12h or 30d, or an ISO 8601 time.")] = None,
) -> None:
    """Make an API token and print it: it is shown once."""
    settings = wiring.load_settings(data_dir=data_dir)
    asyncio.run(accounts.create_token(settings, name, account, app_id, scope, expires, Console()))


@token_app.command("list")
def token_list(data_dir: _DataDir = None, account: _Account = None) -> None:
    """List tokens, without their texts."""
    asyncio.run(accounts.list_tokens(wiring.load_settings(data_dir=data_dir), account, Console()))


@token_app.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(help="Its id, as `token list` prints it.")], data_dir: _DataDir = None
) -> None:
    """Make a token void at once, on a running server too."""
    asyncio.run(accounts.revoke_token(wiring.load_settings(data_dir=data_dir), token_id, Console()))


@tenant_app.command("create")
def tenant_create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    data_dir: _DataDir = None,
    account: _Account = None,
    app_id: Annotated[str | None, typer.Option("--id", help="Its id, an app's; default a random one.")] = None,
) -> None:
    """Make a tenant with a key of an administrator, and print the key: it is shown once."""
    asyncio.run(accounts.create_tenant(wiring.load_settings(data_dir=data_dir), name, account, app_id, Console()))


@tenant_app.command("recorder")
def tenant_recorder(
    tenant: Annotated[str, typer.Argument(help="The tenant: the id of its app.")],
    data_dir: _DataDir = None,
    account: Annotated[str, typer.Option(help="Its account at the recorder.")] = "",
    app_id: Annotated[str, typer.Option("--app", help="Its app at the recorder.")] = "",
    base_url: Annotated[
        str, typer.Option(help="Where the recorder's API is.")
    ] = "https://api.cloudflare.com/client/v4",
    local: Annotated[bool, typer.Option("--local", help="This server records again.")] = False,
) -> None:
    """Have a RealtimeKit app record a tenant's rooms. Its API token is read from the standard input."""
    there = None
    if not local:
        if not (account and app_id):
            raise InvalidError("--account and --app say which RealtimeKit app records; --local that this server does")
        token = getpass("API token: ") if sys.stdin.isatty() else sys.stdin.readline()
        if not token.strip():
            raise InvalidError("The API token of the recorder is read from the standard input, which is empty")
        there = RemoteAccount(base_url.rstrip("/"), account, app_id, token.strip())
    asyncio.run(accounts.set_recorder(wiring.load_settings(data_dir=data_dir), tenant, there, Console()))


@tenant_app.command("room")
def tenant_room(
    tenant: Annotated[str, typer.Argument(help="The tenant: the id of its app.")],
    room: Annotated[str, typer.Argument(help="A room of it.")],
    meeting: Annotated[str, typer.Argument(help="The meeting at its recorder.")],
    data_dir: _DataDir = None,
) -> None:
    """Let a room be a meeting that the tenant's recorder has already; `sync` brings what was recorded there."""
    asyncio.run(accounts.bind_room(wiring.load_settings(data_dir=data_dir), tenant, room, meeting, Console()))


@key_app.command("create")
def key_create(
    tenant: Annotated[str, typer.Argument(help="The tenant: the id of its app.")],
    data_dir: _DataDir = None,
    name: Annotated[str, typer.Option(help="What the key is for; the audit trail names it.")] = "key",
    admin: Annotated[
        bool, typer.Option("--admin", help="May see what was deleted, hold, purge, set retention.")
    ] = False,
    expires: Annotated[str | None, typer.Option(help="A span such as 12h or 30d, or an ISO 8601 time.")] = None,
) -> None:
    """Make a key of a tenant and print it: it is shown once."""
    settings = wiring.load_settings(data_dir=data_dir)
    asyncio.run(accounts.create_key(settings, tenant, name, admin, expires, Console()))


@key_app.command("list")
def key_list(
    data_dir: _DataDir = None,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
) -> None:
    """List keys, without their texts."""
    asyncio.run(accounts.list_keys(wiring.load_settings(data_dir=data_dir), tenant, Console()))


@key_app.command("revoke")
def key_revoke(
    key_id: Annotated[str, typer.Argument(help="Its id, as `key list` prints it.")], data_dir: _DataDir = None
) -> None:
    """Make a key void at once, on a running server too."""
    asyncio.run(accounts.revoke_token(wiring.load_settings(data_dir=data_dir), key_id, Console()))


@account_app.command("create")
def account_create(
    account_id: Annotated[str | None, typer.Argument(help="Its id; default a random one.")] = None,
    data_dir: _DataDir = None,
) -> None:
    """Make an account."""
    asyncio.run(accounts.create_account(wiring.load_settings(data_dir=data_dir), account_id, Console()))


@account_app.command("list")
def account_list(data_dir: _DataDir = None) -> None:
    """List accounts."""
    asyncio.run(accounts.list_accounts(wiring.load_settings(data_dir=data_dir), Console()))


@app_app.command("create")
def app_create(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    data_dir: _DataDir = None,
    account: _Account = None,
    app_id: Annotated[str | None, typer.Option("--id", help="Its id; default a random one.")] = None,
) -> None:
    """Make an app with the presets every app has."""
    asyncio.run(accounts.create_app(wiring.load_settings(data_dir=data_dir), name, account, app_id, Console()))


@app_app.command("list")
def app_list(data_dir: _DataDir = None, account: _Account = None) -> None:
    """List apps."""
    asyncio.run(accounts.list_apps(wiring.load_settings(data_dir=data_dir), account, Console()))


@app.command()
def show(
    logdir: Annotated[Path, typer.Argument(help="A directory of captures/.", exists=True, file_okay=False)],
) -> None:
    """Print a media log in words."""
    from tapedeck.cli.show import show as command

    command(logdir, Console())


@app.command()
def replay(
    logdir: Annotated[Path, typer.Argument(help="A directory of captures/.", exists=True, file_okay=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The film: .mp4, .webm, .tar (HLS with timed metadata); .m4a, .mp3, .ogg: its sound."
        ),
    ] = _FILM,
    recording: Annotated[
        str | None, typer.Option(help="Only the spans of this recording; default the whole log.")
    ] = None,
    size: Annotated[str, typer.Option(help="Width and height in pixels.")] = "1280x720",
    layout: Annotated[Layout, typer.Option(help="How people share the picture.")] = Layout.AUTO,
    focus: Annotated[
        str | None,
        typer.Option(help="Id, custom id or name of who is large (speaker, sidebar) or alone (single)."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Id, custom id or name of who is seen and heard; may be repeated.")
    ] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Where in the film to begin: 60 or 1:00.")] = None,
    to: Annotated[str | None, typer.Option(help="Where in the film to end.")] = None,
) -> None:
    """Make a film of a media log, with no server running."""
    from tapedeck.cli.replay import parse_moment, parse_size
    from tapedeck.cli.replay import replay as command
    from tapedeck.render.excerpt import Excerpt

    width, height = parse_size(size)
    console = Console()
    raise typer.Exit(
        command(
            logdir,
            out,
            recording_id=recording,
            width=width,
            height=height,
            layout=layout,
            focus=focus,
            excerpt=Excerpt(
                0 if from_ is None else parse_moment(from_),
                None if to is None else parse_moment(to),
                tuple(only) if only else None,
            ),
            console=console,
        )
    )


@app.command()
def doctor(
    data_dir: _DataDir = None,
    storage: Annotated[
        str | None, typer.Option(help="Try a storage instead: the URL of a bucket, or a file with a storage_config.")
    ] = None,
) -> None:
    """Look at this machine, or at a storage, and say what a recorder would miss."""
    from tapedeck.cli.doctor import doctor as command
    from tapedeck.cli.doctor import tell_storage

    settings = wiring.load_settings(data_dir=data_dir)
    if storage is not None:
        raise typer.Exit(asyncio.run(tell_storage(Console(), wiring.probe_storage(settings, storage))))
    code = command(
        Console(),
        data_dir=settings.data_dir,
        host=settings.host,
        port=settings.port,
        rtc_ports=settings.rtc_port_range,
        browser=lambda: wiring.tell_browser(settings),
    )
    raise typer.Exit(code)


def main() -> None:
    """Entry point of the `tapedeck` command."""
    try:
        app()
    except TapedeckError as exc:
        _complain(str(exc))
    except OSError as exc:
        _complain(f"{exc.strerror or exc}{f': {exc.filename}' if exc.filename else ''}")


def _complain(text: str) -> NoReturn:
    Console(stderr=True).print(f"[red]tapedeck:[/] {escape(text)}", highlight=False, soft_wrap=True)
    raise SystemExit(1) from None
