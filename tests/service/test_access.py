"""Accounts, apps and tokens: the first start, tokens given and taken, nothing secret at rest."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import jwt
import pytest
from tests.service.world import SECRET, START, StillClock, World

from tapedeck.core.access import AppPrincipal, ParticipantPrincipal, TokenOrigin, TokenScope
from tapedeck.core.errors import DeniedError, InvalidError, NotFoundError, UnauthenticatedError
from tapedeck.core.paging import Page
from tapedeck.core.signing import derive_key
from tapedeck.db.engine import Database
from tapedeck.service.access import AccessService
from tapedeck.service.presets import PresetService

CONFIGURED = "a-token-from-the-settings"


async def fresh(path: Path) -> tuple[Database, AccessService]:
    db = Database(f"sqlite:///{path}/fresh.db")
    await db.migrate()
    return db, AccessService(db, StillClock(), SECRET)


async def valid(access: AccessService, token: str) -> bool:
    try:
        await access.authenticate(token)
    except UnauthenticatedError:
        return False
    return True


async def test_the_first_start_makes_everything_and_shows_the_token_once(tmp_path: Path) -> None:
    db, access = await fresh(tmp_path)
    first = await access.bootstrap()
    assert first.token is not None and first.token.startswith("tdk_")
    principal = await access.authenticate(first.token)
    assert await access.enter(first.token, first.account_id, first.app.id) == (principal, first.app)
    presets = await PresetService(db, StillClock()).list(first.app, Page(), None)
    assert [p.name for p in presets.items] == ["group_call_host", "group_call_participant", "recorder_preset_v2"]
    again = await access.bootstrap()
    assert (again.account_id, again.app, again.token) == (first.account_id, first.app, None)
    await db.aclose()


async def test_configured_ids_and_token_are_used_and_never_shown(tmp_path: Path) -> None:
    db, access = await fresh(tmp_path)
    made = await access.bootstrap("acme", "campus", CONFIGURED)
    assert (made.account_id, made.app.id, made.token) == ("acme", "campus", None)
    assert await valid(access, CONFIGURED)
    assert (await access.bootstrap("acme", "campus", CONFIGURED)).app == made.app
    assert len(await access.list_tokens()) == 1
    second = await access.bootstrap("acme", "second", CONFIGURED)
    assert second.app.id == "second"
    other = await access.bootstrap("other", None, CONFIGURED + "!")
    assert other.account_id == "other" and other.app.id not in ("campus", "second")
    await db.aclose()


async def test_a_configured_token_that_is_replaced_is_void_and_can_return(tmp_path: Path) -> None:
    db, access = await fresh(tmp_path)
    await access.bootstrap("acme", "campus", CONFIGURED)
    issued, _ = await access.issue_token("acme")
    await access.bootstrap("acme", "campus", CONFIGURED + "2")
    assert [await valid(access, t) for t in (CONFIGURED, CONFIGURED + "2", issued)] == [False, True, True]
    await access.bootstrap("acme", "campus", CONFIGURED)
    assert [await valid(access, t) for t in (CONFIGURED, CONFIGURED + "2", issued)] == [True, False, True]
    await db.aclose()


@pytest.mark.parametrize(
    ("account_id", "app_id", "token", "words"),
    [
        ("a b", None, None, "ACCOUNT_ID"),
        ("x" * 65, None, None, "ACCOUNT_ID"),
        (None, "a/b", None, "APP_ID"),
        (None, "apps", None, "APP_ID"),
        (None, None, "short", "API_TOKEN"),
        (None, None, "with a space in it", "API_TOKEN"),
        ("other", "campus", None, "belongs to another account"),
    ],
)
async def test_settings_that_cannot_be_used_are_refused(
    world: World, account_id: str | None, app_id: str | None, token: str | None, words: str
) -> None:
    with pytest.raises(InvalidError, match=words):
        await world.access.bootstrap(account_id, app_id, token)
    assert len(await world.access.list_tokens()) == 1


async def test_a_revoked_token_cannot_return_by_configuration(world: World) -> None:
    text, token = await world.access.issue_token("acme")
    await world.access.revoke_token(token.id)
    with pytest.raises(InvalidError, match="was revoked"):
        await world.access.bootstrap("acme", "campus", text)
    text, _ = await world.access.issue_token("acme")
    with pytest.raises(InvalidError, match="another account"):
        await world.access.bootstrap("other", None, text)


async def test_tokens_are_listed_without_their_texts_and_end_when_told(world: World) -> None:
    text, token = await world.access.issue_token("acme", "campus", "ci", TokenScope.REALTIME, START + timedelta(1))
    assert await world.access.authenticate(text) == AppPrincipal(token)
    assert (token.name, token.scope, token.origin) == ("ci", TokenScope.REALTIME, TokenOrigin.ISSUED)
    assert token in await world.access.list_tokens("acme")
    assert await world.access.list_tokens("other") == []
    world.clock.move(86_399)
    assert await valid(world.access, text)
    world.clock.move(1)
    assert not await valid(world.access, text)
    other, revoked = await world.access.issue_token("acme")
    await world.access.revoke_token(revoked.id)
    assert not await valid(world.access, other)
    for unknown in (revoked.id, "nothing"):
        with pytest.raises(NotFoundError):
            await world.access.revoke_token(unknown)
    for account, app in (("nobody", None), ("acme", "nothing")):
        with pytest.raises(NotFoundError):
            await world.access.issue_token(account, app)


async def test_nothing_on_disk_tells_a_token(world: World) -> None:
    text, _ = await world.access.issue_token("acme")
    await world.db.aclose()
    stored = b"".join(path.read_bytes() for path in world.root.glob("tapedeck.db*"))
    assert b"acme" in stored
    for secret in (text, text.removeprefix("tdk_"), world.token):
        assert secret.encode() not in stored


async def test_a_participant_token_has_the_documented_claims(world: World) -> None:
    meeting = await world.meeting()
    person = await world.person(meeting)
    token = world.access.participant_token(world.app, person)
    claims = jwt.decode(token, options={"verify_signature": False})
    now = int(START.timestamp())
    assert claims == {
        "orgId": "campus",
        "meetingId": meeting.id,
        "participantId": person.id,
        "presetId": person.preset_id,
        "iat": now,
        "exp": now + 86_400,
        "ver": 1,
    }
    assert jwt.get_unverified_header(token)["alg"] == "HS256"
    principal = await world.access.authenticate(token)
    assert isinstance(principal, ParticipantPrincipal)
    assert principal.participant == person and principal.preset.can_record


@pytest.mark.filterwarnings("ignore:The HMAC key is 32 bytes")
async def test_forged_participant_tokens_are_unknown(world: World) -> None:
    person = await world.person(await world.meeting())
    token = world.access.participant_token(world.app, person)
    claims = jwt.decode(token, options={"verify_signature": False})
    key = derive_key(SECRET, "participant-token")
    forged = [
        jwt.encode(claims, derive_key("another secret", "participant-token"), algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
        jwt.encode(claims, key, algorithm="HS512"),
        jwt.encode(claims | {"ver": 2}, key, algorithm="HS256"),
        jwt.encode(claims | {"exp": "tomorrow"}, key, algorithm="HS256"),
        jwt.encode(claims | {"exp": claims["iat"]}, key, algorithm="HS256"),
        jwt.encode(claims | {"orgId": "other"}, key, algorithm="HS256"),
        jwt.encode(claims | {"meetingId": "other"}, key, algorithm="HS256"),
        jwt.encode({k: v for k, v in claims.items() if k != "exp"}, key, algorithm="HS256"),
        token[:-3],
        token.replace(".", "..", 1),
    ]
    for text in forged:
        assert not await valid(world.access, text), text
    assert await valid(world.access, jwt.encode(claims, key, algorithm="HS256"))


async def test_who_may_enter_which_app(world: World) -> None:
    other = await world.access.create_app("acme", "Other")
    scoped, _ = await world.access.issue_token("acme", other.id)
    principal = await world.access.authenticate(scoped)
    assert await world.access.enter(scoped, "acme", other.id) == (principal, other)
    with pytest.raises(DeniedError):
        await world.access.enter(scoped, "acme", "campus")
    with pytest.raises(DeniedError):
        await world.access.enter(world.token, "other", "campus")
    with pytest.raises(NotFoundError):
        await world.access.enter(world.token, "acme", "nothing")
    with pytest.raises(UnauthenticatedError):
        await world.access.enter(None, "acme", "campus")
    listed = await world.access.list_apps(principal, "acme", Page(), None, ascending=True)
    assert [app.id for app in listed.items] == [other.id]
    found = await world.access.list_apps(world.backend, "acme", Page(), "OTH", ascending=True)
    assert [app.id for app in found.items] == [other.id]
    with pytest.raises(NotFoundError):
        await world.access.create_app("nobody", "x")


async def test_a_token_that_another_process_revokes_is_void_at_once(world: World) -> None:
    """The server believes what it read of a token only while nobody has committed anything since."""
    text, token = await world.access.issue_token(world.account_id)
    other = Database(f"sqlite:///{world.root}/tapedeck.db")
    try:
        for _ in range(3):
            assert isinstance(await world.access.authenticate(text), AppPrincipal)
        await AccessService(other, world.clock, "another").revoke_token(token.id)
        with pytest.raises(UnauthenticatedError):
            await world.access.authenticate(text)
    finally:
        await other.aclose()


async def test_a_token_that_expires_is_void_although_nothing_was_written(world: World) -> None:
    text, _ = await world.access.issue_token(world.account_id, expires_at=world.clock.now() + timedelta(seconds=5))
    assert isinstance(await world.access.authenticate(text), AppPrincipal)
    world.clock.move(5)
    with pytest.raises(UnauthenticatedError):
        await world.access.authenticate(text)
