"""Which addresses and URLs this server connects to for others."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapedeck.core.egress import is_public, is_public_text, named_privately, url_problem

PRIVATE = [
    "127.0.0.1", "127.8.9.10", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::808:808", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
    "2002:7f00:1::", "2001:0:7f00:1::", "",
    "not an address",
]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_places_that_are_not_public(text: str) -> None:
    assert not is_public_text(text)


@pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_places_that_are(text: str) -> None:
    assert is_public_text(text)


@given(st.ip_addresses(v=4))
def test_a_mapped_address_is_what_it_maps(address: object) -> None:
    assert is_public(ip_address(str(address))) is is_public(ip_address(f"::ffff:{address}"))


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "//example.org/", "ftp://example.org/", "file:///etc/passwd", "http://", "https:///path", "http://[::1",
        "http://example.org:99999/", "http://example.org:port/", "https://user@example.org/", "https://u:p@example.org/",
        "http://exa mple.org/", "http://example.org/\n", "http://example.org\\@evil.example/", "http://e/" + "a" * 2048,
    ],
)  # fmt: skip
def test_urls_that_no_endpoint_has(url: str) -> None:
    assert url_problem(url)


@pytest.mark.parametrize("url", ["http://example.org", "https://example.org:8443/a?b=c#d", "http://[2606:4700::1]/ä"])
def test_urls_of_endpoints(url: str) -> None:
    assert url_problem(url) is None and not named_privately(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/", "http://LOCALHOST.:80/", "http://a.localhost/", "http://db.internal/", "http://nas.local",
        "http://127.0.0.1:1/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
def test_urls_that_say_they_are_private(url: str) -> None:
    assert named_privately(url)
