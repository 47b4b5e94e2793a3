"""Webhooks and what becomes of each delivery: when to try again, when to give up, when to leave an endpoint alone.

Decides only; it posts nothing and knows no clock. The numbers are those of the wire contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

__all__ = [
    "BREAKER_LIMIT",
    "BREAKER_PAUSE",
    "KEPT",
    "RETRY_AFTER_S",
    "Attempt",
    "Breaker",
    "Delivery",
    "DeliveryState",
    "Verdict",
    "Webhook",
    "judge",
    "next_breaker",
]

RETRY_AFTER_S = (1, 2, 4, 8, 16)
"""Waits before the second to the sixth attempt."""
BREAKER_LIMIT = 20
"""After so many failed deliveries in a row an endpoint is left alone."""
BREAKER_PAUSE = timedelta(minutes=10)
KEPT = timedelta(days=30)
"""How long deliveries can be looked up and sent again."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """How an endpoint has done lately."""

    failures: int = 0
    "Deliveries in a row that were given up."
    paused_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where an app wants to be told, and of what. `events` are words of the API."""

    id: str
    app_id: str
    name: str
    url: str
    events: tuple[str, ...]
    enabled: bool
    created_at: datetime
    updated_at: datetime
    breaker: Breaker = Breaker()


class DeliveryState(StrEnum):
    """Where a delivery is."""

    WAITING = "waiting"
    "An earlier one of the same recording or session is not finished."
    READY = "ready"
    "Is sent when its time has come."
    DELIVERED = "delivered"
    FAILED = "failed"
    "Given up."
    CANCELLED = "cancelled"
    "The webhook was disabled or deleted before it was sent."


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request, as it went. Without a `status` there was no answer, and `error` says why."""

    at: datetime
    took_ms: int
    status: int | None = None
    answer: str = ""
    error: str | None = None
    is_final: bool = False
    "Without an answer: trying again changes nothing."


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one webhook. `id` is what the receiver knows repeats by."""

    seq: int
    "Order of all deliveries."
    id: str
    webhook_id: str
    event: str
    key: str
    url: str
    body: str
    state: DeliveryState
    created_at: datetime
    next_at: datetime | None
    finished_at: datetime | None = None
    tries: int = 0
    "Attempts since it was last asked for."
    attempts: tuple[Attempt, ...] = ()
    "The latest, oldest first."


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a delivery: final, or READY again at `next_at`."""

    state: DeliveryState
    next_at: datetime | None = None


def judge(attempt: Attempt, tries: int, now: datetime) -> Verdict:
    """After the `tries`-th attempt (from 1): any 2xx is success; 5xx and no answer are tried again, nothing else is."""
    if attempt.status is not None and 200 <= attempt.status < 300:
        return Verdict(DeliveryState.DELIVERED)
    may_retry = not attempt.is_final if attempt.status is None else attempt.status >= 500
    if may_retry and tries <= len(RETRY_AFTER_S):
        return Verdict(DeliveryState.READY, now + timedelta(seconds=RETRY_AFTER_S[tries - 1]))
    return Verdict(DeliveryState.FAILED)


def next_breaker(breaker: Breaker, verdict: Verdict, now: datetime) -> Breaker:
    """The breaker after a verdict. A probe that fails, even if it will be tried again, begins another pause."""
    if verdict.state is DeliveryState.DELIVERED:
        return Breaker()
    failures = breaker.failures + (verdict.state is DeliveryState.FAILED)
    paused_until = now + BREAKER_PAUSE if failures >= BREAKER_LIMIT else None
    return Breaker(failures, paused_until)
