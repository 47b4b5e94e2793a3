"""Retention by a clock that a test moves: what is due, holds, undelete, purges that leave nothing, the trail of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.pace import eventually
from tests.service.test_archive import ME, Vaulted, hot, moto_url, vault
from tests.service.world import World

from tapedeck.adapters.storage.local import LocalStore
from tapedeck.core.archive import ArchiveState, Tier
from tapedeck.core.destination import Destination, DestinationKind, DestinationState, Upload
from tapedeck.core.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from tapedeck.core.library import Span
from tapedeck.core.meeting import App
from tapedeck.core.naming import object_key
from tapedeck.core.recording import Recording
from tapedeck.core.retention import RetentionStep
from tapedeck.db import archive as places
from tapedeck.db import destinations
from tapedeck.service.retention import RetentionService
from tapedeck.workers.archive import LocalFiles

__all__ = ["moto_url", "vault"]

DAY = timedelta(days=1)


async def delete(vault: Vaulted, recording: Recording) -> None:
    """As the library does."""
    place, now = await vault.place(recording), vault.world.clock.now()
    async with vault.world.db.write() as session:
        await places.save_place(session, replace(place, deleted_at=now), now)


async def other_app(world: World) -> App:
    return await world.access.create_app(world.account_id, "Other")


async def steps(vault: Vaulted, app: App | None = None) -> list[tuple[str, RetentionStep]]:
    return [(due.recording_id, due.step) for due in await vault.retention.due(app or vault.world.app)]


async def test_archive_then_delete_then_purge_each_on_its_day(vault: Vaulted) -> None:
    world, clock = vault.world, vault.world.clock
    recording = await vault.ready()
    wanted = {"archive_after_days": 10, "delete_after_days": 30, "purge_after_days": 7}
    await vault.retention.set_policy(world.app, ME, wanted)
    born = (await vault.place(recording)).created_at
    due_at = {10: RetentionStep.ARCHIVE, 30: RetentionStep.DELETE, 37: RetentionStep.PURGE}
    for day, step in due_at.items():
        clock.move((born + day * DAY - clock.now()).total_seconds() - 1)
        assert await steps(vault) == []
        assert await vault.retention.run(clock.now()) == []
        clock.move(1)
        assert await steps(vault) == [(recording.id, step)], "the dry run says what comes"
        (done,) = await vault.retention.run(clock.now())
        assert (done.step, done.since) == (step, clock.now())
        assert await steps(vault) == [] and await vault.retention.run(clock.now()) == []
    place = await vault.place(recording)
    assert place.purged_at == clock.now() and place.purge_at is None and place.note.files == ()
    assert vault.cold() == [] and await hot(vault, recording) == []
    deeds, total = await vault.world.library.trail(world.app, Span(100, 0))
    assert [deed.action for deed in reversed(deeds)] == [
        "retention.change",
        "recording.archive",
        "recording.delete",
        "recording.purge",
        "recording.purged",
    ]
    assert total == 5 and {deed.actor["kind"] for deed in deeds} == {"key", "server"}
    assert deeds[0].detail == {"objects": 2, "archived": 1, "media_log": True}


async def test_a_hold_stops_all_of_it(vault: Vaulted) -> None:
    world, clock = vault.world, vault.world.clock
    recording, gone = await vault.ready(), await vault.ready()
    await delete(vault, gone)
    wanted = {"archive_after_days": 0, "delete_after_days": 1, "purge_after_days": 0}
    await vault.retention.set_policy(world.app, ME, wanted)
    for held in (recording, gone):
        assert (await vault.retention.hold(world.app, ME, held.id, True)).hold
    clock.move(100 * 86_400)
    assert await steps(vault) == [] and await vault.retention.run(clock.now()) == []
    with pytest.raises(ConflictError, match="hold"):
        await vault.retention.purge(world.app, ME, gone.id)
    with pytest.raises(ConflictError, match="hold"):
        await vault.archives.archive_due(world.app.id, ME, recording.id)
    await vault.retention.hold(world.app, ME, gone.id, False)
    assert await steps(vault) == [(gone.id, RetentionStep.PURGE)]
    assert [due.recording_id for due in await vault.retention.run(clock.now())] == [gone.id]
    assert await hot(vault, recording) == ["video", "poster"] and await hot(vault, gone) == []


async def test_undelete_counts_the_days_anew_and_ends_with_the_purge(vault: Vaulted) -> None:
    world, clock = vault.world, vault.world.clock
    recording = await vault.ready()
    await vault.retention.set_policy(world.app, ME, {"delete_after_days": 5, "purge_after_days": 2})
    clock.move(5 * 86_400)
    await vault.retention.run(clock.now())
    clock.move(86_400)
    await vault.undelete(recording)
    with pytest.raises(NotFoundError, match="no such deleted"):
        await vault.undelete(recording)
    assert await vault.retention.run(clock.now()) == []
    clock.move(5 * 86_400)
    assert [due.step for due in await vault.retention.run(clock.now())] == [RetentionStep.DELETE]
    clock.move(2 * 86_400)
    assert [due.step for due in await vault.retention.run(clock.now())] == [RetentionStep.PURGE]
    with pytest.raises(NotFoundError):
        await vault.undelete(recording)
    with pytest.raises(NotFoundError):
        await vault.retention.hold(world.app, ME, recording.id, True)


async def test_a_room_goes_before_its_tenant(vault: Vaulted) -> None:
    world, clock = vault.world, vault.world.clock
    kept, short = await vault.ready(), await vault.ready()
    await vault.retention.set_policy(world.app, ME, {"delete_after_days": 3})
    await vault.retention.set_policy(world.app, ME, {"delete_after_days": None}, kept.meeting_id)
    policy = await vault.retention.set_policy(world.app, ME, {"purge_after_days": 9}, short.meeting_id)
    assert (policy.delete_after_days, policy.purge_after_days) == (3, 9)
    clock.move(3 * 86_400)
    assert await steps(vault) == [(short.id, RetentionStep.DELETE)]
    assert [due.recording_id for due in await vault.retention.run(clock.now())] == [short.id]
    clock.move(9 * 86_400)
    assert [due.recording_id for due in await vault.retention.run(clock.now())] == [short.id]
    assert (await vault.place(kept)).deleted_at is None


async def test_another_tenant_neither_sees_nor_feels_it(vault: Vaulted) -> None:
    world, clock = vault.world, vault.world.clock
    other = await other_app(world)
    mine, theirs = await vault.ready(), await vault.ready(app=other)
    await vault.retention.set_policy(world.app, ME, {"delete_after_days": 1})
    clock.move(2 * 86_400)
    assert await steps(vault, other) == []
    assert [due.recording_id for due in await vault.retention.run(clock.now())] == [mine.id]
    for refused in (
        vault.archives.archive(world.app, ME, theirs.id),
        vault.archives.restore(world.app, ME, theirs.id, Tier.STANDARD, 1),
        vault.archives.place(world.app, theirs.id),
        vault.retention.hold(world.app, ME, theirs.id, True),
        vault.undelete(theirs),
        vault.retention.purge(world.app, ME, theirs.id),
        vault.retention.policy(world.app, theirs.meeting_id),
        vault.retention.set_policy(world.app, ME, {}, theirs.meeting_id),
    ):
        with pytest.raises(NotFoundError):
            await refused
    assert await vault.trail(other) == []
    assert await vault.trail() == ["retention.change", "recording.delete"]


async def test_a_recording_that_cannot_be_purged_holds_up_no_other(
    vault: Vaulted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with one, for whatever reason: every other one, of any tenant, has its turn each round."""
    world = vault.world
    recordings = [await vault.ready() for _ in range(3)]
    for recording in recordings:
        await delete(vault, recording)
    await vault.retention.set_policy(world.app, ME, {"purge_after_days": 0})
    broken = recordings[1].id
    real = places.scrub

    async def scrub(session: Any, recording_id: str) -> None:
        if recording_id == broken:
            raise ValueError("a row that nobody expected")
        await real(session, recording_id)

    with monkeypatch.context() as patch:
        patch.setattr("tapedeck.service.retention.table.scrub", scrub)
        for _ in range(2):  # when it is due, and as a purge that was begun
            await vault.retention.run(world.clock.now())
        left = {recording.id for recording in recordings if (await vault.place(recording)).purge_at is not None}
        assert left == {broken}
        assert None not in {(await vault.place(recording)).purged_at for recording in recordings}
    await vault.retention.run(world.clock.now())
    assert (await vault.place(recordings[1])).purge_at is None


