"""What may be archived, and what is noted of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tapedeck.core.archive import (
    ArchivedFile,
    ArchiveNote,
    ArchiveState,
    StorageClass,
    Tier,
    check_tier,
    movable,
    refusal,
)
from tapedeck.core.errors import InvalidError
from tapedeck.core.recording import FilmFile, Recording, RecordingState

AT = datetime(2026, 3, 2, 9, 15, 4, 120_000, tzinfo=UTC)
FILM = FilmFile("video", "f.mp4", 4, 4_000, "00000000", key="recordings/f.mp4")
DONE = Recording("r", "a", "m", "f.mp4", AT, state=RecordingState.DONE, files=(FILM,))


def test_a_note_comes_back_as_it_was_stored() -> None:
    file = ArchivedFile("video", "f.mp4", "hot", "cold", "video/mp4", 4, "00000000", token="t")
    note = ArchiveNote((file,), "GLACIER", {"kind": "key"}, True, "bulk", 3, AT)
    assert ArchiveNote.of(note.as_json()) == note
    assert ArchiveNote.of(None) == ArchiveNote() == ArchiveNote.of({"of a later version": 1})
    done = replace(file, token=None, tag="x")
    assert note.with_file(done).files == (done,)


def test_stills_stay_and_only_what_is_ready_and_ours_moves() -> None:
    poster = replace(FILM, kind="poster", key="recordings/p.jpg")
    both = replace(DONE, files=(FILM, poster))
    assert movable(both) == [FILM] and refusal(both, None) is None
    assert "ready" in str(refusal(replace(DONE, state=RecordingState.UPLOADING), None))
    assert "no file" in str(refusal(replace(DONE, files=(replace(FILM, key=None), poster)), None))
    assert "already" in str(refusal(DONE, ArchiveState.RESTORED))


def test_deep_archive_knows_no_hurry() -> None:
    check_tier(Tier.EXPEDITED, StorageClass.GLACIER)
    check_tier(Tier.BULK, StorageClass.DEEP_ARCHIVE)
    with pytest.raises(InvalidError, match="DEEP_ARCHIVE"):
        check_tier(Tier.EXPEDITED, StorageClass.DEEP_ARCHIVE)
