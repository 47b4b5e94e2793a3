"""Keyed signatures: sub-keys of the server's secret, and links to files that expire.

Refuses to know where the secret comes from and what time it is: both are arguments.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime

from tapedeck.core.times import to_ms

__all__ = ["derive_key", "expiry_seconds", "sign_link", "verify_link"]


def derive_key(secret: str | bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose (HKDF-SHA256, RFC 5869, no salt), so that no key serves two."""
    material = secret.encode() if isinstance(secret, str) else secret
    if not material:
        raise ValueError("the secret is empty")
    extracted = hmac.digest(bytes(32), material, hashlib.sha256)
    return hmac.digest(extracted, b"tapedeck/" + purpose.encode() + b"\x01", hashlib.sha256)


def expiry_seconds(expires: datetime) -> int:
    """The Unix second from which a link is dead: the first one at or after `expires`."""
    return -(-to_ms(expires) // 1000)


def sign_link(key: bytes, object_key: str, file_name: str, expires_s: int) -> str:
    """Signature of one file under one name until one Unix second; URL-safe, without padding."""
    digest = hmac.digest(key, _message(object_key, file_name, expires_s), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def verify_link(key: bytes, object_key: str, file_name: str, expires_s: int, signature: str, now: datetime) -> bool:
    """Whether the signature is ours and the link still lives; compared in constant time."""
    wanted = sign_link(key, object_key, file_name, expires_s)
    genuine = hmac.compare_digest(wanted.encode(), signature.encode("utf-8", "replace"))
    return genuine and to_ms(now) < expires_s * 1000


def _message(object_key: str, file_name: str, expires_s: int) -> bytes:
    """Each field with its length before it, so that no two different links share one message."""
    fields = (object_key.encode("utf-8", "replace"), file_name.encode("utf-8", "replace"), str(expires_s).encode())
    return b"".join(len(field).to_bytes(8, "big") + field for field in fields)
