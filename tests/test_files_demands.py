"""What statements demand of rows: read from the parse tree."""

from __future__ import annotations

import pytest

from headwater.files.demands import (
    Becomes,
    Bound,
    Demand,
    Distinct,
    Holds,
    Known,
    NoNull,
    bound_of,
    check_of_domain,
    demands_of,
    demands_of_constraint,
    keys_of_partitioning,
)
from headwater.files.grammar import parse
from headwater.files.locks import Named

T = Named("app", "t")


def demanded(text: str) -> list[Demand]:
    return [demand for statement in parse(text).statements for demand in demands_of(statement)]


@pytest.mark.parametrize(
    "text",
    [
        "create table app.t (id bigint primary key, a int not null check (a > 0))",
        "create index on app.t (a)",
        "alter table app.t add unique using index i",
        "alter table app.t add exclude using gist (a with =)",
        "alter table app.t alter a set default 1, drop column b",
        "alter table app.t add foreign key (a, period b) references app.u (a, period b)",
        "alter table app.t add check (a > 0) not enforced",
        "alter foreign table app.t alter a set not null",
        "alter domain app.d drop not null",
        "update app.t set a = 1",
        "do $$ begin alter table app.t alter a set not null; end $$",
    ],
)
def test_a_statement_that_checks_no_rows_demands_nothing(text: str) -> None:
    assert demanded(text) == []


def test_each_part_of_a_statement_demands_its_own_in_order() -> None:
    text = (
        "alter table only app.t alter a set not null, add unique (a, b), add check (lower(c) > d)"
    )
    assert demanded(text) == [
        NoNull(table=T, columns=("a",), only=True, doing="SET NOT NULL"),
        Distinct(table=T, columns=("a", "b"), only=True, keys=('"a"', '"b"')),
        Holds(
            table=T,
            columns=("c", "d"),
            only=True,
            functions=(Named("", "lower"),),
            expression="lower(c) > d",
        ),
    ]


def test_names_are_quoted_whatever_they_hold() -> None:
    [demand] = demanded('alter table app.t add unique ("a""b); drop table x; --")')
    assert demand == Distinct(
        table=T, columns=('a"b); drop table x; --',), keys=('"a""b); drop table x; --"',)
    )


@pytest.mark.parametrize(
    ("using", "plain"),
    [
        ("", True),
        ("using a", True),
        ("using a::varchar(3)", True),
        ("using cast(a as varchar(3))", True),
        ("using a::varchar(4)", False),
        ("using b::varchar(3)", False),
        ("using trim(a)", False),
    ],
)
def test_a_cast_of_the_column_itself_is_plain(using: str, plain: bool) -> None:
    [demand] = demanded(f"alter table app.t alter a type varchar(3) {using}")
    assert isinstance(demand, Becomes)
    assert (demand.plain, demand.type, demand.base, demand.length) == (
        plain,
        "varchar(3)",
        "varchar",
        (3,),
    )


def test_an_array_has_no_length_of_its_own() -> None:
    [demand] = demanded("alter table app.t alter a type varchar(3)[]")
    assert isinstance(demand, Becomes)
    assert (demand.type, demand.base) == ("varchar(3)[]", "")


def test_definitions_of_the_catalogue_are_read() -> None:
    assert demands_of_constraint(
        T, "FOREIGN KEY (a) REFERENCES app.u(id) MATCH FULL NOT VALID"
    ) == (Known(table=T, columns=("a",), parent=Named("app", "u"), referenced=("id",), full=True),)
    assert check_of_domain("CHECK (app.f(VALUE) > 0) NOT VALID") == (
        "app.f(value) > 0",
        (Named("app", "f"),),
    )
    assert keys_of_partitioning('RANGE (a, lower(b) COLLATE "C")') == (
        '"a"',
        '(lower(b)) COLLATE "C"',
    )
    assert bound_of("FOR VALUES FROM ('1') TO (MAXVALUE, 3)") == Bound(
        strategy="r", lower=("'1'",), upper=("MAXVALUE", "3")
    )
    assert bound_of("DEFAULT").is_default
