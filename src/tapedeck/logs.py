"""Structured log lines on standard error, with what must not be in them taken out.

Every line has an `action` (the event name) and key-value pairs. Tokens, keys, signed links and network addresses of
participants are masked in values, messages and tracebacks alike, whichever library wrote them.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

__all__ = ["configure_logs", "redact"]

_MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]+"), r"\1 ***"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), "***jwt***"),
    (re.compile(r"\btdk_[A-Za-z0-9_-]{8,}"), "***token***"),
    (
        re.compile(
            r"(?i)\b((?:\w*[-_])?(?:token|secret|password|signature|sig|access_key|private_key|api_key|accountkey))"
            r"([\"']?\s*[=:]\s*[\"']?)[^\s&\"',;}]+"
        ),
        r"\1\2***",
    ),
    (re.compile(r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"), "***key***"),
)
_MAYBE_ADDRESS = re.compile(r"(?<![\w:.])[0-9A-Fa-f]*[:.][0-9A-Fa-f:.]*[0-9A-Fa-f](?!\w)")
_TALKATIVE = (
    "aiortc",
    "aioice",
    "aiosqlite",
    "uvicorn.access",
    "alembic",
    "sqlalchemy",
    "asyncssh",
    "azure",
    "botocore",
)
"""Libraries that tell every request; what goes wrong in them we say ourselves."""
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def redact(text: str) -> str:
    """`text` with tokens, keys, signatures and addresses masked."""
    for pattern, mask in _MASKS:
        text = pattern.sub(mask, text)
    return _MAYBE_ADDRESS.sub(_mask_address, text)


def _mask_address(found: re.Match[str]) -> str:
    text = found[0]
    host, colon, port = text.rpartition(":")
    for candidate, rest in ((text, ""), (host, colon + port)):
        try:
            ipaddress.ip_address(candidate)
        except ValueError:
            continue
        return f"***addr***{rest}"
    return text


def _redact_value(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redact_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redact_value(item) for item in value]
    if value is None or isinstance(value, int | float | bool):
        return value
    return redact(str(value))


def _redact_event(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if key not in ("timestamp", "level"):
            event[key] = _redact_value(value)
    return event


def _one_action(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Lines of the standard library's loggers name their action in `extra`: it becomes the event, their text stays."""
    event.pop("color_message", None)
    if "action" in event:
        event["text"], event["event"] = event.get("event"), event.pop("action")
    return event


def configure_logs(fmt: str = "text", level: str = "info") -> None:
    """Send structlog and the standard library's loggers through one redacting pipeline to standard error."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact_event,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _one_action, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("action") if fmt == "json" else _identity,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, _LEVELS[level]))


def _identity(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return event
