"""From bytes to the text that is hashed and run."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.files.text import (
    MAX_BYTES,
    Places,
    checksum,
    count_lines,
    line_at,
    line_starts,
    normalise,
    place,
)
from headwater.model import Finding

# A busy machine is no fault of the code.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00\r"))


def text_of(raw: bytes) -> str:
    """Normalise bytes that must be fine."""
    text = normalise(raw, "0001_a.sql")
    assert isinstance(text, str)
    return text


def refusal_of(raw: bytes) -> Finding:
    """Normalise bytes that must be refused, as something about the file's encoding."""
    finding = normalise(raw, "0001_a.sql")
    assert isinstance(finding, Finding)
    assert (finding.rule, finding.file) == ("not-utf-8", "0001_a.sql")
    assert finding.hint == "save the file as UTF-8"
    return finding


def test_plain_text_stays_as_it_is() -> None:
    assert text_of("select 'é', '\t';\n\n".encode()) == "select 'é', '\t';\n\n"


def test_one_leading_byte_order_mark_goes() -> None:
    assert text_of(codecs.BOM_UTF8 + b"select 1;") == "select 1;"


def test_a_second_byte_order_mark_stays_for_the_parser_to_refuse() -> None:
    assert text_of(codecs.BOM_UTF8 * 2 + b"select 1;") == "\ufeffselect 1;"


def test_a_byte_order_mark_in_the_middle_stays() -> None:
    assert text_of(b"select '" + codecs.BOM_UTF8 + b"';") == "select '\ufeff';"


def test_crlf_becomes_lf() -> None:
    assert text_of(b"select 1;\r\nselect 2;\r\n") == "select 1;\nselect 2;\n"


def test_a_lone_carriage_return_stays() -> None:
    assert text_of(b"select '\r';\r\r\n") == "select '\r';\r\n"


def test_nothing_else_is_touched() -> None:
    text = " \t select 1  \n\n\n\x0b\x0c\u2028\u00a0"
    assert text_of(text.encode()) == text


def test_an_empty_file_is_an_empty_text() -> None:
    assert text_of(b"") == text_of(codecs.BOM_UTF8) == ""


@patient
@given(TEXT)
def test_neither_line_ends_nor_a_byte_order_mark_change_the_text(text: str) -> None:
    assert text_of(codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode()) == text


def test_the_largest_file_has_64_mebibytes() -> None:
    assert MAX_BYTES == 67_108_864


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        pytest.param(codecs.BOM_UTF16_LE + "select 1;".encode("utf-16-le"), "UTF-16", id="16-le"),
        pytest.param(codecs.BOM_UTF16_BE + "select 1;".encode("utf-16-be"), "UTF-16", id="16-be"),
        pytest.param(codecs.BOM_UTF32_LE + "select 1;".encode("utf-32-le"), "UTF-32", id="32-le"),
        pytest.param(codecs.BOM_UTF32_BE + "select 1;".encode("utf-32-be"), "UTF-32", id="32-be"),
        pytest.param(codecs.BOM_UTF16_LE, "UTF-16", id="nothing-but-the-mark"),
    ],
)
def test_a_wide_encoding_is_refused_by_name(raw: bytes, name: str) -> None:
    finding = refusal_of(raw)
    assert finding.message == f"the file is {name}, not UTF-8 (byte offset 0)"
    assert (finding.line, finding.column) == (1, 1)


def test_utf_16_without_a_mark_is_refused_for_its_nul_bytes() -> None:
    finding = refusal_of("select 1;".encode("utf-16-le"))
    assert "NUL byte" in finding.message
    assert (finding.line, finding.column) == (1, 2)


@pytest.mark.parametrize(
    ("raw", "offset", "line", "column"),
    [
        pytest.param(b"\x00", 0, 1, 1, id="alone"),
        pytest.param(b"create table a();\x00create table b();", 17, 1, 18, id="between"),
        pytest.param(b"select 1;\n-- x\nab\x00", 17, 3, 3, id="third-line"),
        pytest.param(b"select 1;\r\na\x00", 12, 2, 2, id="behind-crlf"),
        pytest.param("\nééé\x00".encode(), 7, 2, 4, id="behind-letters-of-two-bytes"),
        pytest.param(codecs.BOM_UTF8 + b"a\x00", 4, 1, 2, id="behind-a-byte-order-mark"),
        pytest.param(b"\xe9\n\xe9\x00", 3, 2, 2, id="behind-what-is-no-text"),
    ],
)
def test_a_nul_byte_is_refused_with_its_line(
    raw: bytes, offset: int, line: int, column: int
) -> None:
    finding = refusal_of(raw)
    assert finding.message == (
        f"the file holds a NUL byte, which would cut it off there (byte offset {offset})"
    )
    assert (finding.line, finding.column) == (line, column)


