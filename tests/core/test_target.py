from __future__ import annotations

import pytest

from tapedeck.core.target import SrtPlace, address_problem, is_srt, place_of, retry_delay_s, shown_address, srt_place_of


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("srt://example.org:9000/x", "path"),
        ("srt://example.org", "port"),
        ("srt://example.org:9000?streamid=#!::r=a", "%23"),
        ("srt://example.org:9000?streamid=a&streamid=b", "once"),
        ("srt://example.org:9000?mode=listener", "caller"),
        ("srt://example.org:9000?pbkeylen=17", "16 or 24 or 32"),
        ("srt://example.org:9000?passphrase=short", "10 to 79"),
        ("srt://example.org:9000?streamid=" + "x" * 513, "512"),
        ("srt://example.org:9000?streamid=%00", "printed"),
        ("srt://example.org:9000?latency=fast", "milliseconds"),
        ("srt://example.org:9000?latency=10001", "milliseconds"),
        ("srt://example.org:9000?adapter=0.0.0.0", "no parameters but"),
        ("srt://example.org:9000?***", "secrets"),
        ("srt://a:b@example.org:9000", "user name"),
        ("http://example.org/x", "rtmp, rtmps or srt"),
        ("rtmp://example.org", "path"),
        ("rtmp://example.org/", "path"),
        ("rtmp:///x", "rtmp, rtmps or srt"),
        ("rtmp://a:b@example.org/x", "user name"),
        ("rtmp://example.org:0/x", "rtmp, rtmps or srt"),
        ("rtmp://example.org:99999/x", "valid uri"),
        ("rtmp://example.org/a b", "valid uri"),
        ("rtmp://example.org/live/***", "key"),
        ("rtmp://example.org/" + "x" * 2048, "characters"),
    ],
)
def test_addresses_that_nobody_could_stream_to_are_refused(url: str, why: str) -> None:
    assert why in str(address_problem(url))


@pytest.mark.parametrize(
    ("url", "shown", "app", "key", "port"),
    [
        (
            "rtmp://a.rtmp.youtube.com/live2/abcd-efgh",
            "rtmp://a.rtmp.youtube.com/live2/***",
            "live2",
            "abcd-efgh",
            1935,
        ),
        (
            "rtmps://live-api-s.facebook.com:443/rtmp/FB-1?s_bl=1&a=x/y",
            "rtmps://live-api-s.facebook.com:443/rtmp/***",
            "rtmp",
            "FB-1?s_bl=1&a=x/y",
            443,
        ),
        ("rtmp://h/app/instance/key", "rtmp://h/app/***", "app/instance", "key", 1935),
        ("rtmp://h/app/key#1?a=b", "rtmp://h/app/***", "app", "key#1?a=b", 1935),
        ("rtmps://h/only", "rtmps://h/***", "only", "", 443),
    ],
)
def test_an_address_is_taken_apart_and_shown_without_its_key(
    url: str, shown: str, app: str, key: str, port: int
) -> None:
    assert address_problem(url) is None
    assert shown_address(url) == shown
    place = place_of(url)
    assert (place.app, place.key, place.port, place.tls) == (app, key, port, url.startswith("rtmps"))
    assert place.tc_url == url.removesuffix(key).rstrip("/")
    assert not key or key not in repr(place)


def test_an_srt_address_is_taken_apart_and_shown_as_its_server() -> None:
    url = "srt://[2001:db8::1]:9000?mode=caller&streamid=%23!::r%3Da+b,m%3Dpublish"
    url += "&passphrase=s3cret-s3cret&pbkeylen=32&latency=300"
    assert address_problem(url) is None
    assert is_srt(url)
    assert shown_address(url) == "srt://[2001:db8::1]:9000?***"
    place = srt_place_of(url)
    assert place == SrtPlace("2001:db8::1", 9000, "#!::r=a+b,m=publish", "s3cret-s3cret", 32, 300)
    assert "s3cret" not in repr(place) and "publish" not in repr(place)
    assert srt_place_of("srt://h:1") == SrtPlace("h", 1, "", "", 16, 500)
    assert shown_address("srt://h:1") == "srt://h:1"


def test_pauses_grow_to_half_a_minute_and_differ_between_targets() -> None:
    assert [retry_delay_s(n, 1.0) for n in (1, 2, 3, 9, 1000)] == [1.0, 2.0, 4.0, 30.0, 30.0]
    assert retry_delay_s(9, 0.0) == 15.0
