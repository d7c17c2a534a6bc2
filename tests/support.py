"""Helpers that read like English and assert by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from headwater.files.read import read_folder
from headwater.model import MigrationFolder, Target
from headwater.settings import Settings


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Write files (name or path below the folder -> text), making folders on the way."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")


def folder_with(settings: Settings, files: dict[str, str]) -> MigrationFolder:
    """Replace the folder of migrations by these files, and read it; it must be sound."""
    for old in settings.migrations.glob("**/*.sql"):
        old.unlink()
    write_files(settings.migrations, files)
    folder = read_folder(settings.migrations)
    assert folder.findings == ()
    return folder


def query(target: Target | str, statement: str) -> list[tuple[Any, ...]]:
    """Run one statement over a connection of its own, and give its rows (if any)."""
    url = target if isinstance(target, str) else target.conninfo
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def value(target: Target | str, statement: str) -> Any:
    """Run one query, and give the one value of its one row."""
    [(found,)] = query(target, statement)
    return found


def recorded(target: Target, settings: Settings) -> list[str]:
    """Give the versions in history, in order."""
    if value(target, f"select to_regclass('{settings.history}') is null"):
        return []
    return [row[0] for row in query(target, f"select version from {settings.history} order by 1")]


def tables(target: Target, schema: str = "app") -> list[str]:
    """Give the tables of a schema, in order."""
    return [
        row[0]
        for row in query(
            target,
            f"select tablename from pg_tables where schemaname = '{schema}' order by tablename",
        )
    ]
