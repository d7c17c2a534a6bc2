"""From a folder to migrations, and to everything that is wrong with it."""

from __future__ import annotations

import codecs
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headwater.errors import FilesError
from headwater.files import read
from headwater.files.read import read_folder, read_regular_file, read_sound_folder
from headwater.files.text import MAX_BYTES, checksum
from headwater.model import Directive, Finding, MigrationFolder, Severity
from tests.support import write_files

FILES = Path(__file__).parent / "files"
ONE = {"0001_init.sql": "create table a ();\n"}


def folder_of(tmp_path: Path, files: dict[str, str]) -> MigrationFolder:
    """Write a folder that must be sound, and read it."""
    write_files(tmp_path, files)
    folder = read_folder(tmp_path)
    assert folder.findings == ()
    return folder


def faults_in(folder: MigrationFolder) -> list[tuple[str, str, str]]:
    """Give rule, file and message of every finding; all of them are errors."""
    assert all(finding.severity is Severity.ERROR for finding in folder.findings)
    return [(finding.rule, finding.file, finding.message) for finding in folder.findings]


def only_fault(folder: MigrationFolder) -> Finding:
    """Give the one finding of a folder whose other file was read all the same."""
    assert versions(folder) == ["0001_init"]
    [finding] = folder.findings
    return finding


def versions(folder: MigrationFolder) -> list[str]:
    """Give the versions that were read, in order."""
    return [migration.version for migration in folder.migrations]


# --- what is read -----------------------------------------------------------------------------


def test_a_migration_is_read_with_its_siblings_and_checks(tmp_path: Path) -> None:
    text = "-- headwater: lock-timeout 5s\ncreate table a ();\n"
    folder = folder_of(
        tmp_path,
        {
            "20251025_add_a.sql": text,
            "20251025_add_a.verify.sql": 'select true as "it holds";\n',
            "20251025_add_a.down.sql": "drop table a;\n",
            "checks/b.sql": 'select true as "b";\n',
            "checks/a.sql": 'select true as "a";\n',
        },
    )
    [migration] = folder.migrations
    assert folder.path == tmp_path
    assert migration.version == "20251025_add_a"
    assert (migration.prefix, migration.description) == ("20251025", "add_a")
    assert migration.text == text
    assert migration.checksum == checksum(text)
    assert migration.directives == (Directive(name="lock-timeout", value="5s", line=1),)
    assert migration.transactional
    assert migration.verify == 'select true as "it holds";\n'
    assert migration.down == "drop table a;\n"
    assert [check.path for check in folder.checks] == [
        tmp_path / "checks" / "a.sql",
        tmp_path / "checks" / "b.sql",
    ]
    assert folder.checks[0].text == 'select true as "a";\n'


def test_no_text_of_a_file_is_printed_with_it(tmp_path: Path) -> None:
    """It may hold a password, and a folder is printed where a test or a program of it fails."""
    files = {
        name: f"{name} secret" for name in ("0001_a.sql", "0001_a.verify.sql", "0001_a.down.sql")
    }
    printed = repr(folder_of(tmp_path, files))
    assert "Migration(version='0001_a', checksum='sha256-1:" in printed
    assert "secret" not in printed


def test_a_migration_without_siblings_has_none(tmp_path: Path) -> None:
    [migration] = folder_of(tmp_path, ONE).migrations
    assert (migration.verify, migration.down, migration.directives) == (None, None, ())


def test_a_no_transaction_file_says_so() -> None:
    [migration] = read_folder(FILES / "no-transaction").migrations
    assert not migration.transactional


def test_an_empty_folder_is_sound_and_empty(tmp_path: Path) -> None:
    assert folder_of(tmp_path, {}) == MigrationFolder(path=tmp_path, migrations=())


def test_names_are_in_byte_order(tmp_path: Path) -> None:
    ordered = [
        "0001_init",
        "0010_a",
        "20251025_a2",
        "20251025_aa",
        "20251025_aa_b",
        "20251025_aab",
        "20251025_b",
        "20251026_c",
        "9999_z",
    ]
    folder = folder_of(tmp_path, {f"{name}.sql": "select 1;" for name in reversed(ordered)})
    assert versions(folder) == ordered == sorted(ordered, key=str.encode)


