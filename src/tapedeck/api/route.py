"""How a request comes to a handler: with the parts of its path as text, and nothing made of them.

Every handler of this API reads and checks its request itself, so FastAPI's own reading of it (dependencies, parameters,
two exit stacks) would only cost: about a quarter of the time of a small answer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

__all__ = ["PlainRoute"]


class PlainRoute(APIRoute):
    """A route whose handler takes path parameters by name and, if it wants, `request`; it returns a Response."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **more: Any) -> None:
        super().__init__(path, endpoint, **more)
        wants_request = "request" in inspect.signature(endpoint).parameters

        async def handle(request: Request) -> Response:
            parts = request.path_params
            answer: Response = await (endpoint(request=request, **parts) if wants_request else endpoint(**parts))
            return answer

        self.app = request_response(handle)
