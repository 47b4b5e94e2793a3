"""Identifiers: parse and print. Making them needs randomness, so that happens outside of `core`."""

from __future__ import annotations

import re

from tapedeck.core.errors import InvalidError

__all__ = ["is_account_id", "is_app_id", "is_uuid", "parse_uuid"]

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_ACCOUNT = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_uuid(text: str) -> bool:
    """Whether it is a UUID in its canonical 36 characters, of any version, in any case."""
    return _UUID.fullmatch(text) is not None


def parse_uuid(text: str, field: str) -> str:
    """The id in lower case; InvalidError naming `field` if it is not a UUID."""
    if not is_uuid(text):
        raise InvalidError(f'BAD_REQUEST: "{field}" must be a valid GUID')
    return text.lower()


def is_account_id(text: str) -> bool:
    """Whether an operator may name an account so: 1 to 64 letters, digits, `_` or `-`."""
    return _ACCOUNT.fullmatch(text) is not None


def is_app_id(text: str) -> bool:
    """Whether an operator may name an app so: 1 to 64 printable ASCII characters that need no escape in a URL path."""
    return re.fullmatch(r"[A-Za-z0-9._~-]{1,64}", text) is not None and text not in {".", "..", "apps"}
