"""What a film is made of: picture and sound settings, and which file holds which codecs.

Owns the numbers that both the canvas and the encoders need, and the list of files that a recording's options ask for.
Refuses to know how anything is encoded (`media/encode.py`) or what a caller asked for in words (`shapes`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tapedeck.core.errors import InvalidError
from tapedeck.core.wanted import RecordingOptions

__all__ = [
    "QUALITIES",
    "AudioOutput",
    "Output",
    "VideoOutput",
    "content_type",
    "extension_of",
    "output_named",
    "outputs_of",
]

_PIXELS_720P = 1280 * 720
_MAXRATE_720P_BPS = MappingProxyType({"low": 1_000_000, "standard": 2_000_000, "high": 4_000_000})
_LEAST_RATE_BPS = 64_000
"""Of the tiniest film: libvpx counts in thousands, and with none of them it makes no picture at all."""
QUALITIES = tuple(_MAXRATE_720P_BPS)
_EXTENSIONS = MappingProxyType(
    {"timed": "tar", "h264": "mp4", "vp8": "webm", "vp9": "webm", "aac": "m4a", "mp3": "mp3", "vorbis": "ogg"}
)
_SOUND_TRACK = re.compile(r"_audio_[0-9]+\.webm$")
_CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "mp4": "video/mp4",
        "webm": "video/webm",
        "m4a": "audio/mp4",
        "mp3": "audio/mpeg",
        "ogg": "audio/ogg",
        "mkv": "video/x-matroska",
        "jpg": "image/jpeg",
        "png": "image/png",
        "vtt": "text/vtt",
        "tar": "application/x-tar",
    }
)
_AAC_BPS_PER_CHANNEL = 192_000
_X264_CRF = MappingProxyType({"low": 27, "standard": 23, "high": 19})
_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class VideoOutput:
    """The picture of a film: constant frame rate, constant quality under a ceiling. Width and height are even."""

    width: int = 1280
    height: int = 720
    fps: int = 30
    codec: str = "h264"
    "`h264`, `vp8` or `vp9`."
    quality: str = "standard"
    "`low`, `standard` or `high`."
    encoder: str = "x264"
    "Who encodes H264: `x264`, or hardware: `nvenc`, `vaapi`, `qsv`, `videotoolbox`."
    preset: str = "veryfast"
    "Of x264."
    gop_s: int = 2
    "Seconds between key frames."

    @property
    def maxrate_bps(self) -> int:
        """Ceiling of the bit rate: for standard quality 2 Mbit/s at 1280x720, in proportion to the area otherwise."""
        return max(_MAXRATE_720P_BPS[self.quality] * self.width * self.height // _PIXELS_720P, _LEAST_RATE_BPS)

    @property
    def crf(self) -> int:
        """Constant rate factor of x264: lower is better and larger."""
        return _X264_CRF[self.quality]

    @property
    def frame_ns(self) -> int:
        """Nanoseconds a picture stays, rounded down; use `index * 10**9 // fps` for the time of a picture."""
        return _SECOND_NS // self.fps


@dataclass(frozen=True, slots=True)
class AudioOutput:
    """The sound of a film, or of a file of its own."""

    codec: str = "aac"
    "`aac`, `mp3` or `vorbis`."
    bitrate_bps: int = 384_000
    "Of AAC; the encoder spends less on simple sound. MP3 and Vorbis have one quality, which no rate is set for."
    channels: int = 2
    sample_rate: int = 48_000

    @classmethod
    def of(cls, codec: str, channels: int = 2) -> AudioOutput:
        """A codec at its usual rate."""
        return cls(codec, _AAC_BPS_PER_CHANNEL * channels if codec == "aac" else 0, channels)


_STEREO_AAC = AudioOutput()


@dataclass(frozen=True, slots=True)
class Output:
    """One file of a film: picture and sound, or (`video` None) sound alone."""

    file_name: str
    video: VideoOutput | None
    audio: AudioOutput = _STEREO_AAC
    timed: bool = False
    "Whether it is a tar of HLS segments with timed metadata (`media/segments.py`): H264 and AAC only."

    @property
    def kind(self) -> str:
        """`video` or `audio`, as in `core.recording.FilmFile`."""
        return "audio" if self.video is None else "video"

    @property
    def is_playable(self) -> bool:
        """Whether it can be played over HLS: an MP4 of H264 and AAC, or of AAC alone."""
        return not self.timed and self.audio.codec == "aac" and (self.video is None or self.video.codec == "h264")


def extension_of(options: RecordingOptions) -> str:
    """Extension of the name that a recording is given: that of its film, or else of its sound."""
    if options.video_export or options.audio is None:
        return _EXTENSIONS["timed" if options.timed else options.video_codec]
    return _EXTENSIONS[options.audio.codec]


def outputs_of(options: RecordingOptions, file_name: str) -> tuple[Output, ...]:
    """The files that a recording shall have; all have the base name of `file_name`, the name of the recording.

    The film comes first, where there is one. Never empty: a recording with neither film nor sound is not accepted.
    """
    stem = file_name.rpartition(".")[0] or file_name
    outputs: list[Output] = []
    if options.video_export or options.audio is None:
        video = VideoOutput(
            options.width, options.height, options.fps, options.video_codec, options.quality, options.encoder
        )
        sound = AudioOutput.of("aac" if options.video_codec == "h264" else "vorbis")
        outputs.append(Output(file_name, video, sound, options.timed))
    if options.audio is not None:
        sound = AudioOutput.of(options.audio.codec, options.audio.channels)
        outputs.append(Output(f"{stem}.{_EXTENSIONS[sound.codec]}", None, sound))
    return tuple(outputs)


_NAMED: Mapping[str, tuple[str | None, str]] = MappingProxyType(
    {
        "mp4": ("h264", "aac"),
        "tar": ("h264", "aac"),
        "webm": ("vp9", "vorbis"),
        "m4a": (None, "aac"),
        "mp3": (None, "mp3"),
        "ogg": (None, "vorbis"),
    }
)


def output_named(file_name: str, width: int, height: int) -> Output:
    """The file that a name asks for by its extension: a film of this size, or its sound. InvalidError: none does."""
    extension = file_name.lower().rpartition(".")[2]
    if extension not in _NAMED:
        raise InvalidError(
            f"{file_name!r} does not say what it is to be: end it in .mp4, .webm, .tar, or for the sound alone "
            "in .m4a, .mp3 or .ogg."
        )
    video, sound = _NAMED[extension]
    picture = None if video is None else VideoOutput(width, height, codec=video)
    return Output(file_name, picture, AudioOutput.of(sound), timed=extension == "tar")


def content_type(file_name: str) -> str:
    """What a file is called in HTTP, by its extension; of tracks, by its kind of media too."""
    if _SOUND_TRACK.search(file_name):
        return "audio/webm"
    return _CONTENT_TYPES.get(file_name.lower().rpartition(".")[2], "application/octet-stream")
