"""The API's own description (OpenAPI 3.1), made of what each route says of itself and of the types it knows.

Owns what follows from the house's rules and need not be said by any route: tokens, the errors they bring, the errors of
bodies, links from what is made to what can be done with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from starlette.routing import BaseRoute

from tapedeck import __version__
from tapedeck.api.chapters import ROOMS_FACE
from tapedeck.api.describe import Operation, Param, Raw, Who, operation_of
from tapedeck.shapes.answers import ErrorAnswer, Paging
from tapedeck.shapes.library import Meta, RoomError
from tapedeck.shapes.rooms import error_body
from tapedeck.shapes.sample import sample_of

__all__ = ["build", "undescribed"]

Json = dict[str, Any]
_PART = re.compile(r"\{(\w+)(?::\w+)?\}")
_REF = "#/components/schemas/"

_A_UUID = "2f0a2d5e-8a3b-4b0e-8f57-6d1b0c9b7e01"
_IDS = {
    "account_id": ("The account.", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, "acme"),
    "app_id": ("The app.", {"type": "string", "minLength": 1, "maxLength": 64}, "campus"),
    "session_id": ("The session.", {"type": "string", "minLength": 1, "maxLength": 64}, None),
    "room_id": ("The room, `room_…` or bare.", {"type": "string", "minLength": 1}, "room_" + _A_UUID),
    "rec_id": ("The recording, `rec_…` or bare.", {"type": "string", "minLength": 1}, "rec_" + _A_UUID),
    "key": ("The file, as its link names it.", {"type": "string", "minLength": 1}, "recordings/film.mp4"),
}
_UUID = {"type": "string", "format": "uuid"}

_WORDS = {
    400: "The request cannot be read, or a field of it is wrong.",
    401: "No token, or one that is unknown, revoked or expired.",
    403: "The token is for something else.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    422: "A field is wrong: `errors` has one entry for each.",
    429: "Too many requests: `retry-after` says when to come back.",
    500: "The server failed, and its log says how.",
    503: "The server cannot do it now.",
}
_RETRY = {
    "retry-after": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}},
}
_FINAL = {
    "x-should-retry": {
        "description": "`false` where asking again changes nothing; the official SDK obeys it.",
        "schema": {"type": "string", "enum": ["false"]},
    }
}
_INTRODUCTION = (
    "Records WebRTC meetings on your own machines. The faces below `/client/v4` and `/v2` are those of Cloudflare"
    " RealtimeKit, so that its official SDK works unchanged; those below `/v1` and `/rtc` are Tapedeck's own;"
    " `/api/v1` is a tenant's library of recordings.\n\n"
    "Unknown fields of a request are ignored. A documented field that this server does not have is refused by its name."
)


def undescribed(routes: Sequence[BaseRoute]) -> list[str]:
    """Paths of routes that say nothing of themselves."""
    return [route.path for route in _api(routes) if operation_of(route.endpoint) is None]


def build(routes: Sequence[BaseRoute]) -> Json:
    """The description of these routes."""
    told = [(route, op) for route in _api(routes) if (op := operation_of(route.endpoint)) is not None]
    schemas, parts = _schemas([op for _, op in told])
    paths: dict[str, Json] = {}
    tags: dict[str, tuple[str, str]] = {}
    for route, op in told:
        path = _PART.sub(r"{\1}", route.path)
        tags.setdefault(op.tag.name, (op.tag.face, op.tag.about))
        for method in sorted(route.methods or ()):
            paths.setdefault(path, {})[method.lower()] = _operation(path, method, route.name, op, schemas, parts)
    _link(paths)
    faces: dict[str, list[str]] = {}
    for name, (face, _) in tags.items():
        faces.setdefault(face, []).append(name)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tapedeck",
            "version": __version__,
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, (_, about) in tags.items()],
        "x-tagGroups": [{"name": face, "tags": names} for face, names in faces.items()],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(parts.items())),
            "securitySchemes": {
                "api_token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Of a backend: `tapedeck token create`.",
                },
                "tenant_key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-API-Key",
                    "description": "Of a tenant: `tapedeck key create`.",
                },
                "tenant_token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Stands for a tenant's key: `POST /api/v1/token`.",
                },
                "participant_token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Of a person in a meeting: the answer to adding a participant.",
                },
            },
        },
    }


def _api(routes: Sequence[BaseRoute]) -> Iterator[APIRoute]:
    return (route for route in routes if isinstance(route, APIRoute))


def _schemas(operations: Sequence[Operation]) -> tuple[dict[Any, Json], dict[str, Json]]:
    """A schema for each type that is read or answered, and the named parts they refer to."""
    answers = {t for op in operations for t in (op.data, op.items, op.plain) if t is not None} | {ErrorAnswer, Paging}
    answers |= {RoomError, Meta}
    bodies = {op.body for op in operations if op.body is not None and not isinstance(op.body, Raw)}
    schemas: dict[Any, Json] = {}
    parts: dict[str, Json] = {}
    for kinds, strict in ((bodies, False), (answers, True)):
        ordered = sorted(kinds, key=str)
        adapters = [(str(place), "validation", TypeAdapter(kind)) for place, kind in enumerate(ordered)]
        made, more = TypeAdapter.json_schemas(adapters, ref_template=_REF + "{model}")  # type: ignore[arg-type]
        for place, kind in enumerate(ordered):
            schemas[kind] = _tidy(made[(str(place), "validation")], strict)
        parts |= {name: _tidy(part, strict) for name, part in more.get("$defs", {}).items()}
    return schemas, parts


def _tidy(schema: Any, strict: bool) -> Any:
    """Without the titles a machine made; in answers no key may come that is not described."""
    if isinstance(schema, list):
        return [_tidy(item, strict) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out: Json = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in ("default", "examples", "enum", "const"):
            out[key] = value
        elif key == "properties":
            out[key] = {name: _tidy(inner, strict) for name, inner in value.items()}
        else:
            out[key] = _tidy(value, strict)
    if "description" in out:
        out["description"] = " ".join(out["description"].split())
    if strict and "properties" in out:
        out.setdefault("additionalProperties", False)
    return out


def _operation(
    path: str, method: str, name: str, op: Operation, schemas: Mapping[Any, Json], parts: Mapping[str, Json]
) -> Json:
    made: Json = {
        "operationId": _operation_id(method, path),
        "tags": [op.tag.name],
        "summary": op.summary,
        "parameters": [_path_part(part) for part in _PART.findall(path)] + [_param(param) for param in op.query],
        "responses": {},
    }
    about = " ".join(part for part in (op.about, f"Takes {op.who.value}." if op.who is not Who.NOBODY else "") if part)
    if about:
        made["description"] = about
    made["security"] = _security(op.who)
    if isinstance(op.body, Raw):
        made["requestBody"] = {"required": True, "content": _raw_content(op.body)}
    elif op.body is not None:
        made["requestBody"] = {"required": not op.optional_body, "content": _json(schemas[op.body], parts)}
    for status, raw in (op.raw or {op.status: None}).items():
        made["responses"][str(status)] = _success(status, raw, op, schemas, parts)
    for status, words in op.same.items():
        made["responses"][str(status)] = _success(status, None, op, schemas, parts) | {"description": words}
    for status, words in sorted((_fails(path, op) | dict(op.fails)).items()):
        made["responses"][str(status)] = _failure(status, words, op, schemas)
    return made


def _operation_id(method: str, path: str) -> str:
    words = [part.strip("{}") for part in path.split("/") if part not in ("", "client", "accounts", "{account_id}")]
    return "_".join([method.lower(), *(re.sub(r"\W", "_", word) for word in words)])


def _security(who: Who) -> list[Json]:
    if who is Who.NOBODY:
        return []
    token: Json = {"api_token": []}
    person: Json = {"participant_token": []}
    if who in (Who.TENANT, Who.TENANT_ADMIN):
        return [{"tenant_key": []}, {"tenant_token": []}]
    return {Who.PERSON: [person], Who.ANYONE: [token, person]}.get(who, [token])


def _path_part(name: str) -> Json:
    about, schema, example = _IDS.get(name, (f"The {name.removesuffix('_id').replace('_', ' ')}.", _UUID, _A_UUID))
    part: Json = {"name": name, "in": "path", "required": True, "description": about, "schema": schema}
    return part if example is None else part | {"example": example}


def _param(param: Param) -> Json:
    made: Json = {"name": param.name, "in": param.place, "description": param.about, "schema": param.schema}
    return made | ({"required": True} if param.required else {})


def _json(schema: Json, parts: Mapping[str, Json]) -> Json:
    return {"application/json": {"schema": schema, "example": sample_of(schema, parts)}}


def _raw_content(raw: Raw) -> Json:
    content: Json = {"schema": {"type": "string"}}
    return {raw.media_type: content if raw.example is None else content | {"example": raw.example}}


def _success(
    status: int, raw: Raw | None, op: Operation, schemas: Mapping[Any, Json], parts: Mapping[str, Json]
) -> Json:
    if op.raw:
        if raw is None:
            return {"description": "Nothing to say."}
        headers = {name: {"description": what, "schema": {"type": "string"}} for name, what in raw.headers.items()}
        return {"description": raw.about, "content": _raw_content(raw)} | ({"headers": headers} if headers else {})
    if op.plain is not None:
        return {"description": "Done.", "content": _json(schemas[op.plain], parts)}
    if op.tag.face == ROOMS_FACE:
        inside: Json = {"data": schemas[op.data] if op.data is not None else {}}
        if op.items is not None:
            inside = {"data": {"type": "array", "items": schemas[op.items]}, "meta": schemas[Meta]}
        wrapped = {"type": "object", "properties": inside, "required": list(inside), "additionalProperties": False}
        return {"description": "Done.", "content": _json(wrapped, parts)}
    yes = {"type": "boolean", "const": True}
    properties: Json = {"success": yes, "data": schemas[op.data] if op.data is not None else {}}
    if op.items is not None:
        properties = {"success": yes, "data": {"type": "array", "items": schemas[op.items]}, "paging": schemas[Paging]}
    envelope = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"description": "Made." if status == 201 else "Done.", "content": _json(envelope, parts)}


def _fails(path: str, op: Operation) -> dict[int, str]:
    """What follows from who asks and what is read."""
    found = [500]
    if op.who is not Who.NOBODY:
        found += [401, 403, 429, 503]
    if "{" in path:
        found.append(404)
    if "_id}" in path.replace("{account_id}", "").replace("{app_id}", ""):
        found.append(400)
    if op.query:
        found.append(op.fields)
    if op.body is not None:
        found += [400, 408, 413, op.fields]
    return {status: _WORDS[status] for status in found}


def _failure(status: int, words: str, op: Operation, schemas: Mapping[Any, Json]) -> Json:
    if op.tag.face == ROOMS_FACE:
        said = error_body(status, words.rstrip("."))
        answer: Json = {"application/json": {"schema": schemas[RoomError], "example": said}}
        return {"description": words, "content": answer} | ({"headers": _RETRY} if status in (429, 503) else {})
    headers = _RETRY if status in (429, 503) else _FINAL if status < 500 and status != 408 else {}
    error = {
        "success": False,
        "error": {"code": status, "message": words.rstrip(".")},
        "errors": [{"code": 10000 if status in (401, 403) else status, "message": words.rstrip(".")}],
        "messages": [],
        "result": None,
    }
    content = {"application/json": {"schema": schemas[ErrorAnswer], "example": error}}
    return {"description": words, "content": content} | ({"headers": headers} if headers else {})


def _link(paths: Mapping[str, Json]) -> None:
    """From what a POST makes to what can be done with it: `/things` to `/things/{thing_id}` and all below."""
    for path, methods in paths.items():
        made = methods.get("post", {}).get("responses", {})
        for status in ("200", "201"):
            example = made.get(status, {}).get("content", {}).get("application/json", {}).get("example", {})
            data = example.get("data") if isinstance(example, dict) else None
            where = _id_in(data)
            if where is None:
                continue
            links: Json = {}
            for other, others in paths.items():
                found = re.match(re.escape(path) + r"/\{(\w+)\}", other)
                if found is None:
                    continue
                parents = {part: f"$request.path.{part}" for part in _PART.findall(path)}
                known = parents | {found[1]: f"$response.body#/data/{where}"}
                if set(_PART.findall(other)) <= set(known):
                    for operation in others.values():
                        name = operation["operationId"]
                        links[name] = {"operationId": name, "parameters": known}
            if links:
                made[status]["links"] = links


def _id_in(data: object) -> str | None:
    if not isinstance(data, dict):
        return None
    if "id" in data:
        return "id"
    return next((f"{key}/id" for key, inner in data.items() if key == "app" and "id" in inner), None)
