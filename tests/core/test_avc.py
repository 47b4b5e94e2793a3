"""H264 with lengths and with start codes: there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.avc import (
    config_sets,
    decoder_config,
    from_lengths,
    has_parameter_sets,
    is_config,
    nal_units,
    to_lengths,
)

SPS, PPS = bytes.fromhex("6742c01edA0280f6"), bytes.fromhex("68ce3c80")
units = st.binary(min_size=1, max_size=30).map(lambda data: b"\x65" + data.replace(b"\0", b"\1"))


@given(st.lists(units, min_size=1, max_size=4))
def test_lengths_become_start_codes(nals: list[bytes]) -> None:
    annexb = b"".join(b"\0\0\0\1" + nal for nal in nals)
    assert from_lengths(to_lengths(annexb)) == annexb
    assert nal_units(annexb) == nals


@given(st.lists(st.sampled_from([0, 0, 1, 2]), max_size=30).map(bytes))
def test_every_unit_has_its_length_whatever_lies_between_them(payload: bytes) -> None:
    assert to_lengths(payload) == b"".join(len(unit).to_bytes(4) + unit for unit in nal_units(payload))


def test_a_configuration_becomes_parameter_sets() -> None:
    record = decoder_config(SPS, PPS)
    sets = config_sets(record)
    assert is_config(record) and not is_config(sets) and not is_config(b"")
    assert sets == b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS
    assert has_parameter_sets(sets) and not has_parameter_sets(b"\0\0\0\1\x65abc")


@pytest.mark.parametrize("cut", range(1, 8))
def test_what_breaks_off_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match="too early"):
        from_lengths(b"\0\0\0\x08" + b"\x65" * (8 - cut))


@pytest.mark.parametrize("size", range(len(decoder_config(SPS, PPS))))
def test_a_configuration_that_breaks_off_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="too early"):
        config_sets(decoder_config(SPS, PPS)[:size])


def test_a_configuration_with_shorter_lengths_is_refused() -> None:
    record = bytearray(decoder_config(SPS, PPS))
    record[4] = 0xFD
    with pytest.raises(ValueError, match="four bytes"):
        config_sets(bytes(record))
