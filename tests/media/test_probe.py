"""Files of several kinds, described."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import pytest
from tests.media.filming import make_film
from tests.media.tones import RATE, tone

from tapedeck.core.errors import MediaError, TapedeckError
from tapedeck.core.frames import Kind
from tapedeck.media.probe import probe


def test_a_film_is_described(tmp_path: Path) -> None:
    made = make_film(
        tmp_path, 45, np.zeros((2, RATE * 3 // 2), np.float32), created_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    info = probe(made.path)
    assert "mp4" in info.containers
    assert info.size_bytes == made.size_bytes
    assert info.duration_ns == made.duration_ns == 1_500_000_000
    assert info.index_in_front
    assert info.tags["creation_time"].startswith("2026-03-02")
    (picture,), (sound,) = info.of(Kind.VIDEO), info.of(Kind.AUDIO)
    assert (picture.codec, picture.width, picture.height, picture.fps) == ("h264", 320, 180, 30)
    assert (picture.start_ns, picture.duration_ns, picture.packets) == (0, 1_500_000_000, 45)
    assert (sound.codec, sound.sample_rate, sound.channels, sound.language) == ("aac", RATE, 2, "und")
    assert (sound.start_ns, sound.duration_ns) == (0, 1_500_000_000)


def test_an_index_behind_the_media_is_noticed(tmp_path: Path) -> None:
    film = make_film(tmp_path, 5, np.zeros((2, 8000), np.float32))
    behind = tmp_path / "behind.mp4"
    with av.open(str(film.path)) as source, av.open(str(behind), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert not probe(behind).index_in_front
    assert probe(behind).of(Kind.AUDIO) == []


def test_sound_alone_in_another_container(tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone(440, RATE)[None] * 32_000).astype(np.int16), "s16", "mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
    info = probe(path)
    assert info.containers == ("wav",)
    assert not info.index_in_front
    (sound,) = info.streams
    assert (sound.kind, sound.channels, sound.duration_ns) == (Kind.AUDIO, 1, 1_000_000_000)


@pytest.mark.parametrize("content", [b"", b"no film at all\n" * 100, b"\0\0\0\x20ftypisom"])
def test_what_is_no_media_is_told_in_a_sentence_with_its_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"notes\.mp4"):
        probe(path)


def test_a_file_that_is_not_there_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(TapedeckError, match=r"gone\.mp4"):
        probe(tmp_path / "gone.mp4")
