"""The file of statistics: what was weighed once is read again, and nothing else is taken for it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headwater.checks.statistics_file import read_statistics, statistics_text, write_statistics
from headwater.errors import SettingsError
from headwater.verdicts import Weight, Weights

TABLES = {
    "kb.tags": Weight(rows=3, heap_bytes=8192, index_bytes=16384),
    "kb.documents": Weight(
        rows=48_000_000, heap_bytes=41 << 30, index_bytes=5 << 30, writes=7, estimated=True
    ),
    'kb."Straße"': Weight(rows=0, heap_bytes=0, index_bytes=0),
}
WEIGHTS = Weights(tables=TABLES, source="app on 2026-01-05", version=17, counted_s=86_400.0)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "production.json"
    write_statistics(path, WEIGHTS)
    read = read_statistics(path)
    assert read == replace(WEIGHTS, source="app on 2026-01-05 (production.json)")
    assert list(read.tables) == sorted(TABLES)


def test_equal_weights_make_equal_files() -> None:
    turned = replace(WEIGHTS, tables=dict(reversed(TABLES.items())))
    assert statistics_text(turned) == statistics_text(WEIGHTS)


def test_a_file_that_an_editor_gave_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text(statistics_text(WEIGHTS), encoding="utf-8-sig")
    assert read_statistics(path).tables == TABLES


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written"):
        write_statistics(tmp_path / "no" / "folder", WEIGHTS)


def test_a_file_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.json"
    path.write_text("older")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="cannot be written") as caught:
        write_statistics(path, WEIGHTS)
    assert "No space left" in caught.value.detail
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("s.json", "older")]


def test_a_link_stays_one_and_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    link, file, pipe = (tmp_path / name for name in ("link", "s.json", "pipe"))
    link.symlink_to(file)
    write_statistics(link, WEIGHTS)
    assert (link.is_symlink(), file.read_text()) == (True, statistics_text(WEIGHTS))
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_statistics(pipe, WEIGHTS)
        assert os.read(descriptor, 1 << 16).decode() == statistics_text(WEIGHTS)
    finally:
        os.close(descriptor)


def given(**changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(statistics_text(WEIGHTS))
    return content | changes


def table(**changes: Any) -> dict[str, Any]:
    return given(
        tables={"kb.t": {"rows": 1, "heap_bytes": 1, "index_bytes": 1, "writes": 1} | changes}
    )


BAD = {
    "": "it is no JSON",
    "{": "it is no JSON",
    "[" * 100_000: "it is nested too deeply",
    "[]": "it is no JSON object",
    "{}": "it has no 'headwater_statistics'",
    json.dumps(given(headwater_statistics=2)): "its form is 2; this Headwater reads form 1",
    json.dumps(given(tables=[])): "'tables' is no object",
    json.dumps(given(source=None)): "'source' is no text",
    json.dumps(given(server_version="17")): "'server_version' is no whole number",
    json.dumps(given(counted_s="long")): "'counted_s' is no number",
    json.dumps(given(counted_s=-1)): "'counted_s' is no duration",
    json.dumps(given(counted_s=float("nan"))): "'counted_s' is no duration",
    json.dumps(given(tables={"kb.t": 3})): "the value of kb.t is no object",
    json.dumps(table(rows=-1)): "'rows' of kb.t is negative",
    json.dumps(table(rows=2**63)): "'rows' of kb.t is larger than PostgreSQL counts",
    json.dumps(table(rows=10**400)): "'rows' of kb.t is larger than PostgreSQL counts",
    json.dumps(given(counted_s=10**400)): "'counted_s' is no duration",
    json.dumps(given(counted_s=1e300)): "'counted_s' is no duration",
    json.dumps(table(rows=1.5)): "'rows' of kb.t is no whole number",
    json.dumps(table(heap_bytes=True)): "'heap_bytes' of kb.t is no whole number",
    json.dumps(table(index_bytes=None)): "'index_bytes' of kb.t is no whole number",
    json.dumps(table(estimated="yes")): "'estimated' of kb.t is neither true nor false",
}


@pytest.mark.parametrize(("text", "told"), BAD.items(), ids=map(str, range(len(BAD))))
def test_a_bad_file_is_refused_with_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match="is no file of statistics") as caught:
        read_statistics(path)
    assert told in caught.value.detail
    assert "invoke lint.stats" in caught.value.hint


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(SettingsError) as caught:
        read_statistics(path)
    assert caught.value.detail == "it is not UTF-8"


@pytest.mark.parametrize("path", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, path: str) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_statistics(tmp_path / path)
