"""The `storage_config` object: which fields each type of storage wants, checked one by one.

What comes out is a plain mapping in the words of the API, cleaned, for `core.destination`. A text of an error never has
a value of the object in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from tapedeck.core.credential import (
    bucket_problem,
    connection_problem,
    container_problem,
    endpoint_problem,
    host_problem,
    key_problem,
    region_problem,
    service_account_problem,
    user_problem,
)
from tapedeck.core.destination import clean_path, path_problem

__all__ = ["STORAGE_TYPES", "StorageConfig", "storage_values"]

_SECRET_LIMIT = 16_384
_ACCOUNT = re.compile(r"[A-Za-z0-9]{1,64}")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")
_HOST_KEY = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]+={0,2}( .*)?")


def _refuse(why: str) -> PydanticCustomError:
    return PydanticCustomError("refused", "{why}", {"why": why})


def _check(problem: Callable[[str], str | None], clean: Callable[[str], str] = str) -> AfterValidator:
    def check(value: str) -> str:
        why = problem(value)
        if why is not None:
            raise _refuse(why)
        return clean(value)

    return AfterValidator(check)


def _fits(pattern: re.Pattern[str], why: str, clean: Callable[[str], str] = str) -> AfterValidator:
    return _check(lambda value: None if pattern.fullmatch(clean(value)) else why, clean)


def _filled(value: str) -> str | None:
    return None if value.strip() else "must not be empty"


def _tidy(value: str) -> str:
    return value.strip()


def _region(value: str) -> str:
    return value.strip().lower()


def _region_or_none(value: str) -> str | None:
    return region_problem(_region(value)) if value.strip() else None


def _pinned(value: str) -> str | None:
    if _FINGERPRINT.fullmatch(value) or _HOST_KEY.fullmatch(value):
        return None
    return "must be a fingerprint (SHA256:...) or a public key as in known_hosts (ssh-ed25519 AAAA...)"


def _port(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refuse("must be a whole number")
    return value


_Secret = Annotated[str, Field(max_length=_SECRET_LIMIT, json_schema_extra={"writeOnly": True})]
_Key = Annotated[_Secret, _check(key_problem, _tidy)]
_Path = Annotated[str, _check(path_problem, clean_path)]
_Bucket = Annotated[str, _check(bucket_problem)]
_Endpoint = Annotated[str, _check(endpoint_problem, lambda value: value.rstrip("/"))]
_HasRegion = Annotated[str, _check(lambda value: region_problem(_region(value)), _region)]


class _Storage(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, hide_input_in_errors=True)

    path: _Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, value: Any) -> Any:
        """`secret` was once called `secret_key`."""
        if isinstance(value, dict) and value.get("secret") is None and "secret_key" in value:
            return value | {"secret": value["secret_key"]}
        return value


class Aws(_Storage):
    """An S3 bucket, or a compatible one at `endpoint`."""

    type: Literal["aws"]
    access_key: _Key
    secret: _Key
    bucket: _Bucket
    region: Annotated[str, _check(_region_or_none, _region)]
    endpoint: _Endpoint | None = None


class DigitalOcean(_Storage):
    """A Space."""

    type: Literal["digitalocean"]
    access_key: _Key
    secret: _Key
    bucket: _Bucket
    region: _HasRegion


class Cloudflare(_Storage):
    """An R2 bucket, of an account or at an endpoint."""

    type: Literal["cloudflare"]
    access_key: _Key
    secret: _Key
    bucket: _Bucket
    account_id: Annotated[str, _fits(_ACCOUNT, "must be the id of an account")] | None = None
    endpoint: _Endpoint | None = None


class Azure(_Storage):
    """A container; `access_key` is a connection string, `secret` and `region` stay empty."""

    type: Literal["azure"]
    access_key: Annotated[_Secret, _check(connection_problem, _tidy)]
    bucket: Annotated[str, _check(container_problem)]
    region: Annotated[str, Field(max_length=128)]
    secret: _Secret | None = None


class Gcs(_Storage):
    """A bucket of Google's; `secret` is the JSON of a service account's key."""

    type: Literal["gcs"]
    secret: Annotated[_Secret, _check(service_account_problem, _tidy)]
    bucket: _Bucket
    region: Annotated[str, Field(max_length=128), _check(_filled)]


class Sftp(_Storage):
    """A directory of an SSH server; `path` begins where the login does."""

    type: Literal["sftp"]
    host: Annotated[str, _check(host_problem)]
    username: Annotated[str, Field(max_length=256), _check(user_problem)]
    auth_method: Literal["KEY", "PASSWORD"]
    port: Annotated[int, BeforeValidator(_port), Field(ge=1, le=65_535)] = 22
    password: _Secret | None = None
    private_key: _Secret | None = None
    host_key: Annotated[str, Field(max_length=2048), _check(_pinned)] | None = None
    bucket: Annotated[str, Field(max_length=256)] | None = None
    region: Annotated[str, Field(max_length=128)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _method(cls, value: Any) -> Any:
        """Each method wants its own secret: an absent one is a missing field."""
        if isinstance(value, dict):
            wanted = {"KEY": "private_key", "PASSWORD": "password"}.get(str(value.get("auth_method")))
            given = value.get(wanted) if wanted else None
            if wanted and (given is None or (isinstance(given, str) and not given.strip())):
                raise PydanticCustomError("no_secret", "{field}", {"field": wanted})
        return value


StorageConfig = Annotated[Aws | Azure | Cloudflare | DigitalOcean | Gcs | Sftp, Field(discriminator="type")]
"""A storage of any type."""

STORAGE_TYPES = ("aws", "azure", "cloudflare", "digitalocean", "gcs", "sftp")


def storage_values(storage: BaseModel) -> dict[str, Any]:
    """A checked storage as plain values, for `core.destination`."""
    return storage.model_dump(exclude_none=True)
