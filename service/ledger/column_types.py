"""Column types of the ledger that SQLite lacks."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, LargeBinary, Uuid
from sqlalchemy.types import TypeDecorator, TypeEngine


class PredictionId(TypeDecorator[str]):
    """An id of a prediction, text in Python: a UUID in PostgreSQL, its 16 bytes in SQLite, where text would take 32.

    Every index of the ledger contains it.
    """

    impl = Uuid(as_uuid=False)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type in the database."""
        kind: TypeEngine[Any] = LargeBinary(16) if dialect.name == "sqlite" else Uuid(as_uuid=False)
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> object:
        """Return what is sent to the database; raises ValueError for text that is not hexadecimal."""
        if value is None or dialect.name != "sqlite":
            return value
        return bytes.fromhex(value.replace("-", ""))

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text of what the database sent."""
        if value is None or dialect.name != "sqlite":
            return value
        digits = value.hex()
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
