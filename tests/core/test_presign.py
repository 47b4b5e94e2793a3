"""Signed links: as the clouds' own clients make them, for as long as it was said, and ended when they have ended."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import obstore
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from obstore.store import GCSStore

from tapedeck.core.presign import AWS, GOOGLE, LONGEST, aws_signer, link_times, sign_url

NOW = datetime(2026, 3, 2, 9, 15, 4, 120_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires", "life"),
    [
        (NOW + timedelta(days=7), timedelta(days=7)),
        (NOW + timedelta(minutes=5), timedelta(days=7)),
        (NOW - timedelta(days=1), timedelta(days=7)),
        (NOW + timedelta(days=30), timedelta(days=7)),
    ],
)
def test_a_link_is_signed_in_the_past_and_never_lives_longer_than_allowed(expires: datetime, life: timedelta) -> None:
    signed, life_s = link_times(NOW, expires)
    assert signed <= NOW and timedelta(seconds=life_s) <= life == LONGEST
    if expires <= NOW + LONGEST:
        assert abs(signed + timedelta(seconds=life_s) - expires) < timedelta(seconds=1)
    if expires <= NOW:
        assert link_times(NOW + timedelta(minutes=3), expires) == (signed, life_s), "the same link, whenever asked"


def _told(url: str, prefix: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items() if name.startswith(prefix)}


def _again(scheme: Any, url: str, owner: str, region: str, query: dict[str, str], sign: Any) -> str:
    parts = urlsplit(url)
    told = _told(url, scheme.prefix)
    return sign_url(
        scheme,
        method="GET",
        base=f"{parts.scheme}://{parts.netloc}",
        path=unquote(parts.path),
        query=query,
        owner=owner,
        region=region,
        signed=datetime.strptime(told[f"{scheme.prefix}Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
        life_s=int(told[f"{scheme.prefix}Expires"]),
        sign=sign,
    )


def test_a_link_to_s3_is_signed_as_by_the_clouds_own_client() -> None:
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url="https://s3.eu-west-1.amazonaws.com",
        region_name="eu-west-1",
        aws_access_key_id="AK",
        aws_secret_access_key="SK",
        config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}),
    )
    named = "attachment; filename=\"f_.mp4\"; filename*=UTF-8''f%C3%9F.mp4"
    asked = {"Bucket": "films", "Key": "2026/Ünï 录+&=~.mp4", "ResponseContentDisposition": named}
    theirs = client.generate_presigned_url("get_object", Params=asked, ExpiresIn=1234)
    query = {"response-content-disposition": named}
    ours = _again(AWS, theirs, "AK", "eu-west-1", query, aws_signer("SK", "eu-west-1"))
    assert _told(ours, "X-Amz-") == _told(theirs, "X-Amz-")
    assert urlsplit(ours)[:3] == urlsplit(theirs)[:3]


def test_a_link_to_google_is_signed_as_by_another_client() -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account: dict[str, Any] = {"client_email": "films@x.iam.gserviceaccount.com", "private_key": pem}
    account["private_key_id"] = "1"
    account |= {"type": "service_account", "client_id": "1", "token_uri": "http://127.0.0.1:1/", "disable_oauth": False}
    store = GCSStore("films", service_account_key=json.dumps(account))
    theirs = obstore.sign(store, "GET", "2026/film_1.mp4", timedelta(seconds=1234))

    def sign(_: str, text: bytes) -> str:
        return key.sign(text, padding.PKCS1v15(), hashes.SHA256()).hex()

    told = _told(theirs, "X-Goog-")
    region = told["X-Goog-Credential"].split("/")[2]
    assert _told(_again(GOOGLE, theirs, account["client_email"], region, {}, sign), "X-Goog-") == told
