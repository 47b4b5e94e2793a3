"""How long a link shall live, as a query parameter of whoever asks for one."""

from __future__ import annotations

import re
from datetime import timedelta

from starlette.requests import Request

from tapedeck.api.describe import Param
from tapedeck.core.errors import FieldProblem, InvalidError

__all__ = ["LIFE", "life_of"]

_DAY_S, _LEAST_S, _MOST_S = 86_400, 60, 7 * 86_400
LIFE = Param(
    "expires_in",
    "Seconds that the link lives; no longer than the files do.",
    {"type": "integer", "minimum": _LEAST_S, "maximum": _MOST_S, "default": _DAY_S},
)
_WHOLE = re.compile(r"[0-9]{1,9}")


def life_of(request: Request) -> timedelta:
    """How long a link shall live. InvalidError."""
    text = request.query_params.get("expires_in", str(_DAY_S))
    seconds = int(text) if _WHOLE.fullmatch(text) else 0
    if not _LEAST_S <= seconds <= _MOST_S:
        problem = f'"expires_in" must be a whole number of seconds from {_LEAST_S} to {_MOST_S}'
        raise InvalidError(problem, (FieldProblem("/expires_in", problem),))
    return timedelta(seconds=seconds)
