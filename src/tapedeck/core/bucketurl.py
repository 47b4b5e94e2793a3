"""The URL of a bucket, as settings and the command line have it: `file:///dir`, `s3://`, `gs://`, `az://`. Pure.

Credentials are never part of it: URLs end up in process lists and logs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from tapedeck.core.credential import (
    bucket_problem,
    connection_problem,
    container_problem,
    endpoint_problem,
    key_problem,
    region_problem,
    service_account_problem,
)
from tapedeck.core.destination import clean_path, path_problem
from tapedeck.core.errors import InvalidError

__all__ = ["bucket_directory", "bucket_storage"]

_TYPES = {"s3": "aws", "gs": "gcs", "az": "azure"}
_OPTIONS = {"s3": {"region", "endpoint"}, "gs": {"endpoint"}, "az": set[str]()}


_CHECKS: dict[tuple[str, str], Callable[[str], str | None]] = {
    ("s3", "access_key"): key_problem,
    ("s3", "secret"): key_problem,
    ("gs", "secret"): service_account_problem,
    ("az", "access_key"): connection_problem,
}
"""What each scheme needs, and how it must be."""


def bucket_directory(url: str) -> str:
    """The directory that a `file://` URL names. InvalidError."""
    parts = _split(url)
    path = unquote(parts.path)
    if parts.netloc or not path.startswith("/") or "\0" in path:
        raise InvalidError("give file:///path, with an absolute path")
    if parts.query or parts.fragment:
        raise InvalidError("there are no options for file://; write %3F and %23 for ? and # in a path")
    return path


def bucket_storage(url: str, access_key: str | None = None, secret: str | None = None) -> dict[str, Any] | None:
    """The storage behind a URL, in the words of `core.destination`; None for a directory. InvalidError.

    `s3://bucket/prefix?region=eu-west-1&endpoint=https://host`; with the scheme `gs` the secret is the JSON of a
    service account's key, with `az` the access key is a connection string.
    """
    parts = _split(url)
    scheme = parts.scheme
    if scheme == "file":
        bucket_directory(url)
        return None
    if scheme not in _TYPES:
        raise InvalidError("give file:///path, s3://bucket, gs://bucket or az://container")
    if "@" in parts.netloc:
        raise InvalidError("give the credentials in BUCKET_ACCESS_KEY and BUCKET_SECRET, not in the URL")
    path = unquote(parts.path)
    if not parts.netloc or ":" in parts.netloc:
        raise InvalidError(f"give the name of the bucket: {scheme}://bucket")
    if problem := (container_problem if scheme == "az" else bucket_problem)(parts.netloc):
        raise InvalidError(f"what comes after {scheme}:// {problem}")
    if problem := path_problem(path):
        raise InvalidError(f"the path {problem}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    options |= {"region": options["region"].lower()} if "region" in options else {}
    if unknown := sorted(set(options) - _OPTIONS[scheme]):
        raise InvalidError(f"there is no option {unknown[0]} for {scheme}://")
    for name, problem_of in (("endpoint", endpoint_problem), ("region", region_problem)):
        if name in options and (problem := problem_of(options[name])):
            raise InvalidError(f"the {name} {problem}")
    storage = {"type": _TYPES[scheme], "bucket": parts.netloc, "path": clean_path(path)} | options
    given = {"access_key": access_key, "secret": secret}
    for (of, name), check in _CHECKS.items():
        if of != scheme:
            continue
        value = (given[name] or "").strip()
        if not value:
            raise InvalidError(f"BUCKET_{name.upper()} is needed for {scheme}://")
        if problem := check(value):
            raise InvalidError(f"BUCKET_{name.upper()} {problem}")
        storage[name] = value
    return storage


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise InvalidError("give file:///path, s3://bucket, gs://bucket or az://container") from None
