"""Our own rules about the text of a file: one walk over its statements, DO blocks included.

Each statement is judged by its kind; only where a word in its text asks for it is its whole tree
walked. What squawk is told, and what it is not believed, is decided on the way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from headwater.checks.repeatable import not_repeatable
from headwater.checks.rules import own
from headwater.checks.rules.chosen import (
    BAN_ALTER_DOMAIN_WITH_ADD_CONSTRAINT,
    BAN_DROP_FUNCTION,
    BAN_DROP_VIEW,
    RENAMING_OBJECT,
    REQUIRE_CONCURRENT_INDEX_CREATION,
    REQUIRE_TABLE_SCHEMA,
)
from headwater.checks.text_file import Learnt, TextFile, is_temporary, named, named_by, written
from headwater.checks.textual_rights import RIGHTS, set_config, uses_of_values
from headwater.checks.textual_tables import TABLES, dropped
from headwater.files.accepted import Accepted
from headwater.files.grammar import Comment, Ends, Statement, parse_block, word_of
from headwater.files.locks import Named
from headwater.files.refusals import needs_no_transaction
from headwater.model import Finding

_JUDGES = {**TABLES, **RIGHTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What the tree says of one statement to whoever has read only its text (squawk)."""

    start: int
    end: int
    new: bool
    """True when all that it is about was made by the same file."""
    relation: str = ""
    """The one relation that it is about, if so."""
    silenced: frozenset[str] = frozenset()
    """The rules that squawk applies wrongly."""
    no_scan: frozenset[int] = frozenset()
    """Where a REFERENCES stands that is not looked up: of a column that is added empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One file as it was read: what was found, what squawk is to read, how its answer is read."""

    name: str
    text: str = field(repr=False)
    transactional: bool
    findings: tuple[Finding, ...]
    sent: str = field(repr=False)
    """The text for squawk: of a DO block only the SQL in it, at its place."""
    ignores: tuple[Comment, ...] = ()
    """The comments that speak to squawk."""
    parts: tuple[Part, ...] = field(default=(), repr=False)

    def part_at(self, position: int) -> Part | None:
        """Give the statement that a place, an offset in characters, is in."""
        index = bisect_right(self.parts, position, key=lambda part: part.start) - 1
        return self.parts[index] if index >= 0 else None


def read_text(accepted: Accepted, learnt: Learnt | None = None) -> Read:
    """Judge the text of one accepted file. `learnt` is carried from file to file, in order."""
    file = TextFile(accepted, learnt or Learnt())
    findings, seen, blocks = list[Finding](), list[_Seen](), list[tuple[Statement, ...]]()
    for statement in file.script.statements:
        inner = parse_block(file.script, statement) if statement.kind == "do_stmt" else ()
        blocks.append(inner)
        for one in (statement, *inner):
            names = _about(one)
            seen.append(_Seen(one, names, bool(names) and all(map(file.is_new, names))))
            findings += _judge(one, file, inside=one is not statement)
            _note_made(one, file)
    findings += file.pending.values()
    findings += _concurrently_not_alone(file)
    findings += not_repeatable(accepted)
    return Read(
        name=file.name,
        text=file.script.text,
        transactional=file.transactional,
        findings=tuple(findings),
        sent=_sent(file, blocks),
        ignores=_ignores(file),
        parts=_parts(seen, file),
    )


class _Seen(NamedTuple):
    """A statement, what it is about, and whether the same file made all of that before it."""

    statement: Statement
    names: list[Named]
    new: bool


def _judge(statement: Statement, file: TextFile, *, inside: bool) -> Iterator[Finding]:
    if statement.kind in (Ends.COMMIT, Ends.ROLLBACK):
        if file.transactional:
            yield file.found(own.COMMIT_IN_BLOCK, statement)
        return
    if inside and needs_no_transaction(statement):
        return  # PL/pgSQL refuses it, whatever else is to be said of it
    if judge := _JUDGES.get(statement.kind):
        yield from judge(statement, file)
    if statement.kind in _WITH_CALLS and "set_config" in statement.text.lower():
        yield from set_config(statement, file)
    if file.enum_values and any(value in statement.text for value in file.enum_values):
        yield from uses_of_values(statement, file)


_WITH_CALLS = ("select_stmt", "insert_stmt", "update_stmt", "create_table_as_stmt")


# --- what a file makes ------------------------------------------------------------------------


def _note_made(statement: Statement, file: TextFile) -> None:
    if judge := _MAKERS.get(statement.kind):
        judge(statement, file)


def _table_made(statement: Statement, file: TextFile) -> None:
    file.make(named(statement.node.relation))


def _query_made(statement: Statement, file: TextFile) -> None:
    file.make(named(statement.node.into.rel))


def _select_into(statement: Statement, file: TextFile) -> None:
    if statement.node.HasField("into_clause"):
        file.make(named(statement.node.into_clause.rel))


