"""The URL of a bucket: what it names, and what is said of one that cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from tapedeck.core.bucketurl import bucket_storage
from tapedeck.core.errors import InvalidError


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
        ("gs://rec/p", {"type": "gcs", "bucket": "rec", "path": "p", "secret": "SK"}),
        ("az://films", {"type": "azure", "bucket": "films", "path": "", "access_key": "AK"}),
    ],
)
def test_a_url_names_a_storage(url: str, storage: dict[str, Any] | None) -> None:
    assert bucket_storage(url, "AK", "SK") == storage


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
    ],
)
def test_a_url_that_names_none_is_told_why(url: str, words: str) -> None:
    with pytest.raises(InvalidError, match=words) as caught:
        bucket_storage(url, "AK", "SK")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(("url", "name"), [("s3://a", "ACCESS_KEY"), ("gs://a", "SECRET"), ("az://a", "ACCESS_KEY")])
def test_a_bucket_elsewhere_needs_its_credentials(url: str, name: str) -> None:
    with pytest.raises(InvalidError, match=f"BUCKET_{name} is needed"):
        bucket_storage(url)
