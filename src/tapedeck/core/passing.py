"""Whether the pictures that were sent go into a film as they are, instead of being decoded, painted and encoded again.

Only where nothing would be painted: the film of a web page whose browser sends H264 of the film's size. Owns what a
file needs of the stream for that: one pair of parameter sets for all of it, pictures in the order in which they are
decoded. Pure; each answer is the reason why not, or None.
"""

from __future__ import annotations

from collections.abc import Sequence

from tapedeck.core.avc import nal_units, picture_size
from tapedeck.core.frames import Codec, EncodedFrame
from tapedeck.core.output import Output, VideoOutput

__all__ = ["LATEST_NS", "ParameterSets", "change", "film_refusal", "frame_refusal", "sets_of"]

LATEST_NS = 2_000_000_000
"""A film whose first picture comes later is painted: something has to be seen until then."""

_SENT_FPS = VideoOutput().fps
"""What a page is sent with, when it moves: the rate of a film whose operator says nothing else."""

ParameterSets = tuple[bytes, bytes]
"""Sequence and picture parameter set (ITU-T H.264 7.4.1.2.1)."""

_SPS, _PPS = 7, 8
_BASELINE = 66
"""The profile without B slices (ITU-T H.264 A.2.1): pictures are shown in the order in which they are sent."""


def film_refusal(outputs: Sequence[Output], *, is_marked: bool, is_part: bool) -> str | None:
    """Why no sent picture can be in these files, whatever is sent. `is_part`: not all of the recording is wanted."""
    films = [output for output in outputs if output.video is not None]
    if len(films) != 1:
        return "it has no picture, or several" if outputs else "there is no file"
    (film,) = films
    if film.video is not None and film.video.codec != "h264":
        return f"the film is {film.video.codec}"
    if film.timed:
        return "the film is in segments with timed metadata"
    if film.video is not None and film.video.fps != _SENT_FPS:
        return f"the film shall have {film.video.fps} pictures per second"
    if film.video is not None and film.video.quality == "low":
        return "the film shall be smaller than what is sent"
    if is_marked:
        return "a watermark is over the film"
    if is_part:
        return "a part of the film may begin between two key frames"
    return None


def frame_refusal(frame: EncodedFrame, film_ns: int, video: VideoOutput) -> str | None:
    """Why the first key frame of a recording, due at `film_ns`, cannot begin its film."""
    if frame.codec is not Codec.H264:
        return f"the page is sent as {frame.codec.name}"
    if film_ns > LATEST_NS:
        return "the page's first picture comes late"
    sets = sets_of(frame.payload)
    if sets is None:
        return "its first frame has not one pair of parameter sets"
    if len(sets[0]) < 4 or sets[0][1] != _BASELINE:
        return "its pictures may be sent in another order than they are shown in"
    try:
        size = picture_size(sets[0])
    except ValueError:
        return "its parameter sets are damaged"
    if size != (video.width, video.height):
        return f"the page is sent as {size[0]}x{size[1]}"
    return None


def sets_of(payload: bytes) -> ParameterSets | None:
    """The parameter sets in a frame (Annex B); None when it has not just one of each kind."""
    sequences, pictures = _found(payload)
    return (sequences[0], pictures[0]) if len(sequences) == len(pictures) == 1 else None


def change(frame: EncodedFrame, sets: ParameterSets) -> str | None:
    """Why a later frame cannot follow in a file that tells `sets` in its head."""
    if frame.codec is not Codec.H264:
        return f"the page is sent as {frame.codec.name}"
    sequences, pictures = _found(frame.payload)
    if any(one != sets[0] for one in sequences) or any(one != sets[1] for one in pictures):
        return "its parameter sets change"
    return None


def _found(payload: bytes) -> tuple[list[bytes], list[bytes]]:
    units = nal_units(payload)
    return [unit for unit in units if unit[0] & 31 == _SPS], [unit for unit in units if unit[0] & 31 == _PPS]
