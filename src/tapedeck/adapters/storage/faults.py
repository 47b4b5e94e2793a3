"""What a store says when it refuses, in our words: one sentence to the owner of the storage, without any secret.

The codes are those of S3's XML (AWS, Cloudflare, DigitalOcean, Google and the compatible ones share them) and Azure's;
what no table knows is told apart by its HTTP status.
"""

from __future__ import annotations

from tapedeck.core.egress import RefusedTargetError, UnreachableError
from tapedeck.core.errors import DestinationError, NotFoundError, TapedeckError, UnavailableError

__all__ = [
    "MOST_ANSWER_BYTES",
    "MOST_PAGES",
    "REFUSED_ADDRESS",
    "refused_address",
    "store_error",
    "strange",
    "unreachable",
]

MOST_ANSWER_BYTES = 8 << 20
"""Longest answer that is read: the longest list of any store has a tenth of it. Who answers may be anybody."""
MOST_PAGES = 100
"""Of a list: 100 000 parts, or uploads that nobody ended. Who answers may always have one more."""

REFUSED_ADDRESS = "The address of the storage is private, and this server is not allowed to connect there."

_KEY = "The storage does not know the access key: check access_key."
_SECRET = "The storage refuses the secret: it does not belong to the access key."
_DENIED = "The storage does not allow this key to do it: give it the right to write, read and delete in the bucket."
_BUCKET = "The bucket does not exist: check its name and its region."
_REGION = "The bucket is in another region: check region."
_CLOCK = "The storage says that the clock of this server is wrong: set it right."
_FULL = "The storage is full, or its quota is used up."
_PARTS = "The storage refuses the parts of the upload."
_SETTINGS = "The storage refuses the request: check its type, endpoint and region."

_WORDS = {
    "InvalidAccessKeyId": _KEY,
    "InvalidSecurity": _KEY,
    "SignatureDoesNotMatch": _SECRET,
    "InvalidToken": _KEY,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AccountProblem": _DENIED,
    "Forbidden": _DENIED,
    "NoSuchBucket": _BUCKET,
    "InvalidBucketName": _BUCKET,
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "AuthorizationQueryParametersError": _REGION,
    "IncorrectEndpoint": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "RequestTimeTooSkewed": _CLOCK,
    "QuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
    "InsufficientStorage": _FULL,
    "InvalidPart": _PARTS,
    "InvalidPartOrder": _PARTS,
    "EntityTooSmall": _PARTS,
    "EntityTooLarge": _PARTS,
    "AuthenticationFailed": "The storage refuses the credentials: check access_key, and the clock of this server.",
    "AuthorizationFailure": _DENIED,
    "AuthorizationPermissionMismatch": _DENIED,
    "InsufficientAccountPermissions": _DENIED,
    "AccountIsDisabled": _DENIED,
    "ContainerNotFound": _BUCKET,
    "ContainerBeingDeleted": _BUCKET,
    "InvalidResourceName": _BUCKET,
    "ResourceNotFound": _BUCKET,
}
_GONE = ("NoSuchKey", "NoSuchUpload", "NotFound", "BlobNotFound", "InvalidBlockList", "InvalidBlockId")
_LATER = (
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "OperationAborted",
    "ServerBusy",
    "BadDigest",
    "Md5Mismatch",
    "XAmzContentSHA256Mismatch",
)


def store_error(code: str, status: int, what: str) -> TapedeckError:
    """The error behind a code and a status; `what` is the key that was asked for."""
    if code in _WORDS:
        return DestinationError(_WORDS[code])
    if code in _LATER or status in (408, 429) or status >= 500:
        return UnavailableError(f"The storage cannot do it now ({status}).", retry_after_s=30)
    if code in _GONE or status == 404:
        return NotFoundError(f"No object under {what}")
    if status in (401, 403):
        return DestinationError(_DENIED)
    if status in (301, 302, 307, 308):
        return DestinationError(_REGION)
    return DestinationError(_SETTINGS)


def refused_address() -> RefusedTargetError:
    """The guard did not let us connect."""
    return RefusedTargetError(REFUSED_ADDRESS)


def strange() -> DestinationError:
    """Something answered, but not as such a store does."""
    return DestinationError("What answers is no such storage: check its type and its endpoint.")


def unreachable(error: BaseException) -> UnreachableError:
    """No connection, or one that broke."""
    text = ""
    seen: BaseException | None = error
    while seen is not None:
        text += f"{type(seen).__name__} {seen} ".lower().replace("ssl:default", "")
        seen = seen.__cause__ or seen.__context__
    if "certificate" in text or "sslerror" in text or "[ssl" in text:
        return UnreachableError("The storage cannot prove who it is (TLS): check the endpoint.")
    if "timeout" in text or "timed out" in text:
        return UnreachableError("The storage does not answer in time.")
    if any(words in text for words in ("refused", "unreachable", "no route", "connect call failed")):
        return UnreachableError("Nothing answers where the storage should be: check its host and its port.")
    if any(words in text for words in ("getaddrinfo", "name or service", "name resolution", "nodename", "no address")):
        return UnreachableError("The storage's host name is not known: check its host, endpoint or region.")
    return UnreachableError("The connection to the storage broke.")
