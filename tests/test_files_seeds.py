"""Reading the folder of seeds: what is a seed, what a seed needs, and what is neither."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.errors import FilesError
from headwater.files.seeds import read_seeds, read_seeds_in
from headwater.model import Finding, SeedFolder
from headwater.settings import Settings
from tests.support import write_files

FILES = {
    "20_graph.py": "def seed(connection): ...\n",
    "10_people.sql": "insert into app.t values (1);\n",
    "_names.py": "ALL = ['a']\n",
    "_people.csv": "a,b\n",
}


def read(folder: Path, files: dict[str, str] | None = None) -> SeedFolder:
    """Read a folder that holds these files."""
    write_files(folder, FILES if files is None else files)
    return read_seeds_in(folder)


def only_finding(seeds: SeedFolder) -> Finding:
    [finding] = seeds.findings
    return finding


# --- what is a seed ---------------------------------------------------------------------------


def test_seeds_are_read_in_byte_order_and_helpers_are_none_of_them(tmp_path: Path) -> None:
    seeds = read(tmp_path, FILES | {"2_b.sql": "select 1;", "_x.sql": "select 1;"})
    assert [seed.name for seed in seeds.seeds] == ["10_people.sql", "20_graph.py", "2_b.sql"]
    assert [seed.is_python for seed in seeds.seeds] == [False, True, False]
    assert seeds.helpers == {"_names": FILES["_names.py"]}
    assert seeds.findings == ()


def test_what_no_row_follows_from_is_not_read(tmp_path: Path) -> None:
    checksum = read(tmp_path).checksum
    others = {"README.md": "text", ".10_people.sql.swp": "\x00", "__pycache__/a.pyc": "bytes"}
    seeds = read(tmp_path, others)
    assert seeds.findings == ()
    assert seeds.checksum == checksum


@pytest.mark.parametrize(
    "name",
    [
        "People.sql",
        "10_people.SQL",
        "10-people.sql",
        "10_people.sql.bak",
        "10_people.sql.py",
        "people.csv",
        "readme.md",
        "ä.sql",
        "10_people.sql ",
        "_.py",
        "_Names.py",
        f"{'a' * 120}.sql",
    ],
)
def test_any_other_name_is_told(tmp_path: Path, name: str) -> None:
    seeds = read(tmp_path / "seeds", {name: "select 1;"})
    finding = only_finding(seeds)
    assert finding.rule == "bad-name"
    assert finding.file == f"seeds/{name}"
    assert seeds.seeds == ()


def test_a_helper_that_would_be_taken_for_a_module_of_python_is_told(tmp_path: Path) -> None:
    assert "Python's own" in only_finding(read(tmp_path, {"_csv.py": ""})).message
    assert read_seeds_in(tmp_path / "").seeds == ()


@pytest.mark.parametrize("name", ["10_people.sql", "20_graph.py", "_people.csv", "below"])
def test_a_folder_is_no_seed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    finding = only_finding(read_seeds_in(tmp_path))
    assert (finding.rule, finding.file) == ("bad-name", f"{tmp_path.name}/{name}")


@pytest.mark.parametrize("name", ["10_people.sql", "20_graph.py", "_people.csv"])
def test_a_link_or_a_pipe_is_no_seed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "seeds"
    folder.mkdir()
    (tmp_path / "elsewhere").write_text("select 1;", encoding="utf-8")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    assert only_finding(read_seeds_in(folder)).message == "it is a link"
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert only_finding(read_seeds_in(folder)).rule == "unreadable"


# --- the folder -------------------------------------------------------------------------------


def test_without_a_folder_there_are_no_seeds(settings: Settings) -> None:
    seeds = read_seeds(settings)
    assert (seeds.seeds, seeds.checksum, seeds.findings) == ((), "", ())


def test_the_folder_beside_tasks_py_is_read(settings: Settings) -> None:
    write_files(settings.root / "seeds", FILES)
    assert len(read_seeds(settings).seeds) == 2


def test_a_folder_that_is_named_must_be_there(settings: Settings) -> None:
    with pytest.raises(FilesError, match="cannot be read"):
        read_seeds(replace(settings, seeds=settings.root / "sedes"))


def test_a_file_is_no_folder_of_seeds(settings: Settings) -> None:
    (settings.root / "seeds").write_text("", encoding="utf-8")
    with pytest.raises(FilesError, match="cannot be read"):
        read_seeds(settings)


# --- bytes ------------------------------------------------------------------------------------


def test_a_byte_order_mark_and_line_ends_change_nothing(tmp_path: Path) -> None:
    plain = read(tmp_path)
    for name in ("10_people.sql", "20_graph.py", "_names.py"):
        text = FILES[name].replace("\n", "\r\n").encode()
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text)
    assert read_seeds_in(tmp_path) == plain


@pytest.mark.parametrize("name", ["10_people.sql", "20_graph.py", "_names.py"])
@pytest.mark.parametrize(
    ("raw", "line", "words"),
    [
        (b"-- one\n\x00", 2, "NUL"),
        (b"-- one\n-- \xe9\n", 2, "0xE9 is not UTF-8"),
        ("select 1;".encode("utf-16"), 1, "UTF-16"),
    ],
)
def test_bytes_that_are_no_text_are_told_with_their_line(
    tmp_path: Path, name: str, raw: bytes, line: int, words: str
) -> None:
    (tmp_path / name).write_bytes(raw)
    finding = only_finding(read_seeds_in(tmp_path))
    assert (finding.file, finding.line) == (f"{tmp_path.name}/{name}", line)
    assert words in finding.message


# --- the checksum -----------------------------------------------------------------------------


def test_whatever_rows_may_follow_from_is_in_the_checksum(tmp_path: Path) -> None:
    seen = {read(tmp_path).checksum}
    for number, name in enumerate(FILES, start=1):
        seen.add(read(tmp_path, {name: FILES[name] + "# edited"}).checksum)
        assert len(seen) == number + 1, name
    (tmp_path / "_people.csv").rename(tmp_path / "_persons.csv")
    seen.add(read_seeds_in(tmp_path).checksum)
    assert len(seen) == len(FILES) + 2
    assert all(checksum.startswith("seeds-1:") for checksum in seen)
