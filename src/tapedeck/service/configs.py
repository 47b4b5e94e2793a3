"""The configuration of an app: defaults of its recordings, below those of their meetings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict

from tapedeck.core.errors import NotFoundError
from tapedeck.core.meeting import App
from tapedeck.db import access
from tapedeck.db.engine import Database
from tapedeck.service.vault import Vault

__all__ = ["AppValues", "ConfigService"]


class AppValues(TypedDict, total=False):
    """What a caller may set of an app; already validated."""

    recording_config: Mapping[str, Any] | None
    empty_timeout_s: float | None


class ConfigService:
    """Changes configurations. They are read with their app."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault

    async def change(self, app: App, values: AppValues) -> App:
        """Set what is given, for recordings that start from now on; the time-out for those that run, too.

        NotFoundError; InvalidError as of `Vault.seal`.
        """
        config = values.get("recording_config")
        sealed: AppValues = {"recording_config": self._vault.seal(config, "/recording_config")} if config else {}
        async with self._db.write() as session:
            found = await access.find_app(session, app.id)
            if found is None:
                raise NotFoundError(f"App not found: {app.id}")
            changed = replace(found, **(values | sealed))
            await access.save_app(session, changed)
        return changed