def test_other_files_and_folders_are_left_alone(tmp_path: Path) -> None:
    others = {"README.md": "", "0002_a.sql~": "", "0002_b.sql.orig": "", ".gitkeep": ""}
    folder = folder_of(tmp_path, ONE | others | {"notes/a.md": "", "checks/README": ""})
    assert versions(folder) == ["0001_init"]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"create table a ();\r\nselect 1;\r\n", id="crlf"),
        pytest.param(codecs.BOM_UTF8 + b"create table a ();\nselect 1;\n", id="byte-order-mark"),
    ],
)
def test_an_editor_on_another_system_changes_neither_text_nor_checksum(
    tmp_path: Path, raw: bytes
) -> None:
    for name in ("0001_a", "0001_a.verify", "0001_a.down", "checks/a"):
        write_files(tmp_path, {f"{name}.sql": ""})
        (tmp_path / f"{name}.sql").write_bytes(raw)
    folder = read_folder(tmp_path)
    text = "create table a ();\nselect 1;\n"
    [migration] = folder.migrations
    assert migration.checksum == checksum(text)
    assert migration.text == migration.verify == migration.down == folder.checks[0].text == text


# --- a folder that cannot be read -------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing", "file"])
def test_a_folder_that_is_none_is_an_error_and_never_no_files(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(FilesError) as caught:
        read_folder(tmp_path / name)
    assert caught.value.exit_code == 2
    assert str(tmp_path / name) in caught.value.message
    assert caught.value.detail
    assert "HEADWATER_MIGRATIONS" in caught.value.hint


def test_a_sound_folder_is_given(tmp_path: Path) -> None:
    write_files(tmp_path, ONE)
    assert read_sound_folder(tmp_path) == read_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("upper-case", "1 problem in "),
        ("bad-checks", "2 problems in "),
        ("bad-names", "6 problems in "),
    ],
)
def test_an_unsound_folder_is_refused_with_every_finding(name: str, message: str) -> None:
    with pytest.raises(FilesError) as caught:
        read_sound_folder(FILES / name)
    assert caught.value.exit_code == 2
    assert caught.value.message == f"{message}{FILES / name}; nothing was run"
    assert caught.value.findings == read_folder(FILES / name).findings


# --- names ------------------------------------------------------------------------------------


def test_upper_case_sql_is_refused() -> None:
    folder = read_folder(FILES / "upper-case")
    assert faults_in(folder) == [
        ("bad-name", "0001_init.SQL", "a migration ends in .sql, in lower case, and is not hidden")
    ]
    assert folder.migrations == ()


def test_all_bad_names_are_told_at_once() -> None:
    folder = read_folder(FILES / "bad-names")
    form = "a name is YYYYMMDD_description or 0001_description, of a-z, 0-9 and _"
    assert faults_in(folder) == [
        (
            "bad-name",
            ".0003_hidden.sql",
            "a migration ends in .sql, in lower case, and is not hidden",
        ),
        ("bad-name", "0001_Upper.sql", form),
        ("bad-name", "0002_two__underscores.sql", form),
        (
            "bad-name",
            "0004_users.up.sql",
            "beside VERSION.sql there may be VERSION.verify.sql and VERSION.down.sql",
        ),
        ("bad-name", "20250230_no_such_day.sql", "20250230 is no date"),
        ("bad-name", "init.sql", form),
    ]
    assert versions(folder) == ["0005_good"]


@pytest.mark.parametrize("name", ["Init.verify.sql", "init.down.sql", "0001_a.verify.down.sql"])
def test_a_sibling_of_a_bad_name_is_refused_for_its_name(tmp_path: Path, name: str) -> None:
    write_files(tmp_path, ONE | {name: "select 1;"})
    finding = only_fault(read_folder(tmp_path))
    assert (finding.rule, finding.file) == ("bad-name", name)


def test_a_name_that_is_no_text_is_told_in_a_form_that_can_be_printed(tmp_path: Path) -> None:
    write_files(tmp_path, ONE)
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/0002_\xe9.sql")).write_text("select 1;")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert only_fault(read_folder(tmp_path)).file == "0002_\\xe9.sql"


@pytest.mark.parametrize("name", ["0002_a.sql.txt", "0002_a.SQL.TXT", "0002_a.sql ", "0002_a.sql."])
@pytest.mark.parametrize("folder", ["", "checks/"])
def test_a_name_that_ends_in_sql_but_for_what_nobody_sees_is_refused(
    tmp_path: Path, folder: str, name: str
) -> None:
    write_files(tmp_path, ONE | {f"{folder}{name}": "select 1;"})
    finding = only_fault(read_folder(tmp_path))
    assert (finding.rule, finding.file) == ("bad-name", f"{folder}{name}")
    assert finding.message.endswith("ends in .sql, and in nothing else")


@pytest.mark.parametrize("name", ["0002_a.sql.bak", "0002_a.sql~", "0002_a.sql.off", "a.txt"])
def test_a_file_that_was_put_aside_is_ignored(tmp_path: Path, name: str) -> None:
    write_files(tmp_path, ONE | {name: "select 1;"})
    assert read_folder(tmp_path).findings == ()


def test_a_name_with_control_characters_is_told_in_a_form_that_can_be_printed(
    tmp_path: Path,
) -> None:
    write_files(tmp_path, ONE | {"0002_\x1b[31m\n.sql": "select 1;"})
    assert only_fault(read_folder(tmp_path)).file == "0002_\\x1b[31m\\n.sql"


