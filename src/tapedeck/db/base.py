"""What all tables are made of: their registry, and columns that are the same in every database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Dialect, Float, Integer, MetaData, String
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from tapedeck.core.times import from_ms, to_ms

__all__ = ["Base", "Id", "RowId", "UtcMillis"]


class UtcMillis(TypeDecorator[datetime]):
    """An instant as milliseconds since 1970: exact, sortable and the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_ms(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else from_ms(value)


class Base(DeclarativeBase):
    """Registry of the tables; constraints get names so that a migration can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - declared so by the library
        datetime: UtcMillis,
        dict[str, Any]: JSON,
        list[dict[str, Any]]: JSON,
        bool: Boolean,
        float: Float,
    }


Id = String(64)
RowId = BigInteger().with_variant(Integer, "sqlite")
