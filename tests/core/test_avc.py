"""H264 with lengths and with start codes: there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.avc import decoder_config, has_parameter_sets, nal_units, start_codes, to_lengths

SPS, PPS = bytes.fromhex("6742c01edA0280f6"), bytes.fromhex("68ce3c80")
units = st.binary(min_size=1, max_size=30).map(lambda data: b"\x65" + data.replace(b"\0", b"\1"))


@given(st.lists(units, min_size=1, max_size=4))
def test_lengths_become_start_codes(nals: list[bytes]) -> None:
    annexb = b"".join(b"\0\0\0\1" + nal for nal in nals)
    assert start_codes(to_lengths(annexb)) == annexb
    assert start_codes(annexb) == annexb
    assert nal_units(annexb) == nals


def test_a_configuration_becomes_parameter_sets() -> None:
    sets = start_codes(decoder_config(SPS, PPS), is_config=True)
    assert sets == b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS
    assert has_parameter_sets(sets) and not has_parameter_sets(b"\0\0\0\1\x65abc")
    assert start_codes(b"", is_config=True) == b""


@pytest.mark.parametrize("cut", range(1, 8))
def test_what_breaks_off_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="too early"):
        start_codes(b"\0\0\0\x08" + b"\x65" * (8 - cut))
