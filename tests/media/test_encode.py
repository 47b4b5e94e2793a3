"""What the encoders make of their input, judged by packets and sizes; what is seen and heard is judged in test_mux."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
import pytest
from av.container import OutputContainer
from tests.media.filming import SMALL, grey
from tests.media.tones import RATE, Sound, both, tone

from tapedeck.core.errors import MediaError
from tapedeck.core.output import AudioOutput, VideoOutput
from tapedeck.media.encode import PictureEncoder, SoundEncoder


@pytest.fixture
def container() -> OutputContainer:
    return av.open(io.BytesIO(), "w", "mp4")


def encoded(container: OutputContainer, sound: Sound, output: AudioOutput | None = None) -> list[av.Packet[Any]]:
    encoder = SoundEncoder(container, output or AudioOutput())
    packets = encoder.encode(sound) + encoder.flush()
    assert encoder.count == sound.shape[1]
    return list(packets)


def test_sound_ends_with_its_last_sample(container: OutputContainer) -> None:
    packets = encoded(container, np.zeros((2, 10_000), np.float32))
    assert packets[0].pts == -1024, "priming comes before zero"
    last = packets[-1]
    assert last.pts is not None
    assert last.duration is not None
    assert last.pts + last.duration == 10_000


def test_plain_sound_costs_less_and_rich_sound_about_what_was_asked(container: OutputContainer) -> None:
    random = np.random.default_rng(1)
    rich = (0.1 * random.standard_normal((2, 2 * RATE))).astype(np.float32)
    rates = {}
    for name, sound in {"rich": rich, "tone": both(tone(440, 2 * RATE)).T, "silence": 0 * rich}.items():
        rates[name] = sum(packet.size for packet in encoded(container, sound)) * 8 / 2
    assert rates["silence"] < 5_000 < rates["tone"] < 200_000 < rates["rich"]
    assert rates["rich"] == pytest.approx(384_000, rel=0.2)


def test_a_lower_rate_costs_less(container: OutputContainer) -> None:
    random = np.random.default_rng(1)
    rich = (0.1 * random.standard_normal((2, RATE))).astype(np.float32)
    low, high = (sum(p.size for p in encoded(container, rich, AudioOutput(bitrate_bps=b))) for b in (128_000, 384_000))
    assert low < 0.5 * high


def test_mono_is_one_channel(container: OutputContainer) -> None:
    encoder = SoundEncoder(container, AudioOutput(channels=1))
    assert encoder.encode(np.zeros((1, 4096), np.float32))
    with pytest.raises(ValueError, match="channels, n"):
        encoder.encode(np.zeros((2, 4096), np.float32))


def test_pictures_are_counted_and_all_come_out(container: OutputContainer) -> None:
    encoder = PictureEncoder(container, SMALL, threads=1)
    packets = [packet for i in range(70) for packet in encoder.encode(grey(i), i)] + encoder.flush()
    assert encoder.count == len(packets) == 70
    assert sorted(packet.pts or 0 for packet in packets) == list(range(70))
    assert packets[0].is_keyframe


def test_a_later_picture_never_stands_for_a_missing_one(container: OutputContainer) -> None:
    encoder = PictureEncoder(container, SMALL, threads=1)
    encoder.encode(grey(1), 0)
    for index in (0, 2):
        with pytest.raises(ValueError, match=f"picture {index} came where 1 was due"):
            encoder.encode(grey(1), index)
    assert encoder.count == 1


def test_codecs_that_are_not_in_the_tables_are_refused(container: OutputContainer) -> None:
    with pytest.raises(MediaError, match="theora"):
        PictureEncoder(container, VideoOutput(codec="theora"), threads=1)
    with pytest.raises(MediaError, match="abacus"):
        PictureEncoder(container, VideoOutput(encoder="abacus"), threads=1)
    with pytest.raises(MediaError, match="opus"):
        SoundEncoder(container, AudioOutput(codec="opus"))
