"""sources.network: STUN and TURN URLs."""

from __future__ import annotations

import pytest

from tapedeck.core.errors import InvalidError
from tapedeck.sources.network import IceServer, NetworkSettings, parse_ice_servers


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("stun:stun.example.org", IceServer("stun.example.org", 3478)),
        ("stun:192.0.2.1:19302", IceServer("192.0.2.1", 19302)),
        ("stun:[2001:db8::1]:3479", IceServer("2001:db8::1", 3479)),
        ("turn:me:secret@turn.example.org", IceServer("turn.example.org", 3478, True, False, "udp", "me", "secret")),
        (
            "turn:me:secret@turn.example.org:99?transport=tcp",
            IceServer("turn.example.org", 99, True, False, "tcp", "me", "secret"),
        ),
        ("turns:me:secret@turn.example.org", IceServer("turn.example.org", 5349, True, True, "tcp", "me", "secret")),
    ],
)
def test_ice_server_urls_are_read(url: str, server: IceServer) -> None:
    assert parse_ice_servers([url]) == (server,)
    assert NetworkSettings(ice_servers=(url,)).servers == (server,)


@pytest.mark.parametrize("url", ["http://x", "stun:", "stun:a b", "turn:host", "turn:u:p@", "stuns:host", "stun:x:y:z"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidError):
        parse_ice_servers([url])


def test_passwords_are_not_shown() -> None:
    settings = NetworkSettings(ice_servers=("turn:me:hunter2@turn.example.org",))
    assert "hunter2" not in repr(settings)
    with pytest.raises(InvalidError) as caught:
        parse_ice_servers(["turn:me:hunter2@turn.example.org/path"])
    assert "hunter2" not in str(caught.value)


def test_nobody_is_contacted_unless_named() -> None:
    assert NetworkSettings().servers == ()
