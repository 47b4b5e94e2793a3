"""One attempt: sign the bytes, post them, note how it went. Decides nothing about what comes next."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable

from tapedeck.core.egress import RefusedTargetError, UnreachableError
from tapedeck.core.times import whole_ms
from tapedeck.core.webhooks import Attempt, Delivery
from tapedeck.ports.clock import Clock
from tapedeck.ports.poster import Poster
from tapedeck.ports.signer import Signer

__all__ = ["Deliverer"]


class Deliverer:
    """Sends deliveries."""

    def __init__(
        self, poster: Poster, signer: Signer, clock: Clock, monotonic_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._poster = poster
        self._signer = signer
        self._clock = clock
        self._monotonic_ns = monotonic_ns

    async def send(self, delivery: Delivery) -> Attempt:
        """Send once; raises nothing that the endpoint or the network could be the reason of."""
        at, began = whole_ms(self._clock.now()), self._monotonic_ns()
        body = delivery.body.encode()
        try:
            answer = await self._poster.post(delivery.url, body, self._headers(delivery, body))
        except RefusedTargetError as exc:
            return Attempt(at, self._since(began), error=str(exc), is_final=True)
        except UnreachableError as exc:
            return Attempt(at, self._since(began), error=str(exc))
        return Attempt(at, self._since(began), answer.status, answer.text)

    def _headers(self, delivery: Delivery, body: bytes) -> dict[str, str]:
        """Those of RealtimeKit, and the same under their old names, which integrations still read."""
        signature = base64.b64encode(self._signer.sign(body)).decode()
        said = {"signature": signature, "uuid": delivery.id, "webhook-id": delivery.webhook_id}
        headers = {f"{prefix}-{name}": value for prefix in ("rtk", "dyte") for name, value in said.items()}
        return headers | {"content-type": "application/json"}

    def _since(self, began: int) -> int:
        return (self._monotonic_ns() - began) // 1_000_000