def _view_made(statement: Statement, file: TextFile) -> None:
    if not statement.node.replace:
        file.make(named(statement.node.view))


def _index_made(statement: Statement, file: TextFile) -> None:
    file.make(Named(statement.node.relation.schemaname, statement.node.idxname))


def _sequence_made(statement: Statement, file: TextFile) -> None:
    file.make(named(statement.node.sequence))


def _type_made(statement: Statement, file: TextFile) -> None:
    file.make(named_by(statement.node.type_name))


def _domain_made(statement: Statement, file: TextFile) -> None:
    file.make(named_by(statement.node.domainname))


def _composite_made(statement: Statement, file: TextFile) -> None:
    file.make(named(statement.node.typevar))


def _routine_made(statement: Statement, file: TextFile) -> None:
    if not statement.node.replace:
        file.make(named_by(statement.node.funcname))


def _renamed(statement: Statement, file: TextFile) -> None:
    """Follow a name: what is new stays new, and what is not makes its new name an old one."""
    node = statement.node
    if node.relation.relname and word_of(node, "rename_type") in _RELATIONS:
        _moved(file, named(node.relation), Named(node.relation.schemaname, node.newname))


def _moved_schema(statement: Statement, file: TextFile) -> None:
    node = statement.node
    if node.relation.relname:
        _moved(file, named(node.relation), Named(node.newschema, node.relation.relname))


def _moved(file: TextFile, old: Named, new: Named) -> None:
    was_new = file.is_new(old)
    file.forget(old)
    if was_new:
        file.make(new)
    else:
        file.forget(new)


_RELATIONS = (
    "OBJECT_TABLE",
    "OBJECT_VIEW",
    "OBJECT_MATVIEW",
    "OBJECT_INDEX",
    "OBJECT_SEQUENCE",
)
_MAKERS = {
    "create_stmt": _table_made,
    "create_foreign_table_stmt": lambda s, file: file.make(named(s.node.base_stmt.relation)),
    "create_table_as_stmt": _query_made,
    "select_stmt": _select_into,
    "view_stmt": _view_made,
    "index_stmt": _index_made,
    "create_seq_stmt": _sequence_made,
    "create_enum_stmt": _type_made,
    "create_range_stmt": _type_made,
    "create_domain_stmt": _domain_made,
    "composite_type_stmt": _composite_made,
    "create_function_stmt": _routine_made,
    "rename_stmt": _renamed,
    "alter_object_schema_stmt": _moved_schema,
}

# --- what squawk is told, and not believed ----------------------------------------------------


def _about(statement: Statement) -> list[Named]:
    """Give what a statement is about, as far as it can be new."""
    node = statement.node
    if statement.kind in ("alter_table_stmt", "index_stmt", "rename_stmt", "update_stmt"):
        temporary = is_temporary(node.relation)
        return [] if temporary or not node.relation.relname else [named(node.relation)]
    if statement.kind == "drop_stmt":
        return list(dropped(node))
    if statement.kind == "truncate_stmt":
        return [named(one.range_var) for one in node.relations]
    if statement.kind == "reindex_stmt" and node.relation.relname:
        return [named(node.relation)]
    return []


def _relation(one: _Seen) -> str:
    """Name the relation whose rows and locks a statement is about; '' for several, or none."""
    if len(one.names) != 1 or _drops(one.statement) not in ("", *_RELATIONS):
        return ""
    return written(one.names[0])


def _wrong_about(statement: Statement) -> frozenset[str]:
    """Give the rules of squawk that do not hold of a statement.

    An index ON ONLY a partitioned table is not built, and nobody asks for an index by name.
    """
    node = statement.node
    if statement.kind == "alter_domain_stmt" and getattr(node, "def").constraint.skip_validation:
        return frozenset({BAN_ALTER_DOMAIN_WITH_ADD_CONSTRAINT.id})
    if statement.kind == "index_stmt" and not node.relation.inh:
        return frozenset({REQUIRE_CONCURRENT_INDEX_CREATION.id})
    if statement.kind == "rename_stmt" and word_of(node, "rename_type") == "OBJECT_INDEX":
        return frozenset({RENAMING_OBJECT.id})
    return frozenset()


def _not_looked_up(statement: Statement, file: TextFile) -> Iterator[int]:
    """Find REFERENCES of columns without a default: PostgreSQL knows that there is no value."""
    for one in statement.node.cmds if statement.kind == "alter_table_stmt" else ():
        column = getattr(one.alter_table_cmd, "def").column_def
        kinds = {word_of(c.constraint, "contype"): c.constraint for c in column.constraints}
        if "CONSTR_FOREIGN" in kinds and not kinds.keys() & _GIVES_A_VALUE:
            yield file.position(statement, kinds["CONSTR_FOREIGN"].location)


_GIVES_A_VALUE = {"CONSTR_DEFAULT", "CONSTR_GENERATED", "CONSTR_IDENTITY"}


