"""Links that cannot be altered and that end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.signing import derive_key, expiry_seconds, sign_link, verify_link

KEY = derive_key("secret", "links")
NOW = datetime(2026, 3, 2, tzinfo=UTC)
UNTIL = expiry_seconds(NOW + timedelta(seconds=10))
TEXT = st.text(max_size=20)


def test_keys_differ_by_secret_and_purpose_and_are_stable() -> None:
    keys = {derive_key(secret, purpose) for secret in ("a", "b") for purpose in ("links", "tokens")}
    assert len(keys) == 4 and {len(key) for key in keys} == {32}
    assert derive_key("a", "links") == derive_key(b"a", "links")
    with pytest.raises(ValueError, match="empty"):
        derive_key("", "links")


def test_key_derivation_is_that_of_rfc_5869() -> None:
    """Against the library's own HKDF."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    assert HKDF(SHA256(), 32, None, b"tapedeck/links").derive(b"secret") == KEY


@given(TEXT, TEXT, TEXT, TEXT, st.integers(0, 5))
def test_only_the_very_same_link_verifies(key: str, name: str, other_key: str, other_name: str, later: int) -> None:
    signature = sign_link(KEY, key, name, UNTIL)
    assert verify_link(KEY, key, name, UNTIL, signature, NOW)
    same = (key, name, 0) == (other_key, other_name, later)
    assert verify_link(KEY, other_key, other_name, UNTIL + later, signature, NOW) is same
    assert not verify_link(derive_key("other", "links"), key, name, UNTIL, signature, NOW)


def test_fields_cannot_flow_into_each_other() -> None:
    assert sign_link(KEY, "ab", "c", 1) != sign_link(KEY, "a", "bc", 1)
    assert sign_link(KEY, "a", "b1", 2) != sign_link(KEY, "a", "b", 12)


@pytest.mark.parametrize("signature", ["", "é", "x" * 1000, "\ud800"])
def test_nonsense_is_refused(signature: str) -> None:
    assert not verify_link(KEY, "a", "b", UNTIL, signature, NOW)


def test_a_link_dies_on_its_second() -> None:
    signature = sign_link(KEY, "a", "b", UNTIL)
    almost = NOW + timedelta(seconds=10) - timedelta(milliseconds=1)
    assert verify_link(KEY, "a", "b", UNTIL, signature, almost)
    assert not verify_link(KEY, "a", "b", UNTIL, signature, NOW + timedelta(seconds=10))


def test_expiry_is_rounded_up_so_that_no_link_dies_early() -> None:
    assert expiry_seconds(NOW) * 1000 == NOW.timestamp() * 1000
    assert expiry_seconds(NOW + timedelta(milliseconds=1)) == expiry_seconds(NOW) + 1
