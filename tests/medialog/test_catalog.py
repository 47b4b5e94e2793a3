"""What is said to be in a log directory is what is in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.medialog.logs import SECOND, SESSION, lay_down, make_frame, make_info, timeline_bytes, track_bytes

from tapedeck.core.errors import NotFoundError
from tapedeck.core.frames import Codec, FrameFlags
from tapedeck.core.timeline import Progress, TimelineEvent, TrackClosed, TrackOpened
from tapedeck.medialog.catalog import read_catalog, tally_track
from tapedeck.medialog.meta import META_NAME, tracks_path
from tapedeck.medialog.reader import LogReader

CAM, MIC, LATE = make_info("cam"), make_info("mic", Codec.OPUS), make_info("late")


def test_tracks_come_from_timeline_and_files_together(tmp_path: Path) -> None:
    cam = track_bytes([make_frame(1, 100, key=True), make_frame(2, 50), make_frame(3, 10)])[0]
    lost = track_bytes([make_frame(9)], "lost")[0]
    events: list[TimelineEvent] = [
        TrackOpened(5, MIC),
        TrackOpened(6, CAM),
        TrackOpened(7, LATE),
        TrackClosed(9 * SECOND, "cam"),
    ]
    timeline = timeline_bytes(events)[0]
    root = lay_down(tmp_path / "log", {"cam": cam, "lost": lost, "mic": track_bytes([], "mic")[0]}, timeline)
    (tracks_path(root) / ".hidden.log").write_text("not a track")
    (tracks_path(root) / "notes.txt").write_text("not a track")
    catalog = read_catalog(root)
    assert catalog.meta.session_id == SESSION
    assert catalog.events == tuple(events)
    assert [track.track_id for track in catalog.tracks] == ["mic", "cam", "late", "lost"]
    mic, camera, late, orphan = catalog.tracks
    assert (camera.info, camera.opened_ns, camera.closed_ns, camera.codec) == (CAM, 6, 9 * SECOND, Codec.H264)
    assert (camera.first_ns, camera.last_ns, camera.size_bytes) == (33_000_000, 99_000_000, len(cam))
    assert (mic.info, mic.first_ns, mic.last_ns, mic.size_bytes, mic.closed_ns) == (MIC, None, None, 64, None)
    assert (late.size_bytes, late.first_ns) == (0, None)
    assert (orphan.info, orphan.opened_ns, orphan.codec) == (None, None, Codec.H264)
    assert orphan.first_ns == 9 * 33_000_000
    assert catalog.duration_ns == 9 * SECOND
    files = [root / META_NAME, root / "timeline.log", *(tracks_path(root) / f"{n}.log" for n in ("cam", "mic", "lost"))]
    assert catalog.size_bytes == sum(path.stat().st_size for path in files)


def test_duration_is_the_latest_time_of_all(tmp_path: Path) -> None:
    late = make_frame(1, arrival_ns=77)
    early = make_frame(2, arrival_ns=76)
    timeline = timeline_bytes([Progress(70, 60)])[0]
    root = lay_down(tmp_path / "log", {"cam": track_bytes([late, early])[0]}, timeline)
    catalog = read_catalog(root)
    assert catalog.duration_ns == 77
    assert catalog.tracks[0].last_ns == 77


def test_empty_log_is_empty(tmp_path: Path) -> None:
    catalog = read_catalog(lay_down(tmp_path / "log", {}))
    assert (catalog.tracks, catalog.events, catalog.duration_ns) == ((), (), 0)


def test_no_log_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_catalog(tmp_path)


def test_tally_counts_what_is_there_and_what_is_damaged(tmp_path: Path) -> None:
    frames = [make_frame(n, 700, key=n % 10 == 0) for n in range(300)]
    frames[5] = replace(frames[5], flags=FrameFlags.DISCONTINUITY)
    data, ends = track_bytes(frames)
    damaged = bytearray(data)
    damaged[ends[33] + 50] ^= 1
    root = lay_down(tmp_path / "log", {"cam": bytes(damaged)})
    tally = tally_track(LogReader(root), "cam")
    assert (tally.frames, tally.keys, tally.discontinuities) == (299, 30, 2)
    assert tally.payload_bytes == 299 * 700
    assert (tally.damage.regions, tally.damage.size_bytes) == (1, 728)