def test_a_number_is_used_once() -> None:
    folder = read_folder(FILES / "number-twice")
    assert faults_in(folder) == [
        ("name-clash", "0001_users.sql", "the number 0001 is already used by 0001_teams.sql")
    ]
    assert folder.findings[0].hint == "rename the newer file"


def test_two_files_may_share_a_date() -> None:
    folder = read_folder(FILES / "date-twice")
    assert folder.findings == ()
    assert versions(folder) == ["20251025_teams", "20251025_users"]


def test_a_description_is_used_once() -> None:
    message = "the description is already used by 0001_add_status.sql"
    assert faults_in(read_folder(FILES / "description-twice")) == [
        ("name-clash", "20251025_add_status.sql", message),
        ("name-clash", "20251026_add_status.sql", message),
    ]


def test_a_sibling_without_its_migration_is_refused() -> None:
    folder = read_folder(FILES / "orphan-sibling")
    assert faults_in(folder) == [
        ("no-migration", "0002_gone.verify.sql", "there is no 0002_gone.sql for it"),
        ("no-migration", "0003_gone.down.sql", "there is no 0003_gone.sql for it"),
    ]
    assert versions(folder) == ["0001_init"]


def test_a_sibling_of_a_file_that_cannot_be_read_is_no_orphan(tmp_path: Path) -> None:
    write_files(tmp_path, ONE | {"0002_a.sql": "\x00", "0002_a.verify.sql": "select 1;"})
    assert only_fault(read_folder(tmp_path)).rule == "not-utf-8"


# --- places -----------------------------------------------------------------------------------


def test_files_in_a_folder_that_is_not_read_are_named() -> None:
    folder = read_folder(FILES / "nested-folder")
    only = "only the folder itself and checks/ are read, not "
    assert faults_in(folder) == [
        ("bad-name", "checks/more/rows.sql", f"{only}checks/more/"),
        ("bad-name", "more/0002_users.sql", f"{only}more/"),
        ("bad-name", "more/deeper/0003_teams.SQL", f"{only}more/deeper/"),
    ]
    assert versions(folder) == ["0001_init"]
    assert [check.path.name for check in folder.checks] == ["tables.sql"]


def test_a_badly_named_check_is_refused() -> None:
    folder = read_folder(FILES / "bad-checks")
    message = "a check ends in .sql, in lower case, and is not hidden"
    assert faults_in(folder) == [
        ("bad-name", "checks/.rows.sql", message),
        ("bad-name", "checks/tables.SQL", message),
    ]
    assert [check.path.name for check in folder.checks] == ["policies.sql"]


def test_a_link_is_refused_even_to_a_good_file(tmp_path: Path) -> None:
    write_files(tmp_path, ONE | {"checks/a.sql": "select 1;"})
    (tmp_path / "0002_a.sql").symlink_to("0001_init.sql")
    (tmp_path / "0003_a.sql").symlink_to("nothing")
    (tmp_path / "0004_a.sql").symlink_to("0004_a.sql")
    (tmp_path / "checks" / "b.sql").symlink_to("a.sql")
    folder = read_folder(tmp_path)
    assert faults_in(folder) == [
        ("unreadable", "0002_a.sql", "it is a link"),
        ("unreadable", "0003_a.sql", "it is a link"),
        ("unreadable", "0004_a.sql", "it is a link"),
        ("unreadable", "checks/b.sql", "it is a link"),
    ]
    assert len(folder.checks) == 1


def test_a_linked_folder_hides_no_files(tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", ONE)
    write_files(tmp_path / "elsewhere", {"0002_a.sql": "select 1;"})
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "migrations" / "linked").symlink_to(tmp_path / "elsewhere")
    assert only_fault(read_folder(tmp_path / "migrations")).file == "linked/0002_a.sql"


@pytest.mark.parametrize("sort", ["link", "file"])
def test_checks_that_are_no_folder_are_not_skipped(tmp_path: Path, sort: str) -> None:
    write_files(tmp_path / "migrations", ONE)
    write_files(tmp_path / "elsewhere", {"a.sql": "select 1;"})
    if sort == "link":
        (tmp_path / "migrations" / "checks").symlink_to(tmp_path / "elsewhere")
    else:
        (tmp_path / "migrations" / "checks").write_text("select 1;")
    folder = read_folder(tmp_path / "migrations")
    assert only_fault(folder).message == "checks is a folder of files, and no link to one"
    assert folder.checks == ()


def test_a_fifo_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    write_files(tmp_path, ONE)
    os.mkfifo(tmp_path / "0002_a.sql")
    finding = only_fault(read_folder(tmp_path))
    assert (finding.rule, finding.file) == ("unreadable", "0002_a.sql")
    assert finding.message == "it is a folder or a device, not a file"


