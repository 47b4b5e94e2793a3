"""FFmpeg's errors in our words: every one of them."""

import errno
from typing import Any

import av.error
import pytest

from tapedeck.core.errors import ConflictError, ErrorKind, MediaError, TapedeckError, UnavailableError
from tapedeck.media.errors import media_errors, translate

CLASSES = [value for value in vars(av.error).values() if isinstance(value, type) and issubclass(value, av.FFmpegError)]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_no_error_of_ffmpeg_is_left_unmapped(kind: type[av.FFmpegError]) -> None:
    assert len(CLASSES) > 20
    with pytest.raises(TapedeckError, match=r"^reading the film failed: ") as caught, media_errors("reading the film"):
        raise kind(1, "told by FFmpeg", None)
    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_trouble_with_the_disk_can_be_mended_and_is_tried_again(number: int) -> None:
    with pytest.raises(UnavailableError) as caught, media_errors("writing the film"):
        raise OSError(number, "no")
    assert caught.value.kind is ErrorKind.UNAVAILABLE and str(caught.value).startswith("writing the film failed: ")


@pytest.mark.parametrize("exc", [ValueError("odd size"), MemoryError(), OSError(errno.EIO, "Input/output error")])
def test_what_pyav_and_the_system_raise_is_a_media_error(exc: Exception) -> None:
    with pytest.raises(MediaError), media_errors("scaling"):
        raise exc


def test_the_last_log_line_of_ffmpeg_is_told() -> None:
    log: Any = (16, "libx264", "width not even\n")
    error = translate("encoding", av.error.InvalidDataError(1094995529, "Invalid data", None, log))
    assert str(error) == "encoding failed: Invalid data (width not even)"


def test_our_own_errors_pass_as_they_are() -> None:
    own = ConflictError("no")
    assert translate("x", own) is own
    with pytest.raises(ConflictError), media_errors("x"):
        raise own
