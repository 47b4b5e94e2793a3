"""docs/reference/api.md out of the API's own description: `python -m tapedeck.testing.reference` prints it."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from tapedeck.api import openapi
from tapedeck.api.app import create_app

__all__ = ["empty_app", "render"]

_REF = "#/components/schemas/"


def empty_app() -> FastAPI:
    """The application without anything behind it: its routes can be looked at, not asked."""
    wanted = inspect.signature(create_app).parameters.items()
    nothing: dict[str, Any] = {name: None for name, param in wanted if param.default is inspect.Parameter.empty}
    return create_app(**nothing)


def render(description: dict[str, Any]) -> str:
    """The description as Markdown: faces, chapters, routes, then the objects they speak of."""
    return "\n".join(_lines(description)) + "\n"


def _lines(description: dict[str, Any]) -> Iterator[str]:
    yield "# The API, route by route"
    yield ""
    yield "Made by `make docs` from what the server says at `/openapi.json`. Objects are below the routes."
    yield ""
    yield description["info"]["description"]
    about = {tag["name"]: tag["description"] for tag in description["tags"]}
    for group in description["x-tagGroups"]:
        yield from ("", f"## {group['name']}")
        for tag in group["tags"]:
            yield from ("", f"### {tag}", "", about[tag])
            for path, methods in description["paths"].items():
                for method, operation in methods.items():
                    if operation["tags"] == [tag]:
                        yield from _route(path, method, operation)
    yield from ("", "## Objects")
    for name, schema in description["components"]["schemas"].items():
        yield from ("", f"### {name}", "")
        if "description" in schema:
            yield from (schema["description"], "")
        yield from _fields(schema)


def _route(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield from (
        "",
        f"#### `{method.upper()} {path}`",
        "",
        f"{operation['summary']}. {operation.get('description', '')}".strip(),
    )
    queries = [param for param in operation["parameters"] if param["in"] != "path"]
    if queries:
        yield from ("", "| parameter | type | |", "| --- | --- | --- |")
        for param in queries:
            where = "" if param["in"] == "query" else f" ({param['in']})"
            must = "Required. " if param.get("required") else ""
            yield f"| `{param['name']}`{where} | {_type(param['schema'])} | {must}{_cell(param['description'])} |"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from ("", f"Body: {_type(content['schema'])}" if media == "application/json" else f"Body: `{media}`")
        yield from _example(content)
    yield from ("", "| status | answer |", "| --- | --- |")
    for status, answer in operation["responses"].items():
        yield f"| {status} | {_cell(answer['description'])}{_what(status, answer)} |"
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json")
        if content is not None and status.startswith("2"):
            yield from _example(content)


def _what(status: str, answer: dict[str, Any]) -> str:
    said = []
    for media, content in answer.get("content", {}).items():
        if media != "application/json":
            said.append(f"`{media}`")
        elif status.startswith("2"):
            said.append(_type(content["schema"].get("properties", {}).get("data", content["schema"])))
    return f" {', '.join(said)}" if said else ""


def _example(content: dict[str, Any]) -> Iterator[str]:
    if "example" in content:
        example = content["example"]
        text = (
            example.replace("\r\n", "\n")
            if isinstance(example, str)
            else json.dumps(example, indent=1, ensure_ascii=False)
        )
        yield from ("", "```" if isinstance(example, str) else "```json", text.rstrip(), "```")


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    if "properties" not in schema:
        yield _type(schema)
        return
    required = schema.get("required", ())
    yield from ("| field | type | required | |", "| --- | --- | --- | --- |")
    for name, field in schema["properties"].items():
        must, about = "yes" if name in required else "", _cell(field.get("description", ""))
        yield f"| `{name}` | {_type(field)} | {must} | {about} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_REF)
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_type(option) for option in schema[key]))
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    limits = [f"{word} {schema[key]}" for key, word in _LIMITS.items() if key in schema]
    return ", ".join([schema.get("format", kind), *limits])


_LIMITS = {
    "minimum": "from",
    "maximum": "to",
    "minLength": "characters from",
    "maxLength": "characters to",
    "maxItems": "items to",
    "default": "default",
}


if __name__ == "__main__":
    sys.stdout.write(render(openapi.build(empty_app().routes)))