async def test_a_purge_leaves_nothing_of_it(vault: Vaulted) -> None:
    """Files, stills, local leftovers, media log, parts, names, messages; only that it was there is known."""
    world = vault.world
    recording = await vault.ready()
    assert recording.session_id is not None
    folders = [world.root / name / recording.id for name in ("films", "hls", "streams")]
    folders.append(world.root / "captures" / recording.session_id)
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "x").write_bytes(b"media")
    key = recording.files[0].key
    assert key is not None
    await world.store.begin(key, "video/mp4", "x.mp4")
    with pytest.raises(InvalidError, match="deleted"):
        await vault.retention.purge(world.app, ME, recording.id)
    await delete(vault, recording)
    await vault.retention.purge(world.app, ME, recording.id)
    assert await hot(vault, recording) == [] and not any(folder.exists() for folder in folders)
    assert await world.store.unfinished("recordings/") == []
    left = await world.now_of(recording)
    assert (left.files, left.file_name, left.started_by) == ((), "", None)
    for entry in await world.outbox():
        if entry.change.recording_id == recording.id:
            assert recording.file_name not in str(entry.payload) and entry.payload["files"] == []
    with pytest.raises(NotFoundError):
        await vault.retention.purge(world.app, ME, recording.id)
    assert await vault.trail() == ["recording.purge", "recording.purged"]


