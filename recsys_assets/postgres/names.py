"""Names of tables as the configuration writes them."""

from psycopg import sql

from recsys_assets.errors import ConfigurationError


def table_name(place: str) -> sql.Identifier:
    """Return `table` or `schema.table` as an identifier; raises `ConfigurationError` for anything else."""
    parts = place.split(".")
    if len(parts) > 2 or not all(parts):  # noqa: PLR2004 - a schema and a table
        raise ConfigurationError(f"{place!r} names no table: expected table or schema.table")
    return sql.Identifier(*parts)
