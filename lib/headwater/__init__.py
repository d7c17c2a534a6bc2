"""Headwater: a folder of plain SQL migrations as the only source of a PostgreSQL schema."""

__version__ = "0.1.0"
