"""Seals credentials with AES-256-GCM. A sealed text is `v1.{key}.{nonce and ciphertext}`, in URL-safe base64.

`key` names the key without telling anything of it, so that a text of an old key is known for one.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tapedeck.core.errors import UnavailableError
from tapedeck.core.signing import derive_key

__all__ = ["AesSealer"]

_NONCE = 12
_UNKNOWN = (
    "Stored credentials cannot be read, because SECRET_KEY has changed: name the old key in SECRET_KEY_PREVIOUS, "
    "or set the storage again"
)


class AesSealer:
    """`ports.sealer.Sealer`. `secrets`: the server's secret, then former ones, which only open."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = {_name(secret): AESGCM(derive_key(secret, "credentials")) for secret in reversed(secrets)}
        self._current = _name(secrets[0])

    def seal(self, secrets: Mapping[str, str]) -> str:
        nonce = os.urandom(_NONCE)
        head = f"v1.{self._current}"
        text = json.dumps(dict(secrets)).encode()
        closed = nonce + self._keys[self._current].encrypt(nonce, text, head.encode())
        return f"{head}.{base64.urlsafe_b64encode(closed).decode()}"

    def unseal(self, sealed: str) -> dict[str, str]:
        head, _, body = sealed.rpartition(".")
        key = self._keys.get(head.removeprefix("v1."))
        if key is None:
            raise UnavailableError(_UNKNOWN)
        try:
            closed = base64.urlsafe_b64decode(body)
            opened = json.loads(key.decrypt(closed[:_NONCE], closed[_NONCE:], head.encode()))
        except (InvalidTag, binascii.Error, ValueError) as exc:
            raise UnavailableError("Stored credentials are damaged: set the storage again") from exc
        return {str(name): str(value) for name, value in opened.items()}

    def is_current(self, sealed: str) -> bool:
        return sealed.startswith(f"v1.{self._current}.")

    def __repr__(self) -> str:
        return f"AesSealer({len(self._keys)} keys)"


def _name(secret: str) -> str:
    return derive_key(secret, "name of the credentials key").hex()[:8]
