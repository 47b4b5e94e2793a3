"""The server's own signature on what it sends."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Signer"]


class Signer(Protocol):
    """One RSA key, made at the first start and kept."""

    @property
    def public_pem(self) -> str:
        """The public key as SubjectPublicKeyInfo PEM (RFC 7468)."""

    def sign(self, body: bytes) -> bytes:
        """RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017 8.2) over exactly these bytes."""
