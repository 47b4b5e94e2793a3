"""Sealed credentials: unreadable without the key, readable with a former one, known as such, never mistaken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.adapters.sealer import AesSealer
from tapedeck.core.errors import UnavailableError

OLD, NEW = "the first secret of all", "the second secret of all"
CREDENTIALS = {"access_key": "AKIA", "secret": "geheim ß 密"}


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=200), max_size=4))
def test_what_is_sealed_comes_back(secrets: dict[str, str]) -> None:
    sealer = AesSealer([OLD])
    assert sealer.unseal(sealer.seal(secrets)) == secrets


def test_a_sealed_text_tells_nothing_and_is_another_one_each_time() -> None:
    sealer = AesSealer([OLD])
    first, second = sealer.seal(CREDENTIALS), sealer.seal(CREDENTIALS)
    assert first != second and first.isascii()
    for text in (first, repr(sealer)):
        assert not any(secret in text for secret in (*CREDENTIALS.values(), OLD))


def test_after_a_rotation_the_old_key_opens_and_the_new_one_seals() -> None:
    old = AesSealer([OLD]).seal(CREDENTIALS)
    both = AesSealer([NEW, OLD])
    assert both.unseal(old) == CREDENTIALS and not both.is_current(old)
    new = both.seal(both.unseal(old))
    assert both.is_current(new)
    assert AesSealer([NEW]).unseal(new) == CREDENTIALS
    with pytest.raises(UnavailableError, match="SECRET_KEY_PREVIOUS"):
        AesSealer([NEW]).unseal(old)


def test_whatever_is_not_sealed_by_us_is_refused() -> None:
    sealer = AesSealer([OLD])
    sealed = sealer.seal(CREDENTIALS)
    head, body = sealed.rsplit(".", 1)
    flipped = body[:20] + ("A" if body[20] != "A" else "B") + body[21:]
    for text in ("", "v1", "v1.x.y", f"{head}.", f"{head}.{flipped}", f"{head}.é", f"v2.{sealed[3:]}"):
        with pytest.raises(UnavailableError):
            sealer.unseal(text)
