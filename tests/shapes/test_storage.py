"""`storage_config`: what each type wants, named by field; what is taken, and under which names it goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tapedeck.core.errors import InvalidError
from tapedeck.shapes.bodies import MeetingBody, StartBody, parse

SERVICE_ACCOUNT = json.dumps({"type": "service_account", "client_email": "a@b", "private_key": "-----BEGIN"})
CONNECTION = "DefaultEndpointsProtocol=https;AccountName=films;AccountKey=Zm9v;EndpointSuffix=core.windows.net"
WHOLE: dict[str, dict[str, Any]] = {
    "aws": {"type": "aws", "access_key": "AK", "secret": "SK", "bucket": "rec", "region": "ap-south-1"},
    "digitalocean": {"type": "digitalocean", "access_key": "AK", "secret": "SK", "bucket": "rec", "region": "sgp1"},
    "cloudflare": {"type": "cloudflare", "access_key": "AK", "secret": "SK", "bucket": "rec"},
    "azure": {"type": "azure", "access_key": CONNECTION, "secret": "", "bucket": "rec", "region": ""},
    "gcs": {"type": "gcs", "secret": SERVICE_ACCOUNT, "bucket": "rec", "region": "US multi-region"},
    "sftp-key": {"type": "sftp", "host": "h", "username": "u", "auth_method": "KEY", "private_key": "-----BEGIN"},
    "sftp-password": {"type": "sftp", "host": "h", "username": "u", "auth_method": "PASSWORD", "password": "p"},
}


def taken(storage: Any) -> Any:
    return parse(StartBody, {"meeting_id": "m", "storage_config": storage}).config()["storage_config"]


def refused(storage: Any) -> dict[str, str]:
    with pytest.raises(InvalidError) as caught:
        taken(storage)
    return {problem.pointer.removeprefix("/storage_config"): problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_storage_is_taken_as_it_is(kind: str) -> None:
    assert taken(WHOLE[kind]) == WHOLE[kind] | ({"port": 22} if WHOLE[kind]["type"] == "sftp" else {})
    config = parse(MeetingBody, {"recording_config": {"storage_config": WHOLE[kind]}}).values()["recording_config"]
    assert config["storage_config"] == taken(WHOLE[kind])


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        *[(kind, field) for kind in ("aws", "digitalocean") for field in ("access_key", "secret", "bucket", "region")],
        *[("cloudflare", field) for field in ("access_key", "secret", "bucket")],
        *[("azure", field) for field in ("access_key", "bucket", "region")],
        *[("gcs", field) for field in ("secret", "bucket", "region")],
        *[("sftp-key", field) for field in ("host", "username", "auth_method", "private_key")],
        *[("sftp-password", field) for field in ("host", "username", "auth_method", "password")],
    ],
)
def test_a_field_that_its_type_wants_is_missed_by_name(kind: str, field: str) -> None:
    """[19 and the rules of F2]"""
    storage = {name: value for name, value in WHOLE[kind].items() if name != field}
    assert refused(storage) == {f"/{field}": f'"storage_config.{field}" is required'}
    assert f"/{field}" in refused(storage | {field: None})


@pytest.mark.parametrize("storage", [{}, {"type": None}, {"type": "disk"}, {"type": 1}])
def test_a_storage_has_a_type(storage: dict[str, Any]) -> None:
    assert set(refused(storage)) == {"/type"}


@pytest.mark.parametrize("storage", ["aws", [], 1, True])
def test_a_storage_is_an_object(storage: Any) -> None:
    assert refused(storage) == {"": '"storage_config" must be an object'}


@pytest.mark.parametrize(
    ("kind", "more", "pointer"),
    [
        ("aws", {"path": "../x"}, "/path"),
        ("aws", {"path": "a/../../x"}, "/path"),
        ("aws", {"path": 7}, "/path"),
        ("aws", {"bucket": "a/b"}, "/bucket"),
        ("aws", {"bucket": ".."}, "/bucket"),
        ("aws", {"access_key": ""}, "/access_key"),
        ("aws", {"secret": "x" * 17_000}, "/secret"),
        ("aws", {"access_key": "a\nX-Evil: evil"}, "/access_key"),
        ("aws", {"secret": "a\x00b"}, "/secret"),
        ("aws", {"region": "123"}, "/region"),
        ("aws", {"region": "eu-"}, "/region"),
        ("aws", {"region": "evil.example/"}, "/region"),
        ("aws", {"endpoint": "ftp://x"}, "/endpoint"),
        ("aws", {"endpoint": "https://user:pw@x"}, "/endpoint"),
        ("aws", {"endpoint": "https://x/path"}, "/endpoint"),
        ("digitalocean", {"region": ""}, "/region"),
        ("digitalocean", {"region": "evil.example/x#"}, "/region"),
        ("cloudflare", {"account_id": "a.b"}, "/account_id"),
        ("azure", {"access_key": ""}, "/access_key"),
        ("azure", {"access_key": "AccountName=x"}, "/access_key"),
        ("azure", {"access_key": "UseDevelopmentStorage=true"}, "/access_key"),
        ("azure", {"access_key": "AccountName=x/y;AccountKey=Zm9v"}, "/access_key"),
        ("azure", {"access_key": f"{CONNECTION};BlobEndpoint=file:///etc"}, "/access_key"),
        ("azure", {"access_key": CONNECTION.replace("Zm9v", "evil!")}, "/access_key"),
        ("azure", {"access_key": CONNECTION.replace("films", "evil\r\nX: y")}, "/access_key"),
        ("azure", {"bucket": "A_B"}, "/bucket"),
        ("gcs", {"secret": "{"}, "/secret"),
        ("gcs", {"secret": "[" * 10_000}, "/secret"),
        ("gcs", {"secret": json.dumps({"type": "external_account", "token_url": "http://x"})}, "/secret"),
        ("gcs", {"secret": json.dumps({"type": "service_account", "client_email": "x"})}, "/secret"),
        ("gcs", {"secret": SERVICE_ACCOUNT.replace("a@b", "\\ud800")}, "/secret"),
        ("sftp-key", {"username": "a\nb"}, "/username"),
        ("sftp-key", {"username": "\U0001f600"}, "/username"),
        ("sftp-key", {"host": ".."}, "/host"),
        ("sftp-key", {"host": "-"}, "/host"),
        ("sftp-key", {"port": 0}, "/port"),
        ("sftp-key", {"port": 22.5}, "/port"),
        ("sftp-key", {"host": "a b"}, "/host"),
        ("sftp-key", {"host": "-oProxyCommand=x"}, "/host"),
        ("sftp-key", {"auth_method": "NONE"}, "/auth_method"),
        ("sftp-key", {"private_key": " "}, "/private_key"),
        ("sftp-key", {"host_key": "what"}, "/host_key"),
        ("sftp-password", {"password": ""}, "/password"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_field_and_never_repeated(
    kind: str, more: dict[str, Any], pointer: str
) -> None:
    found = refused(WHOLE[kind] | more)
    assert set(found) == {pointer}
    assert len(found[pointer]) < 200 and "evil" not in found[pointer]


@pytest.mark.parametrize(
    ("kind", "more", "changed"),
    [
        ("aws", {"region": ""}, {"region": ""}),
        ("aws", {"path": "/"}, {"path": ""}),
        ("aws", {"path": "/2026/Ünïcode 录音/"}, {"path": "2026/Ünïcode 录音"}),
        ("aws", {"endpoint": "https://s3.example.org/"}, {"endpoint": "https://s3.example.org"}),
        ("aws", {"unknown": {"a": 1}, "id": "x"}, {}),
        ("digitalocean", {"region": "SGP1"}, {"region": "sgp1"}),
        ("cloudflare", {"account_id": "0123abcd"}, {"account_id": "0123abcd"}),
        ("azure", {"bucket": "$root"}, {"bucket": "$root"}),
        ("gcs", {"access_key": None}, {}),
        ("sftp-key", {"port": 2222.0, "password": "phrase"}, {"port": 2222, "password": "phrase"}),
        ("sftp-key", {"host": "::1"}, {"host": "::1", "port": 22}),
        ("sftp-key", {"host_key": "SHA256:" + "a" * 43}, {"host_key": "SHA256:" + "a" * 43, "port": 22}),
    ],
)
def test_what_can_be_meant_is_taken(kind: str, more: dict[str, Any], changed: dict[str, Any]) -> None:
    assert taken(WHOLE[kind] | more) == WHOLE[kind] | changed


def test_the_old_name_of_the_secret_is_taken() -> None:
    old = {name: value for name, value in WHOLE["aws"].items() if name != "secret"} | {"secret_key": "SK"}
    assert taken(old) == WHOLE["aws"]
    assert taken(WHOLE["aws"] | {"secret_key": "other"}) == WHOLE["aws"]


def test_an_error_does_not_carry_what_was_sent() -> None:
    storage = WHOLE["aws"] | {"secret": "geheim" * 4000, "path": "..", "access_key": 7}
    with pytest.raises(InvalidError) as caught:
        taken(storage)
    seen: BaseException | None = caught.value
    while seen is not None:
        assert "geheim" not in f"{seen!s} {seen!r}"
        seen = seen.__cause__ or seen.__context__
