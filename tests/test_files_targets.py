"""What a statement is about: its own relation, not those that it refers to."""

from __future__ import annotations

import pytest

from headwater.files.grammar import parse
from headwater.files.targets import Targets, targets_of

ABOUT = {
    "alter table a.t add foreign key (x) references a.u": {("a", "t")},
    'alter table "A".t add column c int': {("A", "t")},
    "alter table t add column c int": {("", "t")},
    "alter table a.p attach partition a.q default": {("a", "p"), ("a", "q")},
    "alter table a.p detach partition a.q": {("a", "p"), ("a", "q")},
    "alter view a.v rename to w": {("a", "v")},
    "create index on a.t (x)": {("a", "t")},
    "create table a.n (x int references a.u)": {("a", "n")},
    "create trigger z after insert on a.t execute function f()": {("a", "t")},
    "create policy p on a.t": {("a", "t")},
    "create view a.v as select from a.t": {("a", "v")},
    "drop table a.t, a.u cascade": {("a", "t"), ("a", "u")},
    "drop index a.i": {("a", "i")},
    "drop policy p on a.t": {("a", "t")},
    "drop trigger z on t": {("", "t")},
    "grant select on a.t, a.u to public": {("a", "t"), ("a", "u")},
    "insert into a.t select from a.u": {("a", "t")},
    "lock table a.t": {("a", "t")},
    "refresh materialized view a.m": {("a", "m")},
    "reindex table a.t": {("a", "t")},
    "truncate a.t, u": {("a", "t"), ("", "u")},
    "update a.t set x = 1 from a.u": {("a", "t")},
    "vacuum a.t": {("a", "t")},
}


@pytest.mark.parametrize("text", ABOUT)
def test_a_statement_is_about_its_own_relations(text: str) -> None:
    [statement] = parse(text).statements
    assert targets_of(statement) == Targets(names=frozenset(ABOUT[text]))


@pytest.mark.parametrize("text", ["do $$ begin end $$", "vacuum", "drop schema a", "select f()"])
def test_what_names_none_may_be_about_any(text: str) -> None:
    [statement] = parse(text).statements
    found = targets_of(statement)
    assert found.unknown or found.names


def test_a_name_without_a_schema_is_any_of_that_name() -> None:
    targets = Targets(names=frozenset({("a", "t"), ("", "u")}))
    assert targets.name("a", "t")
    assert not targets.name("b", "t")
    assert targets.name("anything", "u")
