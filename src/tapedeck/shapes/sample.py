"""Examples out of schemas: the whole of an object from the examples of its fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["sample_of"]

_FORMATS = {
    "uuid": "2f0a2d5e-8a3b-4b0e-8f57-6d1b0c9b7e01",
    "date-time": "2026-03-02T09:15:04.120Z",
    "date": "2026-03-02",
    "uri": "https://example.org",
}
_REF = "#/components/schemas/"


def sample_of(schema: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> Any:
    """One value that fits. An object's optional fields are shown when they have examples of their own."""
    if "$ref" in schema:
        return sample_of(parts[schema["$ref"].removeprefix(_REF)], parts)
    if schema.get("examples"):
        return schema["examples"][0]
    for key in ("const", "default"):
        if key in schema and schema[key] is not None:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return sample_of(schema[key][0], parts)
    if "allOf" in schema:
        return sample_of(schema["allOf"][0], parts)
    match schema.get("type"):
        case "object":
            required = set(schema.get("required", ()))
            fields = schema.get("properties", {}).items()
            return {name: sample_of(field, parts) for name, field in fields if name in required or _shown(field)}
        case "array":
            items = schema.get("items")
            return [] if items is None else [sample_of(items, parts)]
        case "string":
            return _FORMATS.get(schema.get("format", ""), "text")
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return True
        case _:
            return None


def _shown(field: Mapping[str, Any]) -> bool:
    options = [field, *field.get("anyOf", ())]
    return any("examples" in option for option in options)