@pytest.mark.parametrize(
    ("raw", "byte", "offset", "line", "column"),
    [
        pytest.param(b"select '\xe9';", "E9", 8, 1, 9, id="latin-1"),
        pytest.param(b"-- a\n-- \x80\n", "80", 8, 2, 4, id="continuation-alone"),
        pytest.param(b"-- \xc3\xa9\xc3\xa9\xff", "FF", 7, 1, 6, id="behind-letters"),
        pytest.param(b"-- \xc3", "C3", 3, 1, 4, id="cut-off"),
        pytest.param(b"-- \xc0\xaf", "C0", 3, 1, 4, id="overlong"),
        pytest.param(b"-- \xed\xa0\x80", "ED", 3, 1, 4, id="surrogate"),
        pytest.param(codecs.BOM_UTF8 + b"-- \xe9", "E9", 6, 1, 4, id="behind-a-mark"),
        pytest.param(codecs.BOM_UTF8 + b"\n\xe9", "E9", 4, 2, 1, id="line-below-a-mark"),
        pytest.param(b"\n" + codecs.BOM_UTF8 + b"\xe9", "E9", 4, 2, 2, id="mark-below"),
    ],
)
def test_a_byte_that_is_not_utf_8_is_refused_with_its_place(
    raw: bytes, byte: str, offset: int, line: int, column: int
) -> None:
    finding = refusal_of(raw)
    assert finding.message == f"the byte 0x{byte} is not UTF-8 (byte offset {offset})"
    assert (finding.line, finding.column) == (line, column)


# --- checksums and places ---------------------------------------------------------------------


def test_the_checksum_never_changes() -> None:
    # `printf 'create table t ();\n' | sha256sum`: what is stored in histories, for ever.
    assert checksum("create table t ();\n") == (
        "sha256-1:07274e3f2322c2f66f5f000edc19caa9311203312e5459991698c1081383d51c"
    )


def test_the_checksum_is_of_utf_8() -> None:
    assert checksum("é") == (
        "sha256-1:4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"
    )


def test_line_ends_do_not_change_the_checksum() -> None:
    assert checksum(text_of(b"a\r\nb\r\n")) == checksum(text_of(b"a\nb\n"))


def test_a_byte_order_mark_does_not_change_the_checksum() -> None:
    assert checksum(text_of(codecs.BOM_UTF8 + b"a")) == checksum(text_of(b"a"))


@pytest.mark.parametrize("edited", ["select 1; ", "select  1;", "select 1;\n", "Select 1;", ""])
def test_every_other_edit_changes_the_checksum(edited: str) -> None:
    assert checksum(edited) != checksum("select 1;")


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        pytest.param(0, (1, 1), id="first"),
        pytest.param(2, (1, 3), id="line-end"),
        pytest.param(3, (2, 1), id="second-line"),
        pytest.param(5, (3, 1), id="behind-an-empty-line"),
        pytest.param(7, (3, 3), id="end"),
    ],
)
def test_a_place_counts_characters_from_1(position: int, expected: tuple[int, int]) -> None:
    assert place("éé\nx\nyz", position) == expected


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        pytest.param(1, (1, 2), id="at-a-lone-cr"),
        pytest.param(2, (2, 1), id="behind-a-lone-cr"),
        pytest.param(4, (2, 3), id="inside-crlf"),
        pytest.param(5, (3, 1), id="behind-crlf"),
        pytest.param(6, (4, 1), id="behind-an-empty-line"),
        pytest.param(7, (4, 2), id="end"),
    ],
)
def test_a_lone_cr_ends_a_line_as_it_does_for_postgresql(
    position: int, expected: tuple[int, int]
) -> None:
    text = "a\rb\r\n\rc"
    assert place(text, position) == expected
    assert [line_at(text, line) for line in range(1, 6)] == ["a", "b", "", "c", ""]


def test_a_fault_is_placed_behind_lone_crs() -> None:
    finding = refusal_of(b"\xef\xbb\xbfa\r\xc3\xa9\xe9")
    assert (finding.line, finding.column) == (2, 2)


@patient
@given(st.lists(TEXT | st.sampled_from(["\r", "\n", "\r\n"])).map("".join), st.data())
def test_a_place_leads_back_to_its_character(text: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(text)))
    line, column = place(text, position)
    if text[position : position + 1] in ("", "\r", "\n"):
        assert column > len(line_at(text, line))
    else:
        assert line_at(text, line)[column - 1] == text[position]


@patient
@given(st.lists(TEXT | st.sampled_from(["\r", "\n", "\r\n"])).map("".join))
def test_lines_are_counted_alike_however_they_are_counted(text: str) -> None:
    starts = line_starts(text)
    assert count_lines(text, 0, len(text)) == len(starts) - 1
    assert [place(text, start) for start in starts] == [(n + 1, 1) for n in range(len(starts))]


@pytest.mark.parametrize(
    ("line", "expected"), [(1, "a"), (2, ""), (3, "b\u2028c"), (4, ""), (5, ""), (0, ""), (-1, "")]
)
def test_a_line_is_what_stands_between_two_line_feeds(line: int, expected: str) -> None:
    assert line_at("a\n\nb\u2028c\n", line) == expected


@patient
@given(st.lists(TEXT | st.sampled_from(["\r", "\n", "\r\n"])).map("".join), st.data())
def test_places_that_are_asked_often_are_those_that_are_asked_once(
    text: str, data: st.DataObject
) -> None:
    places, position = Places(text), data.draw(st.integers(0, len(text)))
    line, column = places.of(position)
    assert (line, column) == place(text, position)
    assert places.line(line) == line_at(text, line)
    assert places.start_of(line) + column - 1 == position
    assert places.byte(position) == len(text[:position].encode())
    assert places.character(places.byte(position)) == position
