"""What validators of request bodies share: numbers as JSON has them, and how a field is refused."""

from __future__ import annotations

import math
from typing import Any

from pydantic_core import PydanticCustomError

__all__ = ["number", "refuse", "whole"]


def refuse(why: str) -> PydanticCustomError:
    """What a validator raises: `why` follows the name of the field."""
    return PydanticCustomError("refused", "{why}", {"why": why})


def whole(value: Any) -> Any:
    """Integers, and floats that are whole: JSON has only one kind of number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse("must be a whole number")
    return value


def number(value: Any) -> Any:
    """Finite numbers, as float."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15 or not math.isfinite(value):
        raise refuse("must be a number")
    return float(value)
