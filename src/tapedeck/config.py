"""Settings: environment `TAPEDECK_*` over `tapedeck.toml` over defaults, validated once at start.

Every setting here changes something; a name that no version knows is an error in the file and a warning in the
environment. Secrets are `SecretStr`, so that neither `repr` nor a log line shows them.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from tapedeck.core.archive import StorageClass
from tapedeck.core.bucketurl import bucket_directory, bucket_storage
from tapedeck.core.errors import InvalidError
from tapedeck.shapes.configs import AppRecordingConfig, recording_defaults

__all__ = ["Settings", "load_settings", "unknown_names"]

PREFIX = "TAPEDECK_"
_TOOL_NAMES = {"TAPEDECK_CHROMIUM", "TAPEDECK_CONFIG"}
"""Environment names that are not settings of the server: the browser of the tests, the path of the settings file."""


RECORDING_STATUSES = ("INVOKED", "RECORDING", "PAUSED", "UPLOADING", "UPLOADED", "ERRORED")


class Settings(BaseSettings):
    """All settings of a Tapedeck process. Field names are the setting names in lower case."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    host: str = "127.0.0.1"
    "Address the HTTP server binds to."
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    "TCP port of the HTTP server; 0 takes a free one."
    data_dir: Path = Path("tapedeck-data")
    "Everything Tapedeck keeps: database, captures, bucket, secret key."
    public_url: str = ""
    "What links begin with; default http://HOST:PORT."
    database_url: str = ""
    "SQLAlchemy URL; default a SQLite file in DATA_DIR."
    bucket_url: str = ""
    "The built-in bucket: `file:///path`, `s3://`, `gs://` or `az://`; default the directory `bucket` in DATA_DIR."
    bucket_access_key: SecretStr | None = None
    "Of an s3:// bucket its access key id, of an az:// one the connection string."
    bucket_secret: SecretStr | None = None
    "Of an s3:// bucket its secret access key, of a gs:// one the JSON of a service account's key."

    bucket_provider: Literal["r2", "s3", "local"] = "r2"
    "What the rooms API calls the built-in bucket, as `provider` of a download."

    fallback_bucket_url: str = ""
    "Another bucket, which takes what a customer's storage refuses for good; default none."
    fallback_access_key: SecretStr | None = None
    "As BUCKET_ACCESS_KEY."
    fallback_secret: SecretStr | None = None
    "As BUCKET_SECRET."

    archive_bucket_url: str = ""
    "Where archived recordings go: `s3://`; default nowhere."
    archive_access_key: SecretStr | None = None
    "As BUCKET_ACCESS_KEY."
    archive_secret: SecretStr | None = None
    "As BUCKET_SECRET."
    archive_storage_class: StorageClass = StorageClass.GLACIER
    "What they are put into: GLACIER, DEEP_ARCHIVE or GLACIER_IR."

    api_token: SecretStr | None = None
    "Bootstrap admin token; generated and printed once when unset."
    account_id: str = ""
    "Bootstrap account; generated when unset."
    app_id: str = ""
    "Bootstrap app; generated when unset."
    secret_key: SecretStr | None = None
    "Signs links and tokens, encrypts credentials; default a key made at first start in DATA_DIR/secret.key."
    secret_key_previous: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    "Former keys, comma separated: what they encrypted is encrypted again with SECRET_KEY at start."
    participant_token_ttl_s: Annotated[int, Field(ge=60, le=31_536_000)] = 86_400
    "Life of a participant token in seconds."

    rtc_ports: str = ""
    "UDP ports for media as `low-high`; default any free port."
    rtc_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    "Addresses offered as ICE host candidates; default those of the machine (loopback too when HOST is loopback)."
    ice_servers: Annotated[tuple[str, ...], NoDecode] = ()
    "STUN or TURN URLs, comma separated; none is contacted unless named here."

    rate_limits: bool = False
    "Count the calls of each token, and answer 429 to too many: RealtimeKit's published numbers."
    allow_private_urls: bool = False
    "Webhooks, recorded web pages and images of watermarks may be on private and loopback addresses."
    browser: str = ""
    "The Chromium that records web pages: a path or a name; default the first that is found."
    browser_sandbox: Literal["on", "off"] = "on"
    "Off only where a container or virtual machine around the server takes the place of Chromium's own sandbox."
    browser_memory_mb: Annotated[int, Field(ge=256, le=65_536)] = 2048
    "How much the browser of one recording may take, in MiB; one that takes more is ended."
    webhook_recording_statuses: Annotated[tuple[str, ...], NoDecode] = RECORDING_STATUSES
    "Which statuses of recordings webhooks are told of, comma separated."
    webhook_timeout_s: Annotated[float, Field(gt=0, le=60)] = 3.0
    "How long an endpoint may take to answer a webhook."

    empty_meeting_timeout_s: Annotated[int, Field(ge=1, le=3600)] = 60
    "A recording of a meeting without participants stops after this."
    recording_config: Annotated[dict[str, Any], Field(repr=False)] = {}
    "What recordings are unless their app, their meeting or their start says otherwise: a table in the file, JSON here."
    render_mode: Literal["live", "deferred"] = "live"
    "Make the film while the meeting runs, or after it."
    track_video: Literal["on", "off"] = "on"
    "Recordings of tracks may have pictures; off: sound alone, and a request for pictures is refused."
    render_concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    "How many films may be made at once; more wait, their capture does not."
    upload_patience_s: Annotated[float, Field(ge=1)] = 21_600.0
    "A storage that cannot be reached is tried this long before it is given up."
    upload_refused_s: Annotated[float, Field(ge=1)] = 900.0
    "One that refuses is tried this long."
    keep_logs: str = "until-uploaded"
    "`until-uploaded`, or a number of days that media logs are kept for re-rendering."
    log_format: Literal["text", "json"] = "text"
    "Form of log lines on standard error."
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("rtc_hosts", "ice_servers", "webhook_recording_statuses", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("secret_key_previous", mode="before")
    @classmethod
    def _former(cls, value: object) -> object:
        keys = value.split(",") if isinstance(value, str) else value
        return tuple(SecretStr(key.strip()) for key in keys) if isinstance(keys, list | tuple) else value

    @field_validator("webhook_recording_statuses")
    @classmethod
    def _statuses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for status in value:
            if status not in RECORDING_STATUSES:
                raise ValueError(f"{status!r} is none of {', '.join(RECORDING_STATUSES)}")
        return value

    @field_validator("rtc_hosts")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            ipaddress.ip_address(host)
        return value

    @field_validator("ice_servers")
    @classmethod
    def _ice_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not re.match(r"^(stun|turns?):", url):
                raise ValueError(f"{url!r} is not a stun:, turn: or turns: URL")
        return value

    @field_validator("rtc_ports")
    @classmethod
    def _port_range(cls, value: str) -> str:
        if value:
            match = re.fullmatch(r"(\d{1,5})-(\d{1,5})", value)
            if not match or not 1 <= int(match[1]) <= int(match[2]) <= 65535:
                raise ValueError("give a range such as 40000-40999")
        return value

    @field_validator("keep_logs")
    @classmethod
    def _keep(cls, value: str) -> str:
        if value != "until-uploaded" and not (value.isdigit() and int(value) <= 36_500):
            raise ValueError("give until-uploaded or a number of days")
        return value

    @field_validator("recording_config")
    @classmethod
    def _recording(cls, value: dict[str, Any]) -> dict[str, Any]:
        if unknown := value.keys() - AppRecordingConfig.model_fields.keys():
            raise ValueError(f"no recording has {', '.join(sorted(unknown))}")
        try:
            return recording_defaults(value)
        except InvalidError as exc:
            raise ValueError(str(exc)) from None

    @field_validator("account_id", "app_id")
    @classmethod
    def _identifier(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
            raise ValueError("use 1 to 64 letters, digits, _ or -")
        return value

    @field_validator("secret_key_previous")
    @classmethod
    def _all_long_enough(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(key.get_secret_value()) < 16 for key in value):
            raise ValueError("use at least 16 characters each")
        return value

    @field_validator("api_token", "secret_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("use at least 16 characters")
        return value

    @field_validator("public_url")
    @classmethod
    def _http(cls, value: str) -> str:
        if value and urlsplit(value).scheme not in ("http", "https"):
            raise ValueError("give an http:// or https:// URL")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _bucket_of(self) -> Settings:
        try:
            bucket = self.bucket_storage
        except InvalidError as exc:
            raise ValueError(f"BUCKET_URL: {exc}") from None
        if bucket and bucket["type"] == "azure" and "accountkey=" not in bucket["access_key"].replace(" ", "").lower():
            raise ValueError("BUCKET_ACCESS_KEY: give a connection string with AccountKey: links are signed with it")
        try:
            fallback = self.fallback_storage
        except InvalidError as exc:
            raise ValueError(f"FALLBACK_BUCKET_URL: {str(exc).replace('BUCKET_', 'FALLBACK_')}") from None
        if self.fallback_bucket_url and fallback is None:
            raise ValueError("FALLBACK_BUCKET_URL: give s3://bucket, gs://bucket or az://container")
        try:
            archive = self.archive_storage
        except InvalidError as exc:
            raise ValueError(f"ARCHIVE_BUCKET_URL: {str(exc).replace('BUCKET_', 'ARCHIVE_')}") from None
        if self.archive_bucket_url and (archive is None or archive["type"] != "aws"):
            raise ValueError("ARCHIVE_BUCKET_URL: give s3://bucket")
        return self

    @property
    def rtc_port_range(self) -> tuple[int, int] | None:
        """RTC_PORTS as numbers."""
        if not self.rtc_ports:
            return None
        low, high = self.rtc_ports.split("-")
        return int(low), int(high)

    @property
    def keep_logs_days(self) -> int | None:
        """Days to keep media logs after upload; None frees them at once."""
        return None if self.keep_logs == "until-uploaded" else int(self.keep_logs)

    @property
    def bucket_dir(self) -> Path:
        """Directory of the built-in bucket."""
        return Path(bucket_directory(self.bucket_url)) if self.bucket_url else self.data_dir / "bucket"

    @property
    def bucket_storage(self) -> dict[str, Any] | None:
        """What BUCKET_URL names, with its credentials; None for a directory. InvalidError."""
        return _storage(self.bucket_url, self.bucket_access_key, self.bucket_secret)

    @property
    def fallback_storage(self) -> dict[str, Any] | None:
        """What FALLBACK_BUCKET_URL names, with its credentials; None without one. InvalidError."""
        return _storage(self.fallback_bucket_url, self.fallback_access_key, self.fallback_secret)

    @property
    def archive_storage(self) -> dict[str, Any] | None:
        """What ARCHIVE_BUCKET_URL names, with its credentials; None without one. InvalidError."""
        return _storage(self.archive_bucket_url, self.archive_access_key, self.archive_secret)

    @property
    def former_secrets(self) -> list[str]:
        """SECRET_KEY_PREVIOUS as texts."""
        return [key.get_secret_value() for key in self.secret_key_previous]

    @property
    def r2_endpoint(self) -> str | None:
        """Where the R2 buckets are of customers who name no account: where our own bucket is, if it has an endpoint."""
        endpoint: str | None = (self.bucket_storage or {}).get("endpoint")
        return endpoint if self.bucket_url.startswith("s3://") else None

    @property
    def captures_dir(self) -> Path:
        """Directory of the media logs."""
        return self.data_dir / "captures"

    @property
    def films_dir(self) -> Path:
        """Directory where renders write before the bucket takes their files."""
        return self.data_dir / "films"

    @property
    def streams_dir(self) -> Path:
        """Directory of what is on its way to live targets."""
        return self.data_dir / "streams"

    @property
    def hls_dir(self) -> Path:
        """Directory of films as fragments, while they are made."""
        return self.data_dir / "hls"

    @property
    def renders_dir(self) -> Path:
        """Directory of films that are made again, until the bucket has them."""
        return self.data_dir / "renders"

    @property
    def effective_database_url(self) -> str:
        """DATABASE_URL, or the SQLite file in DATA_DIR."""
        return self.database_url or f"sqlite+aiosqlite:///{(self.data_dir / 'tapedeck.db').resolve()}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = Path(os.environ.get("TAPEDECK_CONFIG", "tapedeck.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)


def _storage(url: str, *given: SecretStr | None) -> dict[str, Any] | None:
    key, secret = (None if value is None else value.get_secret_value() for value in given)
    return bucket_storage(url, key, secret) if url else None


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """`TAPEDECK_*` names in the environment that no setting reads: most likely misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | _TOOL_NAMES
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def load_settings(**overrides: object) -> Settings:
    """Settings with command-line values on top. Raises InvalidError naming each bad setting in one line."""
    named = os.environ.get("TAPEDECK_CONFIG")
    if named and not Path(named).is_file():
        raise InvalidError(f"TAPEDECK_CONFIG: there is no file {named}")
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
    except ValidationError as exc:
        lines = [
            f"{PREFIX}{'_'.join(str(p) for p in error['loc']).upper() or 'settings'}: {error['msg']}"
            for error in exc.errors(include_input=False, include_url=False)
        ]
        raise InvalidError("; ".join(lines)) from None
    except (ValueError, OSError) as exc:
        raise InvalidError(f"the settings file cannot be read: {exc}") from exc
