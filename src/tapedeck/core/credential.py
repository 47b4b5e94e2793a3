"""What a storage is told so that it lets somebody in: names of buckets, regions, addresses, credentials. Pure.

Each check says what is wrong with a value as the end of a sentence, None when nothing is, and never repeats the value.
Owns what a storage's own client would choke on: it is refused where it comes in, not tried for hours.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from urllib.parse import urlsplit

from tapedeck.core.egress import url_problem

__all__ = [
    "bucket_problem",
    "connection_problem",
    "container_problem",
    "endpoint_problem",
    "host_problem",
    "key_problem",
    "region_problem",
    "service_account_problem",
    "user_problem",
]

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
_CONTAINER = re.compile(r"\$root|\$web|[a-z0-9][a-z0-9-]{1,62}")
_REGION = re.compile(r"(?![0-9]+$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A label of a host name; one of digits alone boto3 has no address for."""
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?|[0-9a-fA-F:.]{2,45}")


def bucket_problem(name: str) -> str | None:
    """Of a bucket of S3's kind or Google's."""
    return None if _BUCKET.fullmatch(name) else "must be the name of a bucket: letters, digits, dots and hyphens"


def container_problem(name: str) -> str | None:
    """Of a container of Azure's."""
    return None if _CONTAINER.fullmatch(name) else "must be the name of a container: small letters, digits and hyphens"


def region_problem(region: str) -> str | None:
    """Of a region in small letters."""
    return None if _REGION.fullmatch(region) else "must be a region, such as ap-south-1"


def endpoint_problem(url: str) -> str | None:
    """Of the address of an S3-compatible store."""
    if problem := url_problem(url):
        return problem
    parts = urlsplit(url)
    bare = not parts.query and not parts.fragment and not parts.path.strip("/")
    return None if bare else "must be only a scheme, a host and a port"


def host_problem(host: str) -> str | None:
    """Of a host name or an address."""
    found = _HOST.fullmatch(host) and ".." not in host
    return None if found else "must be a host name or an address"


def key_problem(key: str) -> str | None:
    """Of a key or a secret that goes into a header."""
    if not key.strip():
        return "must not be empty"
    return "must not have control characters" if any(unicodedata.category(c) == "Cc" for c in key.strip()) else None


def user_problem(name: str) -> str | None:
    """Of a user name of SSH: what RFC 4013 has no form for, nobody has."""
    if not name.strip():
        return "must not be empty"
    # Unicode 3.2 is what SASLprep knows; whatever came later is unassigned there.
    if any(unicodedata.ucd_3_2_0.category(c) in _NO_NAME for c in unicodedata.ucd_3_2_0.normalize("NFKC", name)):
        return "must be a user name"
    return None


_NO_NAME = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")


def service_account_problem(text: str) -> str | None:
    """Of a service account's JSON. Nothing but its name and its key is used: no address in it is ever asked."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return "must be the JSON text of a service account's key"
    if not isinstance(found, dict) or found.get("type") != "service_account":
        return 'must be the JSON text of a key of the type "service_account"'
    for name in ("client_email", "private_key"):
        if not isinstance(found.get(name), str) or not found[name].strip():
            return f"must be the JSON text of a service account's key, with {name}"
    if not found["client_email"].isprintable():
        return "must be the JSON text of a service account's key, with an address as client_email"
    return None


def connection_problem(text: str) -> str | None:
    """Of an Azure connection string, whole enough to be used."""
    parts: dict[str, str] = {}
    for piece in text.strip().strip(";").split(";"):
        name, separator, value = piece.partition("=")
        if not separator:
            return "must be a connection string, such as AccountName=...;AccountKey=..."
        parts[name.strip().lower()] = value.strip()
    if not text.strip().isprintable():
        return "must be a connection string without control characters"
    if parts.get("usedevelopmentstorage"):
        return "must be a connection string of an account, not of development storage"
    if not parts.get("sharedaccesssignature") and not (parts.get("accountname") and parts.get("accountkey")):
        return "must be a connection string with AccountName and AccountKey, or with SharedAccessSignature"
    if not _is_base64(parts.get("accountkey", "")):
        return "must be a connection string whose AccountKey is as the portal shows it"
    endpoint = parts.get("blobendpoint")
    if endpoint is not None and url_problem(endpoint):
        return "must be a connection string whose BlobEndpoint is a URL"
    if endpoint is None and not re.fullmatch(r"[a-z0-9]{3,24}", parts.get("accountname", "")):
        return "must be a connection string with AccountName, or with BlobEndpoint"
    if not re.fullmatch(r"[A-Za-z0-9.-]*", parts.get("endpointsuffix", "")):
        return "must be a connection string whose EndpointSuffix is a host name"
    return None


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True
