"""Holds answers against the API's own description: what no schema fits is a failing test, wherever it was asked."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import httpx
import jsonschema_rs
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match

from tapedeck.api import openapi
from tapedeck.testing import reference

__all__ = ["check", "description", "empty_app"]


@lru_cache(1)
def empty_app() -> FastAPI:
    """The application without anything behind it, made once."""
    return reference.empty_app()


@lru_cache(1)
def description() -> dict[str, Any]:
    """The description of all routes."""
    return openapi.build(empty_app().routes)


@lru_cache(500)
def _validator(path: str, method: str, status: int) -> Any:
    """What an answer must fit; None for a body that is not JSON."""
    answers = description()["paths"][path][method]["responses"]
    assert str(status) in answers, f"{method.upper()} {path} does not speak of {status}"
    content = answers[str(status)].get("content", {}).get("application/json")
    if content is None:
        return None
    schema = content["schema"] | {"components": description()["components"]}
    return jsonschema_rs.validator_for(schema, validate_formats=True)


def check(request: httpx.Request, status: int, body: bytes | None) -> None:
    """AssertionError when the description does not have this answer. `body` None: it is a stream."""
    scope = {"type": "http", "method": request.method, "path": request.url.path, "headers": []}
    for route in empty_app().routes:
        if isinstance(route, APIRoute) and route.matches(scope)[0] is Match.FULL:
            break
    else:
        return  # no such route, or another method
    validator = _validator(route.path.replace(":path", ""), request.method.lower(), status)
    if validator is None or not body:
        return
    problems = [f"{'/'.join(map(str, e.instance_path))}: {e.message}" for e in validator.iter_errors(json.loads(body))]
    assert not problems, f"{request.method} {route.path} {status}: {problems} in {body.decode()}"
