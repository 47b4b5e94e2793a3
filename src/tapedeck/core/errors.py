"""The errors Tapedeck raises on purpose.

    TapedeckError
    ├── InvalidError        the caller sent something we cannot accept; `pointer` names the field
    ├── NotFoundError       no such object for this caller
    ├── ConflictError       the object is in a state that does not allow it
    ├── DeniedError         known caller, not allowed
    ├── UnauthenticatedError  no caller at all, or a token we do not know
    ├── LimitError          too many, too large, too fast
    ├── UnavailableError    we cannot do it now, try again later
    ├── DestinationError    the user's bucket, endpoint or network refused us
    ├── MediaError          a picture or sound could not be decoded, encoded or written
    └── InternalError       our own fault

`str(error)` is one clear sentence that may be shown to the person who asked; causes are chained with `from`.
Faces turn `kind` into their own words: `api/errors.py` for HTTP, `cli/main.py` for a terminal.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "ConflictError",
    "DeniedError",
    "DestinationError",
    "ErrorKind",
    "FieldProblem",
    "InternalError",
    "InvalidError",
    "LimitError",
    "MediaError",
    "NotFoundError",
    "TapedeckError",
    "UnauthenticatedError",
    "UnavailableError",
]


class ErrorKind(StrEnum):
    """What a caller can do about an error."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    DENIED = "denied"
    UNAUTHENTICATED = "unauthenticated"
    LIMIT = "limit"
    UNAVAILABLE = "unavailable"
    DESTINATION = "destination"
    MEDIA = "media"
    INTERNAL = "internal"


class TapedeckError(Exception):
    """Base of every error raised on purpose; its text may be shown to a user."""

    kind: ErrorKind = ErrorKind.INTERNAL


class FieldProblem(tuple[str, str]):
    """One failed field: a JSON pointer (RFC 6901) into the body, and a sentence."""

    __slots__ = ()

    def __new__(cls, pointer: str, message: str) -> FieldProblem:
        return super().__new__(cls, (pointer, message))

    @property
    def pointer(self) -> str:
        return self[0]

    @property
    def message(self) -> str:
        return self[1]


class InvalidError(TapedeckError):
    """The caller sent something that cannot be accepted; `problems` has one entry per failed field."""

    kind = ErrorKind.INVALID

    def __init__(self, message: str, problems: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class NotFoundError(TapedeckError):
    """No such object for this caller."""

    kind = ErrorKind.NOT_FOUND


class ConflictError(TapedeckError):
    """The object is in a state that does not allow what was asked."""

    kind = ErrorKind.CONFLICT


class DeniedError(TapedeckError):
    """The caller is known and may not do this."""

    kind = ErrorKind.DENIED


class UnauthenticatedError(TapedeckError):
    """No caller, or credentials that are unknown, revoked or expired."""

    kind = ErrorKind.UNAUTHENTICATED


class LimitError(TapedeckError):
    """Too many, too large or too fast; `retry_after_s` says when to try again, if that helps."""

    kind = ErrorKind.LIMIT

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnavailableError(TapedeckError):
    """Not possible now (draining, disk full, no worker); `retry_after_s` says when to try again."""

    kind = ErrorKind.UNAVAILABLE

    def __init__(self, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DestinationError(TapedeckError):
    """The user's bucket, endpoint or network refused us; the user can mend it, we cannot."""

    kind = ErrorKind.DESTINATION


class MediaError(TapedeckError):
    """A picture or sound could not be decoded, encoded or written."""

    kind = ErrorKind.MEDIA


class InternalError(TapedeckError):
    """Our own fault."""

    kind = ErrorKind.INTERNAL
