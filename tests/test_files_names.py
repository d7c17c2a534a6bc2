"""Names of migrations."""

from __future__ import annotations

import pytest

from headwater.files.names import MAX_LENGTH, fault_of_description, fault_of_version

FORM = "a name is YYYYMMDD_description or 0001_description, of a-z, 0-9 and _"


@pytest.mark.parametrize(
    "version",
    [
        "0001_init",
        "0000_a",
        "9999_z9",
        "20251025_add_status",
        "20240229_leap_day",
        "20251025_2",
        "20251025_a_b_c",
        f"0001_{'a' * (MAX_LENGTH - 5)}",
    ],
)
def test_a_good_name_has_no_fault(version: str) -> None:
    assert fault_of_version(version) == ""


@pytest.mark.parametrize(
    ("version", "fault"),
    [
        pytest.param("", FORM, id="empty"),
        pytest.param("init", FORM, id="no-number"),
        pytest.param("0001", FORM, id="no-description"),
        pytest.param("0001_", FORM, id="empty-description"),
        pytest.param("001_init", FORM, id="three-digits"),
        pytest.param("00001_init", FORM, id="five-digits"),
        pytest.param("2025102_init", FORM, id="seven-digits"),
        pytest.param("202510251200_init", FORM, id="with-a-time"),
        pytest.param("2025-10-25_init", FORM, id="date-with-hyphens"),
        pytest.param("V1__init", FORM, id="flyway"),
        pytest.param("0001-init", FORM, id="hyphen"),
        pytest.param("0001__init", FORM, id="two-underscores"),
        pytest.param("0001_init_", FORM, id="underscore-at-the-end"),
        pytest.param("0001_a__b", FORM, id="two-underscores-inside"),
        pytest.param("0001_Init", FORM, id="upper-case"),
        pytest.param("0001_a b", FORM, id="blank"),
        pytest.param("0001_a\n", FORM, id="line-end"),
        pytest.param("0001_a.b", FORM, id="dot"),
        pytest.param("0001_été", FORM, id="accents"),
        pytest.param("\u0660\u0660\u0660\u0661_init", FORM, id="other-digits"),
        pytest.param("20250229_init", "20250229 is no date", id="no-leap-year"),
        pytest.param("20251301_init", "20251301 is no date", id="month-13"),
        pytest.param("20251000_init", "20251000 is no date", id="day-0"),
        pytest.param("00000101_init", "00000101 is no date", id="year-0"),
        pytest.param(
            f"0001_{'a' * (MAX_LENGTH - 4)}", "a name has at most 120 characters", id="too-long"
        ),
    ],
)
def test_a_bad_name_is_told_what_is_wrong(version: str, fault: str) -> None:
    assert fault_of_version(version) == fault


@pytest.mark.parametrize("description", ["a", "add_project_status", "v2", "2fa", "a" * 111])
def test_a_good_description_has_no_fault_and_makes_a_good_name(description: str) -> None:
    assert fault_of_description(description) == ""
    assert fault_of_version(f"20251025_{description}") == ""


@pytest.mark.parametrize(
    ("description", "fault"),
    [
        pytest.param("", "a description is of a-z", id="empty"),
        pytest.param("Add", "a description is of a-z", id="upper-case"),
        pytest.param("add status", "a description is of a-z", id="blank"),
        pytest.param("add-status", "a description is of a-z", id="hyphen"),
        pytest.param("_add", "a description is of a-z", id="underscore-first"),
        pytest.param("add_", "a description is of a-z", id="underscore-last"),
        pytest.param("add__status", "a description is of a-z", id="two-underscores"),
        pytest.param("../../etc/x", "a description is of a-z", id="path"),
        pytest.param("é", "a description is of a-z", id="accent"),
        pytest.param("a\n", "a description is of a-z", id="line-end"),
        pytest.param("20251025_add", "begins with no date or number", id="with-a-date"),
        pytest.param("0001_init", "begins with no date or number", id="with-a-number"),
        pytest.param("a" * 112, "at most 111 characters", id="too-long"),
    ],
)
def test_a_bad_description_is_told_what_is_wrong(description: str, fault: str) -> None:
    assert fault in fault_of_description(description)
