"""The settings under which catalogues are read: what the server writes depends on them."""

from __future__ import annotations

from typing import Any, Final

import psycopg

PINS: Final = {
    # Measured: of ten texts that the server writes, quote_all_identifiers alone changes seven,
    # DateStyle five, TimeZone and search_path three each, the others one or more.
    "search_path": "pg_catalog, pg_temp",
    "quote_all_identifiers": "off",
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "lc_monetary": "C",
    # In a database of encoding SQL_ASCII the driver would give bytes.
    "client_encoding": "UTF8",
    # Compiling queries that run for milliseconds takes longer than running them.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}
_PIN: Final = (
    "select set_config(name, value, true) from unnest(%s::text[], %s::text[]) pinned (name, value)"
)


def pin(connection: psycopg.Connection[Any]) -> None:
    """Pin the settings until the end of the transaction."""
    connection.execute(_PIN, (list(PINS), list(PINS.values())), prepare=False)
