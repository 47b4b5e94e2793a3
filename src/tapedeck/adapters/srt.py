"""SRT by libsrt, the library of its makers, where the machine has it: a connection that takes live media.

Owns the library's names, numbers and errors. Refuses to resolve names (`dial`): it connects to an address. What a
passphrase is goes into the library's memory and nowhere else.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from functools import cache

from tapedeck.core.errors import UnavailableError

__all__ = ["PAYLOAD", "BrokenConnectionError", "RefusedConnectionError", "SrtConnection", "has_srt"]

PAYLOAD = 1316
"""Bytes of a message: seven packets of MPEG-TS."""

_NAMES = (
    "libsrt-openssl.so.1.5",
    "libsrt-gnutls.so.1.5",
    "libsrt.so.1.5",
    "libsrt-openssl.so.1.4",
    "libsrt-gnutls.so.1.4",
    "libsrt.so.1.4",
    "libsrt.1.5.dylib",
)
"""Of Debian's two builds, and of everybody else's."""
_SNDSYN, _SNDBUF, _PASSPHRASE, _PBKEYLEN, _CONNTIMEO = 1, 5, 26, 27, 36
_LATENCY, _SNDDROPDELAY, _PEERLATENCY, _STREAMID, _PEERIDLETIMEO = 23, 32, 44, 46, 55
_FULL = 6001
"""SRT_EASYNCSND: there is no room now."""
_NO_SERVER, _REJECTED = 1001, 1002
_BAD_SECRET, _UNSECURE, _TIMEOUT, _USER_CODES = 10, 11, 16, 1000
_SEND_BUFFER = 2 << 20
_QUIET = 2
"""Of its log: only what is fatal."""


class RefusedConnectionError(Exception):
    """There is no connection; the text may be shown."""


class BrokenConnectionError(Exception):
    """The connection ended."""


@cache
def _library() -> ctypes.CDLL | None:
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.srt_rejectreason_str.restype = ctypes.c_char_p
        return library
    return None


def has_srt() -> bool:
    """Whether this machine has libsrt."""
    return _library() is not None


class SrtConnection:
    """A caller's connection in live mode. Nothing here waits but `connect`."""

    def __init__(self) -> None:
        """UnavailableError: there is no libsrt."""
        library = _library()
        if library is None:
            raise UnavailableError("SRT needs libsrt, which this machine does not have.")
        self._library = library
        library.srt_startup()
        library.srt_setloglevel(_QUIET)
        self._socket = library.srt_create_socket()

    def connect(
        self,
        family: int,
        address: str,
        port: int,
        *,
        stream_id: str,
        passphrase: str,
        key_bytes: int,
        latency_ms: int,
        timeout_s: float,
        silence_s: float,
    ) -> None:
        """`silence_s`: a server that is not heard for so long is lost. RefusedConnectionError."""
        self._set(_CONNTIMEO, int(timeout_s * 1000))
        self._set(_PEERIDLETIMEO, int(silence_s * 1000))
        self._set(_LATENCY, latency_ms)
        self._set(_SNDBUF, _SEND_BUFFER)
        self._set(_SNDDROPDELAY, -1)  # what the server does not confirm is not thrown away as if it had
        if passphrase:
            self._set(_PBKEYLEN, key_bytes)
            self._set(_PASSPHRASE, passphrase)
        if stream_id:
            self._set(_STREAMID, stream_id)
        name = _sockaddr(family, address, port)
        if self._library.srt_connect(self._socket, name, len(name)) != 0:
            raise RefusedConnectionError(self._why())
        self._set(_SNDSYN, 0)

    def send(self, message: bytes) -> bool:
        """Whether there was room for at most `PAYLOAD` bytes. BrokenConnectionError."""
        if self._library.srt_send(self._socket, message, len(message)) == len(message):
            return True
        if self._library.srt_getlasterror(None) == _FULL:
            return False
        raise BrokenConnectionError

    def unconfirmed(self) -> int:
        """Bytes that the server has not confirmed. BrokenConnectionError."""
        blocks, size = ctypes.c_size_t(0), ctypes.c_size_t(0)
        if self._library.srt_getsndbuffer(self._socket, ctypes.byref(blocks), ctypes.byref(size)) < 0:
            raise BrokenConnectionError
        if self._library.srt_getsockstate(self._socket) != _CONNECTED:
            raise BrokenConnectionError
        return size.value

    def latency_s(self) -> float:
        """How long the server holds media back before it hands it on, as both sides agreed."""
        value, size = ctypes.c_int32(0), ctypes.c_int(4)
        self._library.srt_getsockflag(self._socket, _PEERLATENCY, ctypes.byref(value), ctypes.byref(size))
        return value.value / 1000

    def close(self) -> None:
        """Say goodbye and give everything back."""
        self._library.srt_close(self._socket)
        self._library.srt_cleanup()

    def _set(self, option: int, value: int | str) -> None:
        data: ctypes.c_int32 | bytes
        if isinstance(value, int):
            data, size = ctypes.c_int32(value), 4
            given = self._library.srt_setsockflag(self._socket, option, ctypes.byref(data), size)
        else:
            data = value.encode()
            given = self._library.srt_setsockflag(self._socket, option, data, len(data))
        if given != 0:
            raise RefusedConnectionError("libsrt does not take what the address says")

    def _why(self) -> str:
        if self._library.srt_getlasterror(None) == _NO_SERVER:
            return "the server did not answer in time"
        reason = self._library.srt_getrejectreason(self._socket)
        match reason:
            case n if n == _BAD_SECRET:
                return "the passphrase is not the server's"
            case n if n == _UNSECURE:
                return "one side has a passphrase and the other has none"
            case n if n == _TIMEOUT:
                return "the server did not answer in time"
        return f"the server refused the stream ({reason})" if reason > _USER_CODES else "the server refused the stream"


_CONNECTED = 5
"""SRTS_CONNECTED."""


def _sockaddr(family: int, address: str, port: int) -> bytes:
    packed = socket.inet_pton(family, address.partition("%")[0])
    body = struct.pack(">H", port)
    body += packed + bytes(8) if family == socket.AF_INET else bytes(4) + packed + bytes(4)
    if sys.platform == "darwin":
        return struct.pack("BB", len(body) + 2, family) + body
    return struct.pack("=H", family) + body
