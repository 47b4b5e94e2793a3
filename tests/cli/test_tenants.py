"""Tenants from the command line: their keys, the recorder that records for them, rooms that are meetings there."""

from __future__ import annotations

import asyncio
import io
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from tests.cli.test_accounts import Shell, shell

from tapedeck.core.meeting import Meeting, MeetingStatus
from tapedeck.core.remote import RemoteAccount
from tapedeck.db import rooms
from tapedeck.db.engine import Database
from tapedeck.wiring import load_settings, open_remote

__all__ = ["shell"]

TOKEN = "token-of-the-recorder"
THERE = ("--account", "far-account", "--app", "far-app", "--base-url", "https://recorder.example.org/client/v4/")


@pytest.fixture
def tenant(shell: Shell) -> str:
    return shell.values("tenant", "create", "Physics")["tenant"]


def say(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def recorder_of(shell: Shell, tenant: str) -> RemoteAccount | None:
    async def ask() -> RemoteAccount | None:
        async with open_remote(load_settings(data_dir=shell.data)) as (_, remote):
            return await remote.account(tenant)

    return asyncio.run(ask())


def room_of(shell: Shell, tenant: str) -> str:
    """A room, made behind the command line's back: that is what the API is for."""

    async def make() -> str:
        db, now = Database(load_settings(data_dir=shell.data).effective_database_url), datetime.now(UTC)
        meeting = Meeting(str(uuid4()), tenant, now, now, title="Waves", status=MeetingStatus.ACTIVE)
        try:
            async with db.write() as session:
                await rooms.add_meeting(session, meeting)
        finally:
            await db.aclose()
        return meeting.id

    return asyncio.run(make())


def test_another_recorder_records_for_a_tenant_until_this_one_does_again(
    shell: Shell, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, f"{TOKEN}\n")
    said = shell("tenant", "recorder", tenant, *THERE)
    assert [line.split() for line in said] == [
        ["tenant", tenant],
        ["recorder", "https://recorder.example.org/client/v4"],
    ]
    expected = RemoteAccount("https://recorder.example.org/client/v4", "far-account", "far-app", TOKEN)
    assert recorder_of(shell, tenant) == expected
    kept = b"".join(path.read_bytes() for path in Path(shell.data).rglob("*") if path.is_file())
    assert b"recorder.example.org" in kept and TOKEN.encode() not in kept
    assert [line.split(maxsplit=1)[1] for line in shell("tenant", "recorder", tenant, "--local")] == [
        tenant,
        "this server",
    ]
    assert recorder_of(shell, tenant) is None


@pytest.mark.parametrize(
    ("words", "typed", "said"),
    [
        (THERE, "", "read from the standard input, which is empty"),
        (THERE, "  \n", "read from the standard input, which is empty"),
        (("--account", "far-account"), TOKEN, "--account and --app say"),
        ((*THERE[:4], "--base-url", "ftp://recorder.example.org"), TOKEN, "base URL of the recorder"),
        ((*THERE[:4], "--base-url", "https://u:p@recorder.example.org"), TOKEN, "base URL of the recorder"),
    ],
)
def test_what_is_wrong_with_a_recorder_is_one_sentence_without_the_token(
    shell: Shell, tenant: str, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], typed: str, said: str
) -> None:
    say(monkeypatch, typed)
    with pytest.raises(AssertionError, match=said) as told:
        shell("tenant", "recorder", tenant, *words)
    assert TOKEN not in str(told.value)
    assert recorder_of(shell, tenant) is None


def test_a_room_is_made_a_meeting_that_is_there_already(
    shell: Shell, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = room_of(shell, tenant), room_of(shell, tenant)
    say(monkeypatch, TOKEN)
    shell("tenant", "recorder", tenant, *THERE)
    assert shell.values("tenant", "room", tenant, f"room_{first}", "m1") == {"room": f"room_{first}", "meeting": "m1"}
    for room, meeting, said in (
        (first, "m2", "is a meeting of the recorder already"),
        (second, "m1", "Another room is that meeting"),
        (str(uuid4()), "m3", "no such room"),
    ):
        with pytest.raises(AssertionError, match=said):
            shell("tenant", "room", tenant, room, meeting)
    with pytest.raises(AssertionError, match="no tenant nothing"):
        shell("tenant", "room", "nothing", second, "m2")


def test_who_is_no_tenant_gets_neither_key_nor_recorder(
    shell: Shell, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(monkeypatch, TOKEN)
    for words in (("key", "create", "nobody"), ("tenant", "recorder", "nobody", *THERE)):
        with pytest.raises(AssertionError, match="There is no tenant nobody"):
            shell(*words)
    with pytest.raises(AssertionError, match="an app physics already"):
        for _ in range(2):
            shell("tenant", "create", "Again", "--id", "physics")


def test_a_key_is_shown_once_and_may_end_by_itself(shell: Shell, tenant: str) -> None:
    made = shell.values("key", "create", tenant, "--name", "web", "--expires", "2h")
    admin = shell.values("key", "create", tenant, "--admin")
    listed = shell("key", "list", "--tenant", tenant)
    assert len(listed) == 3 and not any(made["key"] in line or admin["key"] in line for line in listed)
    (line,) = [line for line in listed if line.startswith(made["id"])]
    ends = datetime.fromisoformat(line.split("expires ")[1].split()[0])
    assert timedelta(hours=1) < ends - datetime.now(UTC) <= timedelta(hours=2)
    assert shell.values("key", "revoke", made["id"]) == {"revoked": made["id"]}
    (line,) = [line for line in shell("key", "list", "--tenant", tenant) if line.startswith(made["id"])]
    assert line.endswith("revoked  web")
    with pytest.raises(AssertionError, match="Token not found: nothing"):
        shell("key", "revoke", "nothing")
