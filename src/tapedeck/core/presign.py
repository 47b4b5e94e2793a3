"""Links that carry their own signature: AWS Signature 4 in the query, and Google's V4, which is the same but for names.

Pure: the time is an argument, the signature of Google's is made by the caller's key. A link is signed as of seven days
before its end (no longer is allowed), so the same link comes out whenever it is asked for, and one that has ended is
refused for having ended.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

__all__ = ["AWS", "GOOGLE", "LONGEST", "Scheme", "aws_signer", "link_times", "sign_url"]

LONGEST = timedelta(days=7)
"""No store takes a link that lives longer."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """The names that differ between the two."""

    algorithm: str
    prefix: str
    service: str
    end: str


AWS = Scheme("AWS4-HMAC-SHA256", "X-Amz-", "s3", "aws4_request")
GOOGLE = Scheme("GOOG4-RSA-SHA256", "X-Goog-", "storage", "goog4_request")


def link_times(now: datetime, expires: datetime) -> tuple[datetime, int]:
    """When a link that shall end at `expires` is signed, and its life in whole seconds."""
    end = expires.replace(microsecond=0) + timedelta(seconds=1 if expires.microsecond else 0)
    signed = min(end - LONGEST, now.replace(microsecond=0))
    return signed, int(min(end - signed, LONGEST) / timedelta(seconds=1))


def sign_url(
    scheme: Scheme,
    *,
    method: str,
    base: str,
    path: str,
    query: Mapping[str, str],
    owner: str,
    region: str,
    signed: datetime,
    life_s: int,
    sign: Callable[[str, bytes], str],
) -> str:
    """`base` (scheme and host) with `path` (raw, from the first slash) and a signed query.

    `owner` is the access key id or the service account; `sign` takes the scope's day and the text to sign, and returns
    the signature in hexadecimal.
    """
    signed = signed.astimezone(UTC)
    day, moment = f"{signed:%Y%m%d}", f"{signed:%Y%m%dT%H%M%SZ}"
    scope = f"{day}/{region}/{scheme.service}/{scheme.end}"
    host = base.split("://", 1)[1]
    wanted = dict(query) | {
        f"{scheme.prefix}Algorithm": scheme.algorithm,
        f"{scheme.prefix}Credential": f"{owner}/{scope}",
        f"{scheme.prefix}Date": moment,
        f"{scheme.prefix}Expires": str(life_s),
        f"{scheme.prefix}SignedHeaders": "host",
    }
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in wanted.items())
    text = "&".join(f"{name}={value}" for name, value in pairs)
    escaped = quote(path, safe="/-_.~")
    request = f"{method}\n{escaped}\n{text}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    digest = hashlib.sha256(request.encode()).hexdigest()
    signature = sign(day, f"{scheme.algorithm}\n{moment}\n{scope}\n{digest}".encode())
    return f"{base}{escaped}?{text}&{scheme.prefix}Signature={signature}"


def aws_signer(secret: str, region: str) -> Callable[[str, bytes], str]:
    """What signs for an AWS secret access key in one region."""

    def sign(day: str, text: bytes) -> str:
        key = f"AWS4{secret}".encode()
        for word in (day, region, AWS.service, AWS.end):
            key = hmac.digest(key, word.encode(), hashlib.sha256)
        return hmac.digest(key, text, hashlib.sha256).hex()

    return sign
