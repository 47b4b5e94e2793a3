"""Dialling through the guard, from a thread: what the address guard does for aiohttp is in `test_poster`."""

import socket

import pytest

from tapedeck.adapters.egress import Guard


@pytest.mark.parametrize("host", ["a" * 64 + ".example.com", "a..example.com", ".example.com"])
def test_a_name_that_no_host_can_have_is_a_failure_to_connect(host: str) -> None:
    with pytest.raises(socket.gaierror) as failed:
        Guard(allow_private=True).connect(host, 443, 1.0)
    assert failed.value.errno == socket.EAI_NONAME
