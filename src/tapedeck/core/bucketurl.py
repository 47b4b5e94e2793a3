"""The URL of a bucket, as settings and the command line have it: `file:///dir`, `s3://`, `gs://`, `az://`. Pure.

Credentials are never part of it: URLs end up in process lists and logs.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tapedeck.core.destination import clean_path, path_problem
from tapedeck.core.egress import url_problem
from tapedeck.core.errors import InvalidError

__all__ = ["bucket_storage"]

_TYPES = {"s3": "aws", "gs": "gcs", "az": "azure"}
_OPTIONS = {"s3": {"region", "endpoint"}, "gs": {"endpoint"}, "az": set[str]()}


def bucket_storage(url: str, access_key: str | None = None, secret: str | None = None) -> dict[str, Any] | None:
    """The storage behind a URL, in the words of `core.destination`; None for a directory. InvalidError.

    `s3://bucket/prefix?region=eu-west-1&endpoint=https://host`; with the scheme `gs` the secret is the JSON of a
    service account's key, with `az` the access key is a connection string.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc or not parts.path.startswith("/"):
            raise InvalidError("give file:///path, with an absolute path")
        return None
    if parts.scheme not in _TYPES:
        raise InvalidError("give file:///path, s3://bucket, gs://bucket or az://container")
    if "@" in parts.netloc:
        raise InvalidError("give the credentials in BUCKET_ACCESS_KEY and BUCKET_SECRET, not in the URL")
    path = unquote(parts.path)
    if not parts.netloc or ":" in parts.netloc:
        raise InvalidError(f"give the name of the bucket: {parts.scheme}://bucket")
    if problem := path_problem(path):
        raise InvalidError(f"the path {problem}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(options) - _OPTIONS[parts.scheme]):
        raise InvalidError(f"there is no option {unknown[0]} for {parts.scheme}://")
    if "endpoint" in options and (problem := url_problem(options["endpoint"])):
        raise InvalidError(f"the endpoint {problem}")
    storage = {"type": _TYPES[parts.scheme], "bucket": parts.netloc, "path": clean_path(path)} | options
    given = {"access_key": access_key, "secret": secret}
    for name in {"s3": ("access_key", "secret"), "gs": ("secret",), "az": ("access_key",)}[parts.scheme]:
        if not given[name]:
            raise InvalidError(f"BUCKET_{name.upper()} is needed for {parts.scheme}://")
        storage[name] = given[name] or ""
    return storage
