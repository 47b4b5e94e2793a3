"""The stream of a film: begun and ended at any time, shared encoders or own ones, and never in the film's way."""

from __future__ import annotations

import io
import shutil
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from tests.media.cameras import film_of
from tests.media.live import write_second

from tapedeck.core.flv import Tag
from tapedeck.core.output import AudioOutput, Output, VideoOutput
from tapedeck.media.mux import FilmWriters
from tapedeck.media.spool import SpoolReader, SpoolWriter


def writers_of(folder: Path, codec: str | None) -> FilmWriters:
    timed = codec == "timed"
    video = None if codec is None else VideoOutput(320, 180, codec="h264" if timed else codec)
    audio = {"h264": "aac", "timed": "aac", "vp8": "vorbis", None: "mp3"}[codec]
    name = {"h264": "a.mp4", "timed": "a.tar", "vp8": "a.webm", None: "a.mp3"}[codec]
    live_dir = folder / "live"
    live_dir.mkdir()
    writers = FilmWriters(folder, [Output(name, video, AudioOutput.of(audio), timed)], live_dir=live_dir)
    assert writers.live is not None
    writers.live.is_current = True
    return writers


def played(tags: list[Tag]) -> dict[str, list[float]]:
    """Seconds at which each stream's frames are heard or seen, in the order in which they are decoded."""
    data = b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + b"".join(map(bytes, tags))
    with av.open(io.BytesIO(data), "r", format="flv") as container:
        found: dict[str, list[float]] = {stream.codec_context.name: [] for stream in container.streams}
        for packet in container.demux():
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame | av.AudioFrame)
                assert frame.pts is not None and frame.time_base is not None
                found[packet.stream.codec_context.name].append(float(frame.pts * frame.time_base))
    return found


@pytest.mark.parametrize("codec", ["h264", "timed", "vp8", None])
def test_a_stream_begins_while_the_film_is_made_and_is_the_film_from_there_on(
    tmp_path: Path, codec: str | None
) -> None:
    writers = writers_of(tmp_path, codec)
    reader, tags = SpoolReader(tmp_path / "live"), []
    for second in range(10):
        if second == 3:
            (tmp_path / "live" / "wanted").touch()
        write_second(writers, second, video=codec is not None)
        tags += reader.read()
        assert second >= 3 or not tags
    (film,) = writers.finish()
    assert film.duration_ns == pytest.approx(10e9, abs=3e7)
    while not reader.is_ended:
        tags += reader.read()
    found = played(tags)
    assert set(found) == ({"h264", "aac"} if codec else {"aac"})
    sound = found["aac"]
    assert 2.97 <= sound[0] <= 6.1
    assert sound[-1] == pytest.approx(10, abs=0.12)
    assert all(b - a == pytest.approx(1024 / 48_000, abs=0.002) for a, b in pairwise(sound))
    if codec:
        pictures = found["h264"]
        assert 2.97 <= pictures[0] <= 6.1
        assert pictures[-1] == pytest.approx(10, abs=0.12)
        assert pictures[0] == pytest.approx(sound[0], abs=0.2)
        assert all(b - a == pytest.approx(1 / 30, abs=0.002) for a, b in pairwise(pictures))


def test_a_page_that_stands_still_is_streamed_from_its_next_key_frame_on(tmp_path: Path) -> None:
    """Its browser sends a picture a second: what is looked up by their number is not looked up for a quarter minute."""
    frames = film_of([30 * (n % 8) for n in range(12)], width=320, height=180, keys=tuple(range(0, 12, 3)))
    live = tmp_path / "live"
    live.mkdir()
    output = Output("a.mp4", VideoOutput(320, 180), AudioOutput())
    writers = FilmWriters(tmp_path, [output], live_dir=live, passed=frames[0].payload)
    assert writers.live is not None
    writers.live.is_current = True
    reader, tags = SpoolReader(live), []
    for second, frame in enumerate(frames):
        if second == 2:
            (live / "wanted").touch()
        writers.write_sent(frame.payload, second * 1_000_000_000, is_key=frame.is_key)
        writers.write_sound(np.full((2, 48_000), 0.01, np.float32))
        tags += reader.read()
    writers.finish()
    while not reader.is_ended:
        tags += reader.read()
    assert played(tags)["h264"] == pytest.approx(range(3, 12), abs=0.01)