def _parts(seen: list[_Seen], file: TextFile) -> tuple[Part, ...]:
    """Give what the whole file has shown of each statement, in order of their places."""
    undone = _undone(seen, file)
    of_all = _NO_SCHEMA if any(_sets_path(one.statement) for one in seen) else _NONE
    parts = []
    for index, one in enumerate(seen):
        statement = one.statement
        silenced = of_all | file.silenced.get(statement.start, _NONE) | _wrong_about(statement)
        parts.append(
            Part(
                start=statement.start,
                end=statement.end,
                new=one.new,
                relation=_relation(one),
                silenced=silenced | _DROPS if index in undone else silenced,
                no_scan=frozenset(_not_looked_up(statement, file)),
            )
        )
    return tuple(sorted(parts, key=lambda part: part.start))


_NONE = frozenset[str]()
_NO_SCHEMA = frozenset({REQUIRE_TABLE_SCHEMA.id})


def _undone(seen: list[_Seen], file: TextFile) -> set[int]:
    """Give the numbers of the statements whose DROP nobody notices."""
    drops = [index for index, one in enumerate(seen) if one.statement.kind == "drop_stmt"]
    if not drops:
        return set()
    remade = _remade(seen) if file.transactional else {}
    drops_trigger = any(_drops(seen[index].statement) == "OBJECT_TRIGGER" for index in drops)
    return {
        index
        for index in drops
        if _made_again(seen[index], index, remade)
        or (drops_trigger and _looks_like_a_trigger(seen[index].statement))
    }


def _sets_path(statement: Statement) -> bool:
    return statement.kind == "variable_set_stmt" and statement.node.name == "search_path"


_DROPS = frozenset({BAN_DROP_VIEW.id, BAN_DROP_FUNCTION.id})


def _made_again(one: _Seen, index: int, remade: dict[Named, int]) -> bool:
    """Say whether all that a statement drops is made again behind it."""
    if _drops(one.statement) not in _REMADE or not one.names:
        return False
    return all(remade.get(name, -1) > index for name in one.names)


def _looks_like_a_trigger(statement: Statement) -> bool:
    """Say whether a DROP is of functions without arguments, as those of triggers are."""
    return _drops(statement) == "OBJECT_FUNCTION" and not any(
        one.object_with_args.objargs for one in statement.node.objects
    )


def _drops(statement: Statement) -> str:
    """Give the kind of what a statement drops; '' where it drops nothing."""
    return word_of(statement.node, "remove_type") if statement.kind == "drop_stmt" else ""


def _remade(seen: list[_Seen]) -> dict[Named, int]:
    """Give the views and functions that a file makes, with the last statement that makes each."""
    made = {}
    for index, one in enumerate(seen):
        statement = one.statement
        if statement.kind == "view_stmt":
            made[named(statement.node.view)] = index
        elif statement.kind == "create_table_as_stmt":
            made[named(statement.node.into.rel)] = index
        elif statement.kind == "create_function_stmt":
            made[named_by(statement.node.funcname)] = index
    return made


# What can be dropped and made again in one transaction, and nobody notices.
_REMADE = ("OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FUNCTION", "OBJECT_PROCEDURE", "OBJECT_ROUTINE")


def _sent(file: TextFile, blocks: list[tuple[Statement, ...]]) -> str:
    """Give the text for squawk, which does not look into blocks: only the SQL in them is left.

    Lines and columns stay what they are.
    """
    text = file.script.text
    if not any(blocks):
        return text
    letters = list(text)
    for block, inner in zip(file.script.statements, blocks, strict=True):
        if not inner:
            continue
        for index in range(block.start, block.end):
            if letters[index] not in "\r\n":
                letters[index] = " "
        for one in inner:
            if one.node is not None:
                _put_back(letters, one, text)
    return "".join(letters)


def _put_back(letters: list[str], statement: Statement, text: str) -> None:
    """Write a statement of a block where it stands; where INTO is blanked, lines stay lines."""
    for index, letter in enumerate(statement.text, statement.start):
        letters[index] = text[index] if text[index] in "\r\n" else letter
    letters[statement.end] = ";"


def _ignores(file: TextFile) -> tuple[Comment, ...]:
    if "squawk-ignore" not in file.script.text:
        return ()
    return tuple(one for one in file.script.comments if "squawk-ignore" in one.text)


# --- the file as a whole ----------------------------------------------------------------------


def _concurrently_not_alone(file: TextFile) -> Iterator[Finding]:
    """Find the first CONCURRENTLY of a file that does more; settings do not count."""
    if file.transactional:
        return
    does = [s for s in file.script.statements if s.kind != "variable_set_stmt"]
    concurrent = [s for s in does if "CONCURRENTLY" in needs_no_transaction(s)]
    if concurrent and len(does) > 1:
        yield file.found(own.CONCURRENTLY_NOT_ALONE, concurrent[0])
