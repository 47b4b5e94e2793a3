"""Joins CRC-32C checksums, so that a file written in another order than it is read needs no second reading.

Owns the mathematics only; bytes are summed by the google-crc32c library. Castagnoli's polynomial as in RFC 9260
appendix A, bits reflected.
"""

from __future__ import annotations

__all__ = ["combine"]

_POLYNOMIAL = 0x82F6_3B78
_ONE = 1 << 31
"The polynomial 1; each factor of x is one place to the right."


def combine(first: int, second: int, second_length: int) -> int:
    """The CRC-32C of A + B from those of A and of B, and the length of B in bytes. O(log length)."""
    power, factor, exponent = _ONE, _ONE >> 1, 8 * second_length
    while exponent:
        if exponent & 1:
            power = _multiply(power, factor)
        factor = _multiply(factor, factor)
        exponent >>= 1
    return _multiply(power, first) ^ second


def _multiply(a: int, b: int) -> int:
    """a * b modulo the polynomial."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = (a << 1) & 0xFFFF_FFFF
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product