def test_a_stream_that_nobody_wants_any_more_ends_and_can_begin_again(tmp_path: Path) -> None:
    writers = writers_of(tmp_path, "h264")
    live, wanted = tmp_path / "live", tmp_path / "live" / "wanted"
    reader = SpoolReader(live)
    write_second(writers, 0)
    assert [path.name for path in live.iterdir()] == []
    wanted.touch()
    for second in range(1, 5):
        write_second(writers, second)
    before = reader.read()
    wanted.unlink()
    for second in range(5, 8):
        write_second(writers, second)
    while more := reader.read():
        before += more
    assert before[-1].time_ms < 5600
    wanted.touch()
    for second in range(8, 12):
        write_second(writers, second)
    after = reader.read()
    assert after[0].is_key, "what describes the stream is the same and is not sent again"
    assert after[0].time_ms >= 7500
    writers.finish()
    reader.close()


def test_while_the_film_is_behind_life_nothing_is_written_and_it_goes_on_with_a_key_frame(tmp_path: Path) -> None:
    writers = writers_of(tmp_path, "h264")
    (tmp_path / "live" / "wanted").touch()
    assert writers.live is not None
    reader, tags = SpoolReader(tmp_path / "live"), []
    for second in range(12):
        writers.live.is_current = not 4 <= second < 8
        write_second(writers, second)
        tags += reader.read()
    writers.finish()
    while not reader.is_ended:
        tags += reader.read()
    times = [tag.time_ms for tag in tags if not tag.is_setup]
    gaps = [(a, b) for a, b in pairwise(times) if b - a > 500]
    assert len(gaps) == 1
    after = next(tag for tag in tags if tag.time_ms == gaps[0][1])
    assert after.is_key
    assert gaps[0][1] >= 7500
    assert played(tags)["h264"][-1] == pytest.approx(12, abs=0.12)


def test_a_film_that_ends_before_its_stream_begins_is_the_end_of_the_stream(tmp_path: Path) -> None:
    spool, reader = SpoolWriter(tmp_path, has_video=True), SpoolReader(tmp_path)
    assert reader.read() == []
    assert not reader.is_ended
    spool.end()
    assert reader.read() == []
    assert reader.is_ended


def test_a_reader_that_is_slow_loses_whole_groups(tmp_path: Path) -> None:
    writers = writers_of(tmp_path, "h264")
    (tmp_path / "live" / "wanted").touch()
    reader = SpoolReader(tmp_path / "live")
    for second in range(5):
        write_second(writers, second)
    first = reader.read()
    for second in range(5, 30):
        write_second(writers, second)
    kept = sorted((tmp_path / "live").rglob("*.gop"))
    assert len(kept) == 6, "groups are not kept for ever"
    second_look: list[Tag] = []
    while more := reader.read():
        second_look += more
    late = [tag for tag in second_look if tag.time_ms > 20_000]
    assert late[0].is_key
    assert played([*first, *late])["h264"]
    writers.abort()


def test_a_stream_that_is_freed_while_it_is_read_is_entered_anew(tmp_path: Path) -> None:
    """File by file: between the look at the next group and the list of all."""
    spool, reader = SpoolWriter(tmp_path, has_video=True), SpoolReader(tmp_path)
    spool.write(b"", 0, is_start=True)
    assert reader.read() == []
    spool.write(b"", 100, is_start=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_groups", lambda _: [])
        assert reader.read() == []
    assert reader.read() == []
    spool.end()
    while not reader.is_ended:
        assert reader.read() == []
    reader.close()


def test_a_disk_that_refuses_the_stream_does_not_refuse_the_film(tmp_path: Path) -> None:
    writers = writers_of(tmp_path, "h264")
    (tmp_path / "live" / "wanted").touch()
    for second in range(3):
        write_second(writers, second)
    shutil.rmtree(tmp_path / "live")
    for second in range(3, 8):
        write_second(writers, second)
    (film,) = writers.finish()
    assert film.duration_ns == pytest.approx(8e9, abs=3e7)
