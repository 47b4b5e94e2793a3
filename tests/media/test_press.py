"""Encoding in a thread of its own: same order, no loss, faults come out."""

import threading

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray
from tests.media.cameras import film_of

from tapedeck.core.errors import MediaError
from tapedeck.core.geometry import Rect, Size
from tapedeck.media.decode import VideoDecoder
from tapedeck.media.picture import Canvas, planes_of
from tapedeck.media.press import Press

SIZE = Size(16, 16)


class Slow:
    """A sink that writes nothing before it is let, and may fail at a picture."""

    def __init__(self, fails_at: int = -1) -> None:
        self.go = threading.Event()
        self.fails_at = fails_at
        self.seen: list[tuple[str, int, int]] = []
        self.threads: set[int] = set()

    def write_picture(self, frame: av.VideoFrame, index: int) -> None:
        assert self.go.wait(300)
        self.threads.add(threading.get_ident())
        if index == self.fails_at:
            raise MediaError("no more")
        assert (frame.colorspace, frame.color_range) == (1, 1)
        self.seen.append(("picture", index, int(planes_of(frame)[0].mean())))

    def write_sound(self, samples: NDArray[np.float32]) -> None:
        self.seen.append(("sound", samples.shape[1], 0))

    def write_text(self, film_ns: int, text: str) -> None:
        self.seen.append((text, film_ns, 0))


@pytest.mark.parametrize("size", [(16, 16), (64, 36), (90, 50)])
def test_a_picture_as_it_came_from_a_decoder_is_handed_over(size: tuple[int, int]) -> None:
    """The film of one person may show it without a copy; its rows have room for more than its pixels."""
    decoder, sink = VideoDecoder(), Slow()
    press = Press(sink, Size(*size))
    for index, encoded in enumerate(film_of([60, 120, 180], width=size[0], height=size[1])):
        shown = decoder.decode(encoded)
        assert shown is not None
        shown.frame.colorspace, shown.frame.color_range = Colorspace.ITU709, ColorRange.MPEG
        press.write_picture(shown.frame, index)
    sink.go.set()
    press.close()
    assert [number for _, number, _ in sink.seen] == [0, 1, 2]
    assert [luma for _, _, luma in sink.seen] == pytest.approx([60, 120, 180], abs=6)


def grey(canvas: Canvas, value: int) -> None:
    canvas.fill(Rect(0, 0, 16, 16), (value, value, value))


def test_pictures_and_sound_arrive_in_order_as_they_were_when_handed_over() -> None:
    sink, canvas = Slow(), Canvas(SIZE)
    press = Press(sink, SIZE)
    for index in range(3):
        grey(canvas, 40 * index)
        press.write_picture(canvas.frame, index)
        press.write_text(index, "text")
        press.write_sound(np.zeros((2, 100 + index), np.float32))
    grey(canvas, 255)
    assert sink.seen == []
    sink.go.set()
    press.close()
    assert [(kind, number) for kind, number, _ in sink.seen] == [
        ("picture", 0), ("text", 0), ("sound", 100), ("picture", 1), ("text", 1), ("sound", 101),
        ("picture", 2), ("text", 2), ("sound", 102),
    ]  # fmt: skip
    lumas = [luma for kind, _, luma in sink.seen if kind == "picture"]
    assert lumas == [16, 50, 85]
    assert sink.threads and threading.get_ident() not in sink.threads


def test_a_fault_is_raised_later_and_nothing_is_written_after_it() -> None:
    sink, canvas = Slow(fails_at=1), Canvas(SIZE)
    sink.go.set()
    press = Press(sink, SIZE)
    with pytest.raises(MediaError, match="no more"):
        for index in range(50):
            press.write_picture(canvas.frame, index)
    with pytest.raises(MediaError, match="no more"):
        press.write_sound(np.zeros((2, 4), np.float32))
    with pytest.raises(MediaError, match="no more"):
        press.close()
    assert [number for _, number, _ in sink.seen] == [0]


def test_closing_twice_is_no_error() -> None:
    sink = Slow()
    press = Press(sink, SIZE)
    press.close()
    press.close()


def test_written_at_once_until_there_is_haste_and_again_after_it() -> None:
    sink, canvas = Slow(), Canvas(SIZE)
    sink.go.set()
    press = Press(sink, SIZE, beside=False)
    press.write_picture(canvas.frame, 0)
    assert sink.threads == {threading.get_ident()}
    press.beside = True
    press.write_picture(canvas.frame, 1)
    press.write_sound(np.zeros((2, 7), np.float32))
    press.beside = False
    press.write_picture(canvas.frame, 2)
    press.write_sound(np.zeros((2, 9), np.float32))
    press.close()
    assert len(sink.threads) == 2
    assert [(kind, number) for kind, number, _ in sink.seen] == [
        ("picture", 0), ("picture", 1), ("sound", 7), ("picture", 2), ("sound", 9),
    ]  # fmt: skip


def test_a_fault_at_once_is_raised_at_once_and_one_beside_at_the_next_call() -> None:
    sink, canvas = Slow(fails_at=0), Canvas(SIZE)
    sink.go.set()
    with pytest.raises(MediaError):
        Press(sink, SIZE, beside=False).write_picture(canvas.frame, 0)
    press = Press(sink, SIZE)
    press.write_picture(canvas.frame, 0)
    press.beside = False
    with pytest.raises(MediaError):
        press.write_picture(canvas.frame, 1)
    assert sink.seen == []
