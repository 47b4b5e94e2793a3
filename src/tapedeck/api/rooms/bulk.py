"""Several recordings at once: delete them, or download them as one ZIP that is made while it is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tapedeck.api.auth import Gate
from tapedeck.api.chapters import LIBRARY
from tapedeck.api.describe import Raw, Who, describe
from tapedeck.api.errors import status_of
from tapedeck.api.http import Reply, read_json
from tapedeck.api.rooms.recordings import recording_of
from tapedeck.core.errors import TapedeckError
from tapedeck.core.naming import content_disposition
from tapedeck.service.library import LibraryService
from tapedeck.shapes import library as answers
from tapedeck.shapes.bodies import parse
from tapedeck.shapes.rooms import BulkBody, error_body

__all__ = ["add_routes", "of_each"]

_ZIP = {200: Raw("application/zip", "The files.", {"content-disposition": "The name it is saved under."})}


async def of_each(ids: Sequence[str], do: Callable[[str], Awaitable[object]]) -> list[dict[str, Any]]:
    """Do something to each, in order; what cannot be done is said of the one it concerns."""
    said: list[dict[str, Any]] = []
    for text in dict.fromkeys(ids):
        try:
            await do(recording_of(text))
        except TapedeckError as exc:
            said.append({"id": text, "ok": False} | error_body(status_of(exc), str(exc)))
        else:
            said.append({"id": text, "ok": True})
    return said


def add_routes(routes: APIRouter, prefix: str, gate: Gate, library: LibraryService) -> None:
    """Routes below `/api/v1`."""
    bulk = f"{prefix}/recordings/bulk"

    @routes.post(f"{bulk}/delete")
    @describe(
        LIBRARY,
        "Delete several recordings",
        Who.TENANT,
        data=list[answers.BulkItem],
        body=BulkBody,
        about="Each for itself, as one is deleted.",
    )
    async def delete(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        ids = parse(BulkBody, await read_json(request)).ids
        return Reply({"data": await of_each(ids, lambda one: library.delete(entry.app, entry.key, one))})

    @routes.post(f"{bulk}/download")
    @describe(
        LIBRARY,
        "Download several recordings as one ZIP",
        Who.TENANT,
        raw=_ZIP,
        body=BulkBody,
        fails={404: "One of them is not there.", 409: "One of them is not ready."},
        about="All of them, or none.",
    )
    async def download(request: Request) -> Response:
        entry = await gate.enter_tenant(request)
        ids = parse(BulkBody, await read_json(request)).ids
        name, stream = await library.zip_of(entry.app, [recording_of(text) for text in dict.fromkeys(ids)])
        headers = {"content-disposition": content_disposition(name)}
        return StreamingResponse(stream, 200, headers, "application/zip")
