"""Accounts, apps and tokens from the command line, beside whatever runs."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tapedeck.cli.accounts import parse_expiry
from tapedeck.cli.main import main
from tapedeck.core.access import AppPrincipal, TokenScope
from tapedeck.core.errors import InvalidError, UnauthenticatedError
from tapedeck.wiring import load_settings, open_access

NOW = datetime(2026, 3, 2, tzinfo=UTC)


class Shell:
    """Runs commands on a data directory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path) -> None:
        self.data = data
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: str) -> list[str]:
        """Lines of its output; AssertionError with what it complains of."""
        self._monkeypatch.setattr(sys, "argv", ["tapedeck", *words, "--data-dir", str(self.data)])
        with pytest.raises(SystemExit) as end:
            main()
        said = self._capsys.readouterr()
        assert end.value.code in (0, None), said.err
        return said.out.splitlines()

    def values(self, *words: str) -> dict[str, str]:
        """Its output as names and values."""
        return dict(line.split(maxsplit=1) for line in self(*words))


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Shell:
    return Shell(monkeypatch, capsys, tmp_path / "data")


async def principal(data: Path, text: str) -> AppPrincipal:
    async with open_access(load_settings(data_dir=data)) as access:
        found = await access.authenticate(text)
    assert isinstance(found, AppPrincipal)
    return found


def test_two_accounts_with_apps_and_tokens_of_their_own(shell: Shell) -> None:
    first = shell.values("token", "create", "--name", "first one")
    assert shell.values("account", "create", "acme") == {"account": "acme"}
    app = shell.values("app", "create", "Campus radio", "--account", "acme", "--id", "radio")
    assert app == {"account": "acme", "app": "radio"}
    made = shell.values("token", "create", "--account", "acme", "--app", "radio", "--name", "on air")
    assert (made["account"], made["app"]) == ("acme", "radio")
    assert sorted(shell("account", "list")) == sorted([first["account"], "acme"])
    assert shell("app", "list", "--account", "acme") == ["acme  radio  Campus radio"]
    (line,) = shell("token", "list", "--account", "acme")
    assert line.split()[:4] == [made["id"], "acme", "radio", "realtime_admin"] and line.endswith("valid  on air")
    assert len(shell("token", "list")) == 2
    assert not any(first["token"] in text or made["token"] in text for text in shell("token", "list"))


async def test_scope_and_expiry_are_the_token_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rich.console import Console

    from tapedeck.cli import accounts

    settings, console = load_settings(data_dir=tmp_path / "data"), Console(record=True)
    await accounts.create_token(settings, "n", None, None, TokenScope.REALTIME, "12h", console)
    text = next(line.split()[1] for line in console.export_text().splitlines() if line.startswith("token"))
    token = (await principal(settings.data_dir, text)).token
    assert token.scope is TokenScope.REALTIME and token.expires_at is not None
    assert timedelta(hours=11) < token.expires_at - datetime.now(UTC) <= timedelta(hours=12)
    await accounts.revoke_token(settings, token.id, console)
    with pytest.raises(UnauthenticatedError):
        await principal(settings.data_dir, text)
    await accounts.list_tokens(settings, None, console)
    assert "revoked  n" in console.export_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("account", "create", "a b"), "ACCOUNT_ID"),
        (("app", "create", "n", "--account", "nobody"), "Account not found: nobody"),
        (("app", "create", "n", "--id", "apps"), "APP_ID"),
        (("token", "create", "--app", "nothing"), "App not found: nothing"),
        (("token", "create", "--account", "nobody"), "Account not found: nobody"),
        (("token", "create", "--expires", "tomorrow"), "--expires"),
        (("token", "create", "--expires", "2001-01-01T00:00:00Z"), "is over"),
        (("token", "revoke", "nothing"), "Token not found: nothing"),
        (("tenant", "create", ""), "A name must have 1 to 256 characters"),
        (("app", "create", "two\nlines"), "A name must have 1 to 256 characters"),
        (("token", "create", "--name", "n" * 257), "A name must have 1 to 256 characters"),
    ],
)
def test_what_cannot_be_is_one_sentence(shell: Shell, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        shell(*words)


def test_an_id_that_is_taken_is_refused(shell: Shell) -> None:
    shell("account", "create", "acme")
    with pytest.raises(AssertionError, match="an account acme already"):
        shell("account", "create", "acme")
    shell("app", "create", "n", "--account", "acme", "--id", "one")
    with pytest.raises(AssertionError, match="an app one already"):
        shell("app", "create", "n", "--account", "acme", "--id", "one")


@pytest.mark.parametrize(
    ("text", "span"),
    [("90s", timedelta(seconds=90)), ("5m", timedelta(minutes=5)), ("30d", timedelta(days=30))],
)
def test_an_expiry_may_be_a_span(text: str, span: timedelta) -> None:
    assert parse_expiry(text, NOW) == NOW + span


def test_an_expiry_may_be_a_time() -> None:
    assert parse_expiry("2027-01-01T00:00:00+01:00", NOW) == datetime(2026, 12, 31, 23, tzinfo=UTC)
    with pytest.raises(InvalidError):
        parse_expiry("30", NOW)


def test_a_tenant_and_its_keys(shell: Shell) -> None:
    async def scope(key: str) -> tuple[str, TokenScope]:
        async with open_access(load_settings(data_dir=shell.data)) as access:
            principal, app = await access.enter_tenant(key, None)
        return app.id, principal.token.scope

    shell("account", "create", "school")
    made = shell.values("tenant", "create", "Physics", "--account", "school", "--id", "physics")
    assert made["tenant"] == "physics"
    second = shell.values("key", "create", "physics", "--name", "web", "--expires", "1h")
    lines = shell("key", "list", "--tenant", "physics")
    assert [line.split("  ")[1:3] for line in lines] == [["physics", "rooms_admin"], ["physics", "rooms"]]
    assert asyncio.run(scope(made["key"])) == ("physics", TokenScope.ROOMS_ADMIN)
    assert asyncio.run(scope(second["key"])) == ("physics", TokenScope.ROOMS)
    shell("key", "revoke", second["id"])
    with pytest.raises(UnauthenticatedError):
        asyncio.run(scope(second["key"]))
    with pytest.raises(AssertionError, match="no tenant nothing"):
        shell("key", "create", "nothing")
    with pytest.raises(AssertionError, match="is for one app"):
        shell("token", "create", "--account", "school", "--scope", "rooms")
