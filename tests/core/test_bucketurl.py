"""The URL of a bucket: what it names, and what is said of one that cannot be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tapedeck.core.bucketurl import bucket_directory, bucket_storage
from tapedeck.core.errors import InvalidError

ACCOUNT = json.dumps({"type": "service_account", "client_email": "a@b", "private_key": "-----BEGIN"})
CONNECTION = "AccountName=films;AccountKey=Zm9v"


@pytest.mark.parametrize(
    ("url", "storage"),
    [
        ("file:///var/films", None),
        ("s3://rec", {"type": "aws", "bucket": "rec", "path": "", "access_key": "AK", "secret": "SK"}),
        (
            "s3://rec/2026/x%20y/?region=auto&endpoint=https://a.r2.cloudflarestorage.com",
            {
                "type": "aws",
                "bucket": "rec",
                "path": "2026/x y",
                "region": "auto",
                "endpoint": "https://a.r2.cloudflarestorage.com",
                "access_key": "AK",
                "secret": "SK",
            },
        ),
        ("gs://rec/p", {"type": "gcs", "bucket": "rec", "path": "p", "secret": ACCOUNT}),
        ("az://films", {"type": "azure", "bucket": "films", "path": "", "access_key": CONNECTION}),
        (
            "s3://rec?region=EU-West-1",
            {"type": "aws", "bucket": "rec", "path": "", "region": "eu-west-1", "access_key": "AK", "secret": "SK"},
        ),
    ],
)
def test_a_url_names_a_storage(url: str, storage: dict[str, Any] | None) -> None:
    """With what an editor leaves at the end of a secret."""
    access_key, secret = {"gs": (None, ACCOUNT), "az": (CONNECTION, None)}.get(url[:2], ("AK", "SK"))
    assert bucket_storage(url, access_key and f"{access_key}\n", secret and f" {secret}\r\n") == storage


def test_a_directory_is_named_as_any_url_names_it() -> None:
    assert bucket_directory("file:///var/my%20films/%3F") == "/var/my films/?"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "give file:///path"),
        ("http://x", "give file:///path"),
        ("file://host/x", "absolute"),
        ("s3:///x", "name of the bucket"),
        ("s3://key:geheim@rec", "BUCKET_ACCESS_KEY"),
        ("s3://rec/../x", "path must not"),
        ("s3://rec?region=a&acl=public", "no option acl"),
        ("s3://rec?endpoint=ftp://x", "endpoint must"),
        ("az://rec?region=x", "no option region"),
        ("s3://[rec", "give file:///path"),
        ("s3://rec!", "name of a bucket"),
        ("az://Films_x", "name of a container"),
        ("s3://rec?region=a%20b", "region must"),
        ("s3://rec?region=123", "region must"),
        ("s3://rec?endpoint=https://x/rec", "endpoint must be only"),
        ("file:///var/films?size=1", "no options for file"),
        ("file:///var/films#1", "no options for file"),
        ("file:///var/%00", "absolute path"),
    ],
)
def test_a_url_that_names_none_is_told_why(url: str, words: str) -> None:
    with pytest.raises(InvalidError, match=words) as caught:
        bucket_storage(url, "AK", "SK")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "name"), [("s3://abc", "ACCESS_KEY"), ("gs://abc", "SECRET"), ("az://abc", "ACCESS_KEY")]
)
def test_a_bucket_elsewhere_needs_its_credentials(url: str, name: str) -> None:
    with pytest.raises(InvalidError, match=f"BUCKET_{name} is needed"):
        bucket_storage(url)


@pytest.mark.parametrize(
    ("url", "access_key", "secret", "words"),
    [
        ("s3://rec", "geheim\nX: y", "SK", "BUCKET_ACCESS_KEY must not have control characters"),
        ("s3://rec", "AK", "geheim\0", "BUCKET_SECRET must not have control characters"),
        ("gs://rec", None, "geheim", "BUCKET_SECRET must be the JSON text"),
        ("gs://rec", None, ACCOUNT.replace("service_account", "geheim"), 'key of the type "service_account"'),
        ("az://rec", "geheim", None, "BUCKET_ACCESS_KEY must be a connection string"),
        ("az://rec", "AccountName=films;AccountKey=geheim!", None, "AccountKey is as the portal shows it"),
        ("az://rec", "UseDevelopmentStorage=true", None, "not of development storage"),
    ],
)
def test_credentials_that_cannot_be_are_told_by_name(
    url: str, access_key: str | None, secret: str | None, words: str
) -> None:
    with pytest.raises(InvalidError, match=words) as caught:
        bucket_storage(url, access_key, secret)
    assert "geheim" not in str(caught.value)
