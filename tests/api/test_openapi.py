"""The API's own description: whole, valid, and what the server hands out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema_rs
from tests.api.described import description, empty_app
from tests.api.kit import Site

from tapedeck.api import openapi
from tapedeck.testing import reference


def test_every_route_is_described() -> None:
    """A new route says what it is: wear `describe` (api/describe.py) below the line with its path."""
    assert openapi.undescribed(empty_app().routes) == []


def test_operations_have_names_of_their_own() -> None:
    names = [op["operationId"] for methods in description()["paths"].values() for op in methods.values()]
    assert len(names) == len(set(names))


def test_examples_fit_their_schemas() -> None:
    parts = {"components": description()["components"]}
    seen = 0
    for path, methods in description()["paths"].items():
        for method, op in methods.items():
            for where in (op.get("requestBody", {}), *op["responses"].values()):
                content: dict[str, Any] | None = where.get("content", {}).get("application/json")
                if content is None:
                    continue
                validator = jsonschema_rs.validator_for(content["schema"] | parts, validate_formats=True)
                problems = [e.message for e in validator.iter_errors(content["example"])]
                assert not problems, (method, path, problems, content["example"])
                seen += 1
    assert seen > 100


def test_links_lead_from_what_is_made_to_what_can_be_done_with_it() -> None:
    paths = description()["paths"]
    made = paths["/client/v4/accounts/{account_id}/realtime/kit/{app_id}/meetings"]["post"]["responses"]["201"]
    assert any("participants" in name for name in made["links"])
    known = {op["operationId"] for methods in paths.values() for op in methods.values()}
    for methods in paths.values():
        for op in methods.values():
            for answer in op["responses"].values():
                assert {link["operationId"] for link in answer.get("links", {}).values()} <= known


async def test_the_server_hands_it_out_without_a_token(site: Site) -> None:
    answer = await site.http.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == description()
    jsonschema_rs.validator_for({"$ref": "#/components/schemas/ErrorAnswer"} | answer.json())


def test_the_reference_in_the_docs_is_up_to_date() -> None:
    """`make docs` makes it."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "api.md"
    assert page.read_text() == reference.render(description())
