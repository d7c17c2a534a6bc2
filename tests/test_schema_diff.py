"""The comparison is pure: snapshots are made by hand here, no server is asked."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import headwater.schema.diff as diff_module
from headwater.report.changes import describe, diff_lines
from headwater.schema.catalog import IDENTITY, Facts, Row, Snapshot
from headwater.schema.diff import compare, unmanaged_schemas
from headwater.verdicts import Change, ChangeKind

Values = dict[str, str | None]


def row(identity: str, kind: str, *values: str | None, parent: str | None = None) -> Row:
    """A row of the schema `kb`, or of whichever schema the name shows."""
    name = identity.removeprefix(kind).strip().rpartition(" on ")[2]
    schema = name.partition(".")[0] if "." in name else None
    return (identity, kind, schema, parent, *values)


def facts(catalog: str, columns: str, *rows: Row) -> Facts:
    return Facts(
        catalog=catalog,
        columns=tuple(columns.split()),
        rows={str(each[IDENTITY]): each for each in rows},
    )


def snapshot(*each: Facts, version: int = 18) -> Snapshot:
    return Snapshot(facts={one.catalog: one for one in each}, version=version)


def table(name: str, order: str = "a, b") -> Row:
    return row(f"table {name}", "table", order)


def column(name: str, type_: str = "integer", storage: str = "p", not_null: str = "true") -> Row:
    parent = f"table {name.rpartition('.')[0]}"
    return row(f"column {name}", "column", type_, storage, not_null, parent=parent)


def tables(*rows: Row) -> Facts:
    each = tuple((*one[:4], one[4]) for one in rows)
    return Facts(
        catalog="pg_class",
        columns=("column order",),
        rows={str(one[IDENTITY]): one for one in each},
    )


def columns(*rows: Row) -> Facts:
    return facts("pg_attribute", "atttypid attstorage attnotnull", *rows)


def sentences(expected: Snapshot, actual: Snapshot, *schemas: str) -> list[str]:
    return [describe(each) for each in compare(expected, actual, schemas=schemas or ("kb",))]


T = table("kb.t")
A, B = column("kb.t.a"), column("kb.t.b")


def test_equal_snapshots_have_no_changes() -> None:
    same = snapshot(tables(T), columns(A, B))
    assert compare(same, same, schemas=["kb"]) == ()


def test_what_the_files_build_and_the_database_lacks_is_missing() -> None:
    changes = compare(
        snapshot(tables(T), columns(A, B)), snapshot(tables(T), columns(A)), schemas=["kb"]
    )
    assert changes == (Change(object="column kb.t.b", change=ChangeKind.MISSING),)
    assert describe(changes[0]) == "column kb.t.b: missing in the database"


def test_what_only_the_database_has_is_extra() -> None:
    changes = compare(
        snapshot(tables(T), columns(A)), snapshot(tables(T), columns(A, B)), schemas=["kb"]
    )
    assert changes == (Change(object="column kb.t.b", change=ChangeKind.EXTRA),)
    assert describe(changes[0]) == "column kb.t.b: in the database, not in the files"


def test_before_is_what_the_files_build_and_after_what_the_database_has() -> None:
    changes = compare(
        snapshot(columns(A)),
        snapshot(columns(column("kb.t.a", not_null="false"))),
        schemas=["kb"],
    )
    assert changes == (
        Change(
            object="column kb.t.a",
            change=ChangeKind.CHANGED,
            attribute="not null",
            before="true",
            after="false",
        ),
    )
    assert describe(changes[0]) == "column kb.t.a: not null true -> false"


def test_a_missing_table_is_one_line() -> None:
    expected = snapshot(tables(T), columns(A, B))
    assert sentences(expected, snapshot(tables(), columns())) == [
        "table kb.t: missing in the database"
    ]


def test_parts_of_parts_of_a_missing_table_are_not_listed() -> None:
    sequence = row("sequence kb.s", "sequence", None, parent="column kb.t.a")
    expected = snapshot(tables(T, sequence), columns(A))
    assert sentences(expected, snapshot(tables(), columns())) == [
        "table kb.t: missing in the database"
    ]


def test_a_type_tells_its_storage() -> None:
    actual = snapshot(columns(column("kb.t.a", "text", "x")))
    assert sentences(snapshot(columns(A)), actual) == ["column kb.t.a: type integer -> text"]


def test_storage_alone_is_told_in_words() -> None:
    actual = snapshot(columns(column("kb.t.a", storage="x")))
    assert sentences(snapshot(columns(A)), actual) == ["column kb.t.a: storage plain -> extended"]


def test_the_order_of_columns_counts() -> None:
    assert sentences(snapshot(tables(T)), snapshot(tables(table("kb.t", "b, a")))) == [
        "table kb.t: column order a, b -> b, a"
    ]


def test_a_column_in_the_middle_does_not_move_the_others() -> None:
    expected = snapshot(tables(T), columns(A, B))
    actual = snapshot(tables(table("kb.t", "a, x, b")), columns(A, column("kb.t.x"), B))
    assert sentences(expected, actual) == ["column kb.t.x: in the database, not in the files"]


def test_quoted_names_with_commas_keep_their_order() -> None:
    expected = snapshot(tables(table("kb.t", '"a, b", "c"')))
    assert sentences(expected, snapshot(tables(table("kb.t", '"a, b", x, "c"')))) == []


def test_the_index_of_a_constraint_is_told_by_the_constraint() -> None:
    index = row("index kb.t_key", "index", None, parent="table kb.t")
    constraint = row("constraint t_key on kb.t", "constraint", "UNIQUE (a)", parent="table kb.t")
    expected = snapshot(tables(T, index), facts("pg_constraint", "definition", constraint))
    actual = snapshot(tables(T), facts("pg_constraint", "definition"))
    assert sentences(expected, actual) == ["constraint t_key on kb.t: missing in the database"]


def test_a_not_null_constraint_is_told_by_its_column() -> None:
    constraint = row(
        "not-null constraint n on kb.t", "not-null constraint", None, parent="column kb.t.a"
    )
    expected = snapshot(columns(A), facts("pg_constraint", "definition", constraint))
    nullable = columns(column("kb.t.a", not_null="false"))
    actual = snapshot(nullable, facts("pg_constraint", "definition"))
    assert sentences(expected, actual) == ["column kb.t.a: not null true -> false"]


def test_a_not_null_constraint_alone_is_told() -> None:
    constraint = row(
        "not-null constraint n on kb.t", "not-null constraint", None, parent="column kb.t.a"
    )
    expected = snapshot(columns(A), facts("pg_constraint", "definition", constraint))
    actual = snapshot(columns(A), facts("pg_constraint", "definition"))
    assert sentences(expected, actual) == ["not-null constraint n on kb.t: missing in the database"]


def test_an_older_server_has_no_not_null_constraints_to_miss() -> None:
    constraint = row(
        "not-null constraint n on kb.t", "not-null constraint", None, parent="column kb.t.a"
    )
    expected = snapshot(columns(A), facts("pg_constraint", "definition", constraint))
    actual = snapshot(columns(A), facts("pg_constraint", "definition"), version=17)
    assert sentences(expected, actual) == []


def test_a_definition_tells_what_it_says() -> None:
    def index(definition: str, unique: str, valid: str) -> Facts:
        one = row("index kb.i", "index", definition, unique, valid, parent="table kb.t")
        return facts("pg_index", "definition indisunique indisvalid", one)

    expected, actual = snapshot(index("X", "false", "true")), snapshot(index("Y", "true", "false"))
    assert sentences(expected, actual) == [
        "index kb.i: definition X -> Y",
        "index kb.i: valid true -> false",
    ]


def test_a_fact_that_only_one_side_has_is_a_change() -> None:
    default = row("column kb.t.a", "column", "now()", parent="table kb.t")
    expected = snapshot(columns(A), facts("pg_attrdef", "adbin", default))
    actual = snapshot(columns(A), facts("pg_attrdef", ""))
    assert sentences(expected, actual) == ["column kb.t.a: default now() -> (none)"]
    assert sentences(actual, expected) == ["column kb.t.a: default (none) -> now()"]


def test_a_catalogue_that_one_side_cannot_read_is_not_compared() -> None:
    mapping = row("user mapping for x on server s", "user mapping", "123")
    expected = snapshot(columns(A), facts("pg_user_mapping", "umoptions", mapping))
    assert sentences(expected, snapshot(columns(A))) == []


def test_a_column_that_only_one_version_has_is_not_compared() -> None:
    mine = facts(
        "pg_constraint", "definition conenforced", ("c", "constraint", "kb", None, "x", "true")
    )
    theirs = facts("pg_constraint", "definition", ("c", "constraint", "kb", None, "x"))
    assert sentences(snapshot(mine), snapshot(theirs, version=15)) == []


def test_schemas_that_are_neither_managed_nor_built_are_named_and_are_no_drift() -> None:
    expected = snapshot(tables(T))
    actual = snapshot(tables(T, table("other.t"), table("public.t")))
    assert sentences(expected, actual) == []
    assert unmanaged_schemas(expected, actual, ["kb"]) == ("other", "public")


def test_a_schema_that_the_files_build_something_in_counts() -> None:
    expected = snapshot(tables(T, table("other.t")))
    actual = snapshot(tables(T, table("other.u")))
    assert sentences(expected, actual) == [
        "table other.t: missing in the database",
        "table other.u: in the database, not in the files",
    ]
    assert unmanaged_schemas(expected, actual, ["kb"]) == ()


def test_a_managed_public_is_as_good_as_any() -> None:
    expected, actual = snapshot(tables()), snapshot(tables(table("public.t")))
    assert sentences(expected, actual, "public") == [
        "table public.t: in the database, not in the files"
    ]


def test_what_belongs_to_the_whole_database_always_counts() -> None:
    publication = row("publication p", "publication")
    actual = snapshot(facts("pg_publication", "", publication))
    assert sentences(snapshot(facts("pg_publication", "")), actual) == [
        "publication p: in the database, not in the files"
    ]


@pytest.mark.parametrize("kind", ["setting", "large object"])
def test_operation_and_data_count_only_when_files_make_them(kind: str) -> None:
    some = snapshot(facts("pg_some", "value", row(f"{kind} x", kind, "1")))
    other = snapshot(facts("pg_some", "value", row(f"{kind} x", kind, "2")))
    none = snapshot(facts("pg_some", "value"))
    assert sentences(none, some) == []
    assert sentences(some, none) == [f"{kind} x: missing in the database"]
    assert sentences(some, other) == [f"{kind} x: value 1 -> 2"]


def test_changes_of_one_table_stand_together_and_the_table_comes_first() -> None:
    expected = snapshot(tables(table("kb.b"), table("kb.a")), columns(column("kb.a.x")))
    actual = snapshot(
        tables(table("kb.a", "b, a"), table("kb.b", "b, a")), columns(column("kb.b.x"))
    )
    assert sentences(expected, actual) == [
        "table kb.a: column order a, b -> b, a",
        "column kb.a.x: missing in the database",
        "table kb.b: column order a, b -> b, a",
        "column kb.b.x: in the database, not in the files",
    ]


def test_a_long_value_is_cut_down_to_where_it_differs() -> None:
    change = Change(
        object="function kb.f()",
        change=ChangeKind.CHANGED,
        attribute="source",
        before="begin " + "x := 1; " * 50 + "return 1; end",
        after="begin " + "x := 1; " * 50 + "return 2; end",
    )
    sentence = describe(change)
    assert "return 1;" in sentence
    assert "return 2;" in sentence
    assert len(sentence) < 200
    assert "\n" not in sentence


def test_texts_of_several_lines_are_drawn_line_by_line() -> None:
    change = Change(
        object="function kb.f()",
        change=ChangeKind.CHANGED,
        attribute="source",
        before="begin\n" + "  x := 1;\n" * 50 + "return 1;\nend",
        after="begin\n" + "  x := 1;\n" * 50 + "return 2;\nend",
    )
    assert describe(change) == "function kb.f(): source differs"
    drawn = [(line.text, line.style) for line in diff_lines(change)]
    assert drawn[0][0].startswith("@@ ")
    assert ("-return 1;", "red") in drawn
    assert ("+return 2;", "green") in drawn
    assert len(drawn) == 6


def test_the_comparison_imports_no_driver() -> None:
    folder = Path(str(diff_module.__file__)).parent
    for name in ("diff", "echoes", "catalog", "words"):
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        imported = {
            node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
        }
        assert not any(module.startswith("psycopg") for module in imported)