def test_a_folder_called_like_a_migration_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, ONE | {"0002_a.sql/0003_b.sql": "select 1;"})
    finding = only_fault(read_folder(tmp_path))
    assert (finding.rule, finding.file) == ("unreadable", "0002_a.sql")
    assert finding.message == "it is a folder or a device, not a file"


def test_a_file_that_cannot_be_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, ONE)
    monkeypatch.chdir(tmp_path)  # the path of a socket has about a hundred bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("0002_a.sql")
        finding = only_fault(read_folder(tmp_path))
    assert (finding.rule, finding.file) == ("unreadable", "0002_a.sql")
    assert finding.message.startswith("it cannot be opened: ")


@contextmanager
def an_ordinary_user() -> Generator[None]:
    """Give up what root may, for a while; an ordinary user may nothing special anyway."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = {"0002_a.sql": "select 1;", "checks/a.sql": "select 1;", "more/a.sql": "select 1;"}
    write_files(tmp_path, ONE | closed)
    for name in ("0002_a.sql", "checks", "more"):
        (tmp_path / name).chmod(0)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # a relative path: the folders above may be closed, too
    try:
        with an_ordinary_user():
            folder = read_folder(Path())
    finally:
        for name in ("checks", "more"):
            (tmp_path / name).chmod(0o755)
    assert faults_in(folder) == [
        ("unreadable", "0002_a.sql", "it cannot be opened: Permission denied"),
        ("unreadable", "checks", "it cannot be listed: Permission denied"),
        ("unreadable", "more", "it cannot be listed: Permission denied"),
    ]
    assert versions(folder) == ["0001_init"]


def test_a_file_of_the_largest_size_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "MAX_BYTES", 100_000)
    (tmp_path / "a.sql").write_bytes(b"x" * 100_000)
    assert read_regular_file(tmp_path / "a.sql") == b"x" * 100_000


@pytest.mark.parametrize("size", [0, 1, 32_767, 32_768, 32_769, 65_536, 200_000])
def test_a_file_of_any_size_is_read_whole(tmp_path: Path, size: int) -> None:
    text = ("-- 234567\n" * (size // 10 + 1))[:size]
    folder = folder_of(tmp_path, ONE | {"0002_a.sql": text})
    assert folder.migrations[1].text == text


def test_a_read_that_gives_less_than_there_is_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some file systems of a network do it."""
    real = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: real(descriptor, min(size, 7)))
    assert folder_of(tmp_path, ONE).migrations[0].text == ONE["0001_init.sql"]


def test_an_over_large_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    write_files(tmp_path, ONE | {"0002_a.sql": ""})
    os.truncate(tmp_path / "0002_a.sql", MAX_BYTES + 1)  # with nothing on the disk
    finding = only_fault(read_folder(tmp_path))
    assert finding.rule == "unreadable"
    assert finding.message == "it has 67,108,865 bytes; at most 67,108,864 can be sent at once"


# --- bytes ------------------------------------------------------------------------------------


def test_a_file_that_is_no_text_is_refused_with_file_line_and_offset(tmp_path: Path) -> None:
    write_files(tmp_path, ONE | {"0002_a.sql": "select 1;\n\x00"})
    finding = only_fault(read_folder(tmp_path))
    assert (finding.rule, finding.file) == ("not-utf-8", "0002_a.sql")
    assert (finding.line, finding.column) == (2, 1)
    assert "(byte offset 10)" in finding.message


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        ONE
        | {
            "0002_Bad.sql": "",
            "0003_nul.sql": "\x00",
            "0004_gone.down.sql": "",
            "0001_again.sql": "",
            "20250101_init.sql": "",
            "checks/nul.sql": "\x00",
            "more/0009_a.sql": "",
        },
    )
    (tmp_path / "0005_latin.verify.sql").write_bytes(b"\xe9")
    (tmp_path / "0006_wide.sql").write_bytes("select 1;".encode("utf-16"))
    os.mkfifo(tmp_path / "0007_fifo.sql")
    folder = read_folder(tmp_path)
    assert sorted((finding.rule, finding.file) for finding in folder.findings) == [
        ("bad-name", "0002_Bad.sql"),
        ("bad-name", "more/0009_a.sql"),
        ("name-clash", "0001_init.sql"),
        ("name-clash", "20250101_init.sql"),
        ("no-migration", "0004_gone.down.sql"),
        ("not-utf-8", "0003_nul.sql"),
        ("not-utf-8", "0005_latin.verify.sql"),
        ("not-utf-8", "0006_wide.sql"),
        ("not-utf-8", "checks/nul.sql"),
        ("unreadable", "0007_fifo.sql"),
    ]
    assert versions(folder) == ["0001_again", "0001_init", "20250101_init"]
