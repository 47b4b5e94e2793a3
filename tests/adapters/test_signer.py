"""The key of the server: made once, kept for its owner only, understood by Node's crypto."""

from __future__ import annotations

import base64
import stat
import subprocess
from pathlib import Path

import pytest

from tapedeck.adapters.signer import RsaSigner
from tapedeck.core.errors import UnavailableError

VERIFY = """
const { createVerify } = require('crypto');
const [pem, signature, body] = process.argv.slice(1).map((a) => Buffer.from(a, 'base64'));
process.stdout.write(String(createVerify('RSA-SHA256').update(body).verify(pem.toString(), signature)));
"""


def node_says(pem: str, signature: bytes, body: bytes) -> str:
    """What Node's crypto thinks of a signature."""
    parts = [base64.b64encode(part).decode() for part in (pem.encode(), signature, body)]
    return subprocess.run(["node", "-e", VERIFY, "--", *parts], check=True, capture_output=True, text=True).stdout


def test_node_verifies_and_refuses_a_flipped_byte(tmp_path: Path) -> None:
    """[46]"""
    signer = RsaSigner.keep(tmp_path / "webhook.pem")
    body = '{"title":"😀"}'.encode()
    signature = signer.sign(body)
    assert node_says(signer.public_pem, signature, body) == "true"
    assert node_says(signer.public_pem, signature, bytes([body[0] ^ 1]) + body[1:]) == "false"
    assert signer.public_pem.startswith("-----BEGIN PUBLIC KEY-----\n") and len(signature) == 256


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "data" / "webhook.pem"
    first = RsaSigner.keep(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert RsaSigner.keep(path).public_pem == first.public_pem
    assert [p.name for p in path.parent.iterdir()] == ["webhook.pem"]


def test_a_key_file_that_is_none_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "webhook.pem"
    path.write_text("nonsense")
    with pytest.raises(UnavailableError, match="cannot be used"):
        RsaSigner.keep(path)
    assert path.read_text() == "nonsense"