async def test_a_purge_empties_the_fallback_bucket_too(vault: Vaulted, tmp_path: Path) -> None:
    """Where a film is that its customer's storage refused, and that nobody else would remember."""
    world = vault.world
    recording = await vault.ready()
    spare = LocalStore(tmp_path / "fallback", "http://test", b"key")
    key = object_key(recording.id, recording.invoked_at, recording.file_name)
    kept = key.replace(recording.id, "another")
    film = tmp_path / "film"
    film.write_bytes(b"film")
    for name in (key, kept):
        await spare.put_file(name, film, "video/mp4", "film.mp4")
    now = world.clock.now()
    place = Destination("fallback", recording.id, DestinationKind.FALLBACK, now, state=DestinationState.DONE)
    async with world.db.write() as session:
        await destinations.add_destination(session, place)
        upload = Upload(place.id, recording.file_name, "video", key, "video/mp4", 4, "0", done_at=now)
        await destinations.save_upload(session, upload)
    local = LocalFiles(*(tmp_path / name for name in ("captures", "films", "hls", "streams")))
    retention = RetentionService(world.db, world.clock, world.store, world.store, vault.archives, local, spare)
    await delete(vault, recording)
    await retention.purge(world.app, ME, recording.id)
    with pytest.raises(NotFoundError):
        await spare.head(key)
    assert (await spare.head(kept)).size_bytes == 4


async def test_a_media_log_stays_while_another_recording_of_the_session_needs_it(vault: Vaulted) -> None:
    world = vault.world
    meeting = await world.meeting()
    session_id = await world.live(meeting)
    first = await world.capturing(meeting, session_id)
    await world.recordings.start(world.app, world.backend, meeting.id, {}, True)
    await world.lifecycle.on_failed(first.id, "gone")
    folder = world.root / "captures" / session_id
    folder.mkdir(parents=True)
    await delete(vault, first)
    second = (await world.recordings.active(world.app, world.backend, meeting.id)).recording
    await world.sessions.on_capturing(second.id, session_id, world.clock.now())
    await vault.retention.purge(world.app, ME, first.id)
    assert folder.exists()


async def test_a_purge_waits_for_a_storage_that_is_still_to_get_the_film(vault: Vaulted) -> None:
    """Its delivery would miss the film, and have it made again of the log."""
    world = vault.world
    recording = await vault.ready()
    async with world.db.write() as session:
        (bucket,) = await destinations.of_recording(session, recording.id)
        await destinations.save_destination(session, replace(bucket, state=DestinationState.WAITING))
    await delete(vault, recording)
    with pytest.raises(ConflictError, match="A storage still waits"):
        await vault.retention.purge(world.app, ME, recording.id)
    assert await hot(vault, recording) != []
    async with world.db.write() as session:
        await destinations.save_destination(session, replace(bucket, state=DestinationState.DONE))
    await vault.retention.purge(world.app, ME, recording.id)
    assert await hot(vault, recording) == []


