"""What log lines must not carry."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from tapedeck.logs import configure_logs, redact


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("token eyJhbGciOi.eyJvcmdJZCI6.c2lnbmF0dXJl here", "eyJvcmdJZCI6"),
        ("made tdk_Zm9vYmFyYmF6cXV4", "Zm9vYmFy"),
        ("/files/a.mp4?expires=1&signature=ULCceROEGgNg", "ULCceROEGgNg"),
        ('{"secret": "hunter22"}', "hunter22"),
        ("{'secret': 'hunter22'}", "hunter22"),
        ("aws_secret_access_key=hunter22", "hunter22"),
        ("AccountName=films;AccountKey=aHVudGVyMjI=;EndpointSuffix=core.windows.net", "aHVudGVy"),
        ("https://s3.example/b/k?X-Amz-Signature=0123abcd&x=1", "0123abcd"),
        ("it began with -----BEGIN PRIVATE KEY-----\nhunter\n-----END PRIVATE KEY----- and went on", "hunter"),
        ("cut: -----BEGIN OPENSSH PRIVATE KEY-----\\nhunter", "hunter"),
        ("candidate 203.0.113.7 49152 typ host", "203.0.113.7"),
        ("from ('2001:db8::17', 5000)", "2001:db8::17"),
        ("peer [fe80::1%eth0]:5000", "fe80::1"),
    ],
)
def test_secrets_and_addresses_are_masked(text: str, secret: str) -> None:
    assert secret not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01T10:11:12Z",
        "8b1c5a0e-0a54-4d0d-9a39-2f3f0c6a1d11",
        "version 5.9.0 of the SDK",
        "took 10:11:12",
    ],
)
def test_what_a_reader_needs_is_left(text: str) -> None:
    assert redact(text) == text


def test_json_lines_have_one_action_whoever_wrote_them(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "info")
    logging.getLogger("library").warning("sent to 203.0.113.7", extra={"action": "sent", "count": 2})
    structlog.get_logger().info("peer.joined", peer="203.0.113.8")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["action"], first["count"]) == ("sent", 2)
    assert second["action"] == "peer.joined"
    assert "203.0.113" not in json.dumps([first, second])


def test_tracebacks_are_masked_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text", "info")
    try:
        raise ConnectionError("no answer from 203.0.113.9 for Bearer abcdef123456")
    except ConnectionError:
        structlog.get_logger().exception("peer.failed")
    said = capsys.readouterr().err
    assert "ConnectionError" in said
    assert "203.0.113.9" not in said
    assert "abcdef123456" not in said
