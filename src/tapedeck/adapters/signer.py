"""RSA signatures with `cryptography`. Owns the key file; refuses to show the private key."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tapedeck.core.errors import UnavailableError

__all__ = ["RsaSigner", "is_signed"]

_BITS = 2048


class RsaSigner:
    """`ports.signer.Signer` with an RSA-2048 key."""

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self._pem = (
            key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode()
        )

    @classmethod
    def keep(cls, path: Path) -> RsaSigner:
        """The key in the file, made with mode 0600 when there is none. UnavailableError when it cannot be used."""
        try:
            with contextlib.suppress(FileNotFoundError):
                return cls(_load(path.read_bytes()))
            key = rsa.generate_private_key(public_exponent=65_537, key_size=_BITS)
            _write(path, key)
        except (OSError, ValueError) as exc:
            raise UnavailableError(f"The webhook key {path} cannot be used: {exc}") from exc
        return cls(key)

    @property
    def public_pem(self) -> str:
        return self._pem

    def sign(self, body: bytes) -> bytes:
        return self._key.sign(body, padding.PKCS1v15(), hashes.SHA256())


def is_signed(pem: str, body: bytes, signature: bytes) -> bool:
    """Whether a signature is one of a body, by the PEM of somebody's public key (RSA, PKCS #1 v1.5, SHA-256)."""
    try:
        key = serialization.load_pem_public_key(pem.encode())
        if not isinstance(key, rsa.RSAPublicKey):
            return False
        key.verify(signature, body, padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _load(pem: bytes) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("it is not an RSA key")
    return key


def _write(path: Path, key: rsa.RSAPrivateKey) -> None:
    """The whole file or none: what a crash leaves half-written has another name."""
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