async def test_a_purge_that_a_store_stops_is_ended_later(vault: Vaulted, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = await vault.ready()
    await vault.archives.archive(vault.world.app, ME, recording.id)
    await delete(vault, recording)

    async def refuse(key: str) -> None:
        raise UnavailableError("later")

    with monkeypatch.context() as patch:
        patch.setattr(vault.store, "delete", refuse)
        await vault.retention.purge(vault.world.app, ME, recording.id)
    place = await vault.place(recording)
    assert place.purged_at is not None and place.purge_at is not None and len(vault.cold()) == 1
    with pytest.raises(NotFoundError):
        await vault.undelete(recording)
    vault.anew()
    await vault.keeper.round(vault.world.clock.now())
    assert vault.cold() == [] and (await vault.place(recording)).purge_at is None
    assert (await vault.trail())[-2:] == ["recording.purge", "recording.purged"]
    deeds, _ = await vault.world.library.trail(vault.world.app, Span(1, 0), recording.id)
    assert deeds[0].actor == ME, "who asked, though another process did it"


@pytest.mark.parametrize("first", ["purge", "undelete"])
async def test_of_a_purge_and_an_undelete_with_a_restore_behind_it_one_wins(vault: Vaulted, first: str) -> None:
    """At the same time: it is gone for good, or it is there and can be restored; nothing is stuck in between."""
    world = vault.world
    recording = await vault.ready()
    await vault.archives.archive(world.app, ME, recording.id)
    await delete(vault, recording)

    async def back() -> None:
        await vault.undelete(recording)
        await vault.archives.restore(world.app, ME, recording.id, Tier.STANDARD, 5)

    both = [vault.retention.purge(world.app, ME, recording.id), back()]
    results = await asyncio.gather(*(both if first == "purge" else both[::-1]), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert len(refused) == 1 and isinstance(refused[0], NotFoundError | InvalidError)
    vault.anew()
    await vault.keeper.round(world.clock.now())
    place = await vault.place(recording)
    if place.purged_at is None:
        assert (place.state, len(vault.cold())) == (ArchiveState.RESTORED, 1)
    else:
        assert (place.state, place.purge_at, vault.cold()) == (None, None, [])


async def test_purge_and_restore_have_one_winner(vault: Vaulted) -> None:
    """purge x restore: what is deleted cannot be restored, and what is purged cannot come back."""
    world = vault.world
    recording = await vault.ready()
    await vault.archives.archive(world.app, ME, recording.id)
    await vault.archives.restore(world.app, ME, recording.id, Tier.STANDARD, 5)
    await delete(vault, recording)
    with pytest.raises(NotFoundError):
        await vault.archives.restore(world.app, ME, recording.id, Tier.STANDARD, 5)
    await vault.retention.purge(world.app, ME, recording.id)
    await vault.archives.poll(world.clock.now())
    place = await vault.place(recording)
    assert place.state is None and vault.cold() == []


async def test_an_archiving_that_fails_is_tried_again_an_hour_later(
    vault: Vaulted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt reads the film: not every minute. Whoever asks for it by hand need not wait."""
    world, clock = vault.world, vault.world.clock
    recording = await vault.ready()
    await vault.retention.set_policy(world.app, ME, {"archive_after_days": 0})
    begun: list[str] = []

    async def fail(key: str, *_: object) -> str:
        begun.append(key)
        raise UnavailableError("later")

    with monkeypatch.context() as patch:
        patch.setattr(vault.store, "begin", fail)
        for _ in range(3):
            assert await vault.retention.run(clock.now()) == []
            clock.move(60)
        assert len(begun) == 1
    clock.move(3600)
    assert [due.recording_id for due in await vault.retention.run(clock.now())] == [recording.id]


async def test_what_is_to_be_deleted_is_not_archived_before(vault: Vaulted) -> None:
    world = vault.world
    recording = await vault.ready()
    await vault.retention.set_policy(world.app, ME, {"archive_after_days": 0, "delete_after_days": 0})
    assert await vault.retention.run(world.clock.now(), (RetentionStep.ARCHIVE,)) == []
    assert await steps(vault) == [(recording.id, RetentionStep.DELETE)]


async def test_a_move_that_takes_hours_holds_up_no_other_chore(vault: Vaulted, monkeypatch: pytest.MonkeyPatch) -> None:
    world = vault.world
    slow, restored, gone = await vault.ready(), await vault.ready(), await vault.ready()
    await vault.archives.archive(world.app, ME, restored.id)
    await vault.archives.restore(world.app, ME, restored.id, Tier.STANDARD, 1)
    await delete(vault, gone)
    await vault.retention.set_policy(world.app, ME, {"archive_after_days": 0, "purge_after_days": 0})
    begun, go_on = asyncio.Event(), asyncio.Event()
    real = vault.store.begin

    async def hang(*given: str) -> str:
        begun.set()
        await go_on.wait()
        return await real(*given)

    monkeypatch.setattr(vault.store, "begin", hang)
    running = asyncio.create_task(vault.keeper.run())
    try:
        await asyncio.wait_for(begun.wait(), 600)

        async def done() -> bool:
            is_purged = (await vault.place(gone)).purged_at is not None
            return is_purged and (await vault.place(restored)).state is ArchiveState.RESTORED

        await eventually(done)
        assert (await vault.place(slow)).state is ArchiveState.ARCHIVING
    finally:
        go_on.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
