"""Statements that hold up a live table, each with its safe sequence.

`treat` looks at one statement of a pending file, and gives what becomes of it, or why it cannot be
helped. What else stands in the file is no matter here (`fixing_order` asks that).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from headwater.checks.fixing_known import (
    Known,
    commands_of,
    enum_name,
    is_serial,
    named,
    strings,
    words_of,
)
from headwater.checks.fixing_names import chosen_name, columns_of_check
from headwater.checks.fixing_parts import (
    CannotFix,
    Edit,
    Phase,
    Piece,
    Sort,
    Treatment,
    list_text,
    relation_text,
    spliced,
    words_like,
)
from headwater.files.grammar import Script, Statement, Token, quoted
from headwater.files.locks import Named

# Where NOT NULL is a constraint that can be NOT VALID.
NOT_NULL_NOT_VALID = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One statement, with what is known before it."""

    script: Script
    statement: Statement
    known: Known
    """What the files before have made, and the statements before."""
    made: Known
    """What this file has made: nobody else sees it yet."""
    version: int
    dropped: bool
    """Whether an index or a constraint was dropped in this file before."""

    def is_new(self, table: Named) -> bool:
        """Say whether a table was made by this very file."""
        return table in self.made.tables

    def makes_key_below(self) -> bool:
        """Say whether a statement below makes a unique index, or a key."""
        below = (s for s in self.script.statements if s.start > self.statement.start)
        return any(
            statement.node.unique if statement.kind == "index_stmt" else _adds_key(statement)
            for statement in below
        )

    def word(self, index: int, *words: str) -> Token:
        """Give the token behind which something is to stand; refuse what reads otherwise."""
        tokens = self.script.tokens_of(self.statement)
        if index >= len(tokens) or not tokens[index].is_word(*words):
            raise CannotFix("its text is not of the form that is known")
        return tokens[index]


def _adds_key(statement: Statement) -> bool:
    return statement.kind == "alter_table_stmt" and any(
        kind == "AT_AddConstraint"
        and enum_name(definition.constraint, "contype") in ("CONSTR_UNIQUE", "CONSTR_PRIMARY")
        for kind, _, definition in commands_of(statement.node)
    )


def treat(case: Case) -> Treatment | None:
    """Say what becomes of a statement; None where nothing is wrong with it.

    Raises CannotFix where something is, and nothing can be done about it.
    """
    judge = _JUDGES.get(case.statement.kind)
    return judge(case) if judge else None


def _cased(token: Token, text: str) -> str:
    return text.upper() if token.text.isupper() else text


# --- indexes ----------------------------------------------------------------------------------

_PARTITIONED = "{} is partitioned: build the index of each partition CONCURRENTLY, then attach them"


def _create_index(case: Case) -> Treatment | None:
    node, statement = case.statement.node, case.statement
    table = named(node.relation)
    if node.concurrent or case.is_new(table) or not node.relation.inh:
        return None
    if table in case.known.partitioned:
        raise CannotFix(_PARTITIONED.format(relation_text(table)))
    _require_no_drop(case, unique=node.unique)
    keyword = case.word(2 if node.unique else 1, "index")
    edits = [Edit(start=keyword.end, end=keyword.end, text=_cased(keyword, " concurrently"))]
    if node.if_not_exists:
        position = 3 if node.unique else 2
        behind = case.word(position + 2, "exists")
        edits[0] = Edit(start=keyword.end, end=behind.end, text=edits[0].text)
    whole = Named(table.schema, node.idxname)
    undo = f"drop index concurrently {relation_text(whole)}" if node.idxname else ""
    return Treatment(
        statement=statement,
        sorts=frozenset({Sort.UNIQUE if node.unique else Sort.INDEX}),
        leaves=True,
        pieces=(Piece(phase=Phase.OUTSIDE, sql=_statement_with(case, edits), undo=undo),),
        tables=frozenset({table}),
        names=frozenset({node.idxname} - {""}),
        keys=_keys_of_index(table, node),
    )


def _keys_of_index(table: Named, node: Any) -> tuple[tuple[Named, tuple[str, ...], bool], ...]:
    names = tuple(item.index_elem.name for item in node.index_params)
    return ((table, names, False),) if node.unique else ()


def _statement_with(case: Case, edits: Sequence[Edit]) -> str:
    statement = case.statement
    end = statement.start + len(statement.text)
    return spliced(case.script.text, edits, statement.start, end)


def _require_no_drop(case: Case, *, unique: bool) -> None:
    if unique and case.dropped:
        raise CannotFix(_INSTEAD)


_INSTEAD = (
    "the file drops an index or a constraint, and makes a unique one: outside a transaction there "
    "would be a time with neither; make the new one in a migration before"
)


def _drop_index(case: Case) -> Treatment | None:
    node = case.statement.node
    if enum_name(node, "remove_type") != "OBJECT_INDEX" or node.concurrent:
        return None
    whole = [words_of(one) for one in node.objects]
    if all(words[-1] in case.made.indexes for words in whole):
        return None
    for words in whole:
        if case.known.indexes.get(words[-1]) in case.known.partitioned:
            raise CannotFix("an index of a partitioned table cannot be dropped CONCURRENTLY")
    if enum_name(node, "behavior") == "DROP_CASCADE":
        raise CannotFix("DROP INDEX … CASCADE has no CONCURRENTLY: drop what depends on it first")
    if case.makes_key_below():
        raise CannotFix(_INSTEAD)
    said = words_like(case.statement)
    begin = said("drop index concurrently" + " if exists" * node.missing_ok)
    _require_no_comment(case, case.statement.start, case.statement.end)
    return Treatment(
        statement=case.statement,
        sorts=frozenset({Sort.DROP_INDEX}),
        leaves=True,
        pieces=tuple(
            Piece(phase=Phase.OUTSIDE, sql=f"{begin} {'.'.join(map(quoted, words))}")
            for words in whole
        ),
        tables=None,
        names=frozenset(words[-1] for words in whole),
    )


def _require_no_comment(case: Case, start: int, end: int) -> None:
    """Refuse to write anew what holds a comment: it would be lost."""
    if any(start <= comment.start < end for comment in case.script.comments):
        raise CannotFix("a comment stands inside of it: put it above the statement")


def _reindex(case: Case) -> Treatment | None:
    node = case.statement.node
    kind = enum_name(node, "kind").removeprefix("REINDEX_OBJECT_").lower()
    tokens = case.script.tokens_of(case.statement)
    concurrent = any(token.is_word("concurrently") for token in tokens)
    table = named(node.relation)
    if kind not in ("table", "index") or concurrent or case.is_new(table):
        return None
    if table.name in case.made.indexes:
        return None
    keyword = next(token for token in tokens if token.is_word(kind))
    edit = Edit(start=keyword.end, end=keyword.end, text=_cased(keyword, " concurrently"))
    return Treatment(
        statement=case.statement,
        sorts=frozenset({Sort.REINDEX}),
        leaves=True,
        pieces=(Piece(phase=Phase.OUTSIDE, sql=_statement_with(case, [edit])),),
        tables=frozenset({table}) if kind == "table" else None,
        names=frozenset({table.name}),
    )


def _refresh(case: Case) -> Treatment | None:
    node = case.statement.node
    view = named(node.relation)
    if node.concurrent or node.skip_data or case.is_new(view):
        return None
    if view in case.known.empty:
        raise CannotFix("it holds nothing yet, and CONCURRENTLY cannot fill it the first time")
    if view not in case.known.refreshable:
        raise CannotFix(
            "CONCURRENTLY needs a unique index on columns of the view, over all its rows, and no "
            "file is known to make one"
        )
    keyword = case.word(2, "view")
    edit = Edit(start=keyword.end, end=keyword.end, text=_cased(keyword, " concurrently"))
    return Treatment(statement=case.statement, sorts=frozenset({Sort.REINDEX}), edits=(edit,))


# --- ALTER TABLE, command by command ----------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Segment:
    """One command of an ALTER TABLE, and what becomes of it."""

    kind: str
    command: Any
    definition: Any
    tokens: Sequence[Token]
    edits: list[Edit] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    gone: bool = False
    sort: Sort = Sort.VALIDATE
    names: set[str] = field(default_factory=set)
    keys: list[tuple[Named, tuple[str, ...], bool]] = field(default_factory=list)
    also: set[Named] = field(default_factory=set)

    @property
    def start(self) -> int:
        return self.tokens[0].start

    @property
    def end(self) -> int:
        return self.tokens[-1].end

    @property
    def changed(self) -> bool:
        return bool(self.edits or self.pieces or self.gone)

    def token_at(self, location: int) -> int:
        """Give the index of the token at a location of a node."""
        for index, token in enumerate(self.tokens):
            if token.location == location:
                return index
        raise CannotFix("its text is not of the form that is known")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Altered:
    """An ALTER TABLE that is looked at command by command."""

    case: Case
    table: Named
    said: Callable[[str], str]
    taken: set[str]
    """Names that it gives to constraints."""

    @property
    def begin(self) -> str:
        """Give `alter table NAME`, as the statement has it."""
        node = self.case.statement.node
        words = "alter table" + " if exists" * node.missing_ok + " only" * (not node.relation.inh)
        return f"{self.said(words)} {relation_text(self.table)}"

    def name(self, columns: Sequence[str] | None, label: str) -> str:
        """Give the name that PostgreSQL would choose."""
        name = ""
        if columns is not None:
            name = chosen_name(self.table.name, columns, label, self.taken)
        if not name:
            raise CannotFix("it has no name, and which PostgreSQL would choose is not sure")
        self.taken.add(name)
        return name

    def has(self, kind: str) -> bool:
        """Say whether the statement has a command of a kind."""
        return any(kind == other for other, _, _ in commands_of(self.case.statement.node))

    def adds_primary_key(self) -> bool:
        """Say whether the statement adds a primary key."""
        return any(
            enum_name(definition.constraint, "contype") == "CONSTR_PRIMARY"
            for _, _, definition in commands_of(self.case.statement.node)
        )

    def validate(self, name: str, undo: str = "") -> Piece:
        """Give VALIDATE CONSTRAINT."""
        sql = f"{self.begin} {self.said('validate constraint')} {quoted(name)}"
        return Piece(phase=Phase.VALIDATE, sql=sql, undo=undo)

    def add(self, text: str) -> str:
        """Give ALTER TABLE … ADD."""
        return f"{self.begin} {self.said('add')} {text}"

    def drop(self, name: str) -> str:
        """Give ALTER TABLE … DROP CONSTRAINT."""
        return f"{self.begin} {self.said('drop constraint')} {quoted(name)}"


def _alter_table(case: Case) -> Treatment | None:
    node = case.statement.node
    table = named(node.relation)
    if enum_name(node, "objtype") != "OBJECT_TABLE" or case.is_new(table):
        return None
    kinds = [kind for kind, _, _ in commands_of(node)]
    if not _COMMANDS.keys() & set(kinds):
        return None
    segments = _segments(case)
    altered = _Altered(case=case, table=table, said=words_like(case.statement), taken=set())
    for segment in segments:
        if judge := _COMMANDS.get(segment.kind):
            judge(altered, segment)
    if not any(segment.changed for segment in segments):
        return None
    return _treatment(altered, segments)


def _segments(case: Case) -> list[_Segment]:
    """Split the text of an ALTER TABLE at the commas between its commands."""
    commands = list(commands_of(case.statement.node))
    parts = list(_between_commas(_behind_name(case.script.tokens_of(case.statement))))
    if len(parts) != len(commands) or not all(parts):
        raise CannotFix("its commands cannot be told apart")
    return [
        _Segment(kind=kind, command=command, definition=definition, tokens=tokens)
        for tokens, (kind, command, definition) in zip(parts, commands, strict=True)
    ]


def _behind_name(tokens: Sequence[Token]) -> Sequence[Token]:
    """Skip `alter table [if exists] [only] name [*]`."""
    at = 2
    if tokens[at].is_word("if"):
        at += 2
    if tokens[at].is_word("only"):
        at += 1
    if tokens[at].text == "(":
        raise CannotFix("its text is not of the form that is known")
    at += 1
    while tokens[at].text == ".":
        at += 2
    return tokens[at + 1 :] if tokens[at].text == "*" else tokens[at:]


def _between_commas(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    depth, begin = 0, 0
    for index, token in enumerate(tokens):
        depth += (token.text in ("(", "[")) - (token.text in (")", "]"))
        if token.text == "," and depth == 0:
            yield tokens[begin:index]
            begin = index + 1
    yield tokens[begin:]


def _treatment(altered: _Altered, segments: list[_Segment]) -> Treatment:
    case = altered.case
    changed = [segment for segment in segments if segment.changed]
    leaves = all(segment.gone for segment in segments)
    edits = list(_cuts(segments))
    for segment in segments:
        edits += [] if segment.gone else segment.edits
    spans = (
        [(case.statement.start, case.statement.end)]
        if leaves
        else [(edit.start, edit.end) for edit in edits]
    )
    for start, end in spans:
        _require_no_comment(case, start, end)
    return Treatment(
        statement=case.statement,
        sorts=frozenset(segment.sort for segment in changed),
        pieces=tuple(piece for segment in segments for piece in segment.pieces),
        edits=() if leaves else tuple(edits),
        leaves=leaves,
        tables=frozenset({altered.table}).union(*(segment.also for segment in changed)),
        names=frozenset().union(*(segment.names for segment in changed)),
        keys=tuple(key for segment in changed for key in segment.keys),
    )


def _cuts(segments: list[_Segment]) -> Iterator[Edit]:
    """Cut out the commands that are gone, each with one comma."""
    kept = [index for index, segment in enumerate(segments) if not segment.gone]
    if not kept:
        return
    for index, segment in enumerate(segments[: kept[-1]]):
        if segment.gone:
            yield Edit(start=segment.start, end=segments[index + 1].start)
    if kept[-1] + 1 < len(segments):
        yield Edit(start=segments[kept[-1]].end, end=segments[-1].end)


# --- constraints ------------------------------------------------------------------------------


def _add_constraint(altered: _Altered, segment: _Segment) -> None:
    constraint = segment.definition.constraint
    kind = enum_name(constraint, "contype")
    if kind == "CONSTR_EXCLUSION":
        raise CannotFix("an exclusion constraint cannot be added in steps; plan a quiet time")
    if kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY"):
        _add_key(altered, segment, constraint)
    elif kind in _LABELS and _is_checked(constraint, kind):
        _add_not_valid(altered, segment, constraint)


def _is_checked(constraint: Any, kind: str) -> bool:
    """Say whether every row is looked at; only NOT NULL is enforced without saying so."""
    enforced = constraint.is_enforced or kind == "CONSTR_NOTNULL"
    return enforced and not constraint.skip_validation


_LABELS = {"CONSTR_CHECK": "check", "CONSTR_FOREIGN": "fkey", "CONSTR_NOTNULL": "not_null"}


def _add_not_valid(altered: _Altered, segment: _Segment, constraint: Any) -> None:
    """Let ADD CONSTRAINT be NOT VALID, and read the rows behind the file."""
    kind = enum_name(constraint, "contype")
    name, said = constraint.conname, altered.said
    if kind == "CONSTR_FOREIGN":
        _require_foreign_key(altered)
        segment.also.add(named(constraint.pktable))
    elif kind == "CONSTR_NOTNULL" and altered.case.known.is_required(
        altered.table, strings(constraint.keys)[0]
    ):
        return
    segment.edits.append(_behind(segment, said(" not valid")))
    if not name:
        name = altered.name(_columns_of(altered.table, constraint), _LABELS[kind])
        begin = segment.tokens[segment.token_at(constraint.location)].start
        text = f"{said('constraint')} {quoted(name)} "
        segment.edits.append(Edit(start=begin, end=begin, text=text))
    added = spliced(altered.case.script.text, segment.edits, segment.start, segment.end)
    undo = f"{altered.drop(name)}, {added}"
    segment.pieces.append(altered.validate(name, undo))
    segment.names.add(name)
    segment.sort = Sort.REQUIRED if kind == "CONSTR_NOTNULL" else Sort.VALIDATE


def _behind(segment: _Segment, text: str) -> Edit:
    return Edit(start=segment.end, end=segment.end, text=text)


def _require_foreign_key(altered: _Altered) -> None:
    known = altered.case.known.partitioned
    if altered.table in known and altered.case.version < NOT_NULL_NOT_VALID:
        raise CannotFix(
            "a foreign key of a partitioned table cannot be NOT VALID before PostgreSQL 18"
        )


def _columns_of(table: Named, constraint: Any) -> tuple[str, ...] | None:
    """Give the columns that are part of the name that PostgreSQL chooses."""
    kind = enum_name(constraint, "contype")
    if kind == "CONSTR_CHECK":
        return columns_of_check(constraint.raw_expr, table.name)
    return strings(constraint.fk_attrs if kind == "CONSTR_FOREIGN" else constraint.keys)


def _add_key(altered: _Altered, segment: _Segment, constraint: Any) -> None:
    """Build the index of a key CONCURRENTLY, then make it the key."""
    if constraint.indexname:
        return
    columns = strings(constraint.keys)
    primary = enum_name(constraint, "contype") == "CONSTR_PRIMARY"
    _require_key(altered, constraint, columns if primary else ())
    named_by = () if primary else (*columns, *strings(constraint.including))
    name = constraint.conname or altered.name(named_by, "pkey" if primary else "key")
    segment.pieces += _key_in_steps(altered, constraint, name, columns)
    segment.gone = True
    segment.sort = Sort.UNIQUE
    segment.names.add(name)
    segment.keys.append((altered.table, columns, primary))


def _require_key(altered: _Altered, constraint: Any, required: Sequence[str]) -> None:
    case, table = altered.case, altered.table
    if table in case.known.partitioned:
        raise CannotFix(_PARTITIONED.format(relation_text(table)))
    if case.statement.node.missing_ok:
        raise CannotFix("ALTER TABLE IF EXISTS: there is no CREATE INDEX that does as much")
    _require_no_drop(case, unique=True)
    if altered.has("AT_DropConstraint"):
        raise CannotFix(_INSTEAD)
    if constraint.options or constraint.indexspace or constraint.without_overlaps:
        raise CannotFix("the options of its index are for you to write: CREATE UNIQUE INDEX …")
    promised = case.made.promised
    nullable = [
        name
        for name in required
        if (table, name) in promised or not case.known.is_required(table, name)
    ]
    if nullable:
        raise CannotFix(
            f"{', '.join(nullable)} may be null, and the key would read every row to see that: "
            "a migration before this one has to SET NOT NULL"
        )


def _key_in_steps(
    altered: _Altered, constraint: Any, name: str, columns: Sequence[str]
) -> list[Piece]:
    said, primary = altered.said, enum_name(constraint, "contype") == "CONSTR_PRIMARY"
    index = f"{said('create unique index concurrently')} {quoted(name)} {said('on')} "
    index += f"{relation_text(altered.table)} {list_text(columns)}"
    if constraint.including:
        index += f" {said('include')} {list_text(strings(constraint.including))}"
    if constraint.nulls_not_distinct:
        index += f" {said('nulls not distinct')}"
    kind = said("primary key using index" if primary else "unique using index")
    key = f"{said('constraint')} {quoted(name)} {kind} {quoted(name)}"
    key += said(" deferrable" * constraint.deferrable)
    key += said(" initially deferred" * constraint.initdeferred)
    return [
        Piece(phase=Phase.OUTSIDE, sql=index),
        Piece(phase=Phase.BEHIND, sql=altered.add(key)),
    ]


_REQUIRED_FIRST = (
    "a key or an identity needs it to be proved before: set it in a migration before this one"
)


def _set_not_null(altered: _Altered, segment: _Segment) -> None:
    column = str(segment.command.name)
    if altered.case.known.is_required(altered.table, column):
        return
    if altered.has("AT_AddIdentity") or altered.adds_primary_key():
        raise CannotFix(_REQUIRED_FIRST)
    valid = altered.case.version < NOT_NULL_NOT_VALID
    # The check goes again: another name than that of the constraint which a newer server makes,
    # where the proof may be built.
    name = altered.name((column,), "not_null_check" if valid else "not_null")
    said, constraint = altered.said, f"{altered.said('constraint')} {quoted(name)}"
    what = (
        f"{said('check')} ({quoted(column)} {said('is not null')})"
        if valid
        else f"{said('not null')} {quoted(column)}"
    )
    added = f"{said('add')} {constraint} {what} {said('not valid')}"
    segment.edits.append(Edit(start=segment.start, end=segment.end, text=added))
    segment.names.add(name)
    segment.sort = Sort.REQUIRED
    if not valid:
        segment.pieces.append(altered.validate(name, f"{altered.drop(name)}, {added}"))
        return
    column_text = f"{altered.begin} {said('alter column')} {quoted(column)}"
    segment.pieces += [
        altered.validate(name),
        Piece(phase=Phase.VALIDATE, sql=f"{column_text} {said('set not null')}"),
        Piece(phase=Phase.VALIDATE, sql=altered.drop(name)),
    ]


def _validate(altered: _Altered, segment: _Segment) -> None:
    name = str(segment.command.name)
    if (altered.table, name) not in altered.case.made.not_valid:
        return
    segment.gone = True
    segment.pieces.append(altered.validate(name))
    segment.names.add(name)


# --- columns ----------------------------------------------------------------------------------

# Functions of PostgreSQL that are volatile and stand in defaults; others are not known by text.
_VOLATILE = frozenset(
    {
        "clock_timestamp",
        "gen_random_uuid",
        "nextval",
        "random",
        "timeofday",
        "uuid_generate_v1",
        "uuid_generate_v1mc",
        "uuid_generate_v4",
        "uuidv4",
        "uuidv7",
    }
)


def _add_column(altered: _Altered, segment: _Segment) -> None:
    column = segment.definition.column_def
    if reason := _rewrites(column):
        raise CannotFix(f"every row is written anew: {reason}")
    for item in column.constraints:
        constraint = item.constraint
        kind = enum_name(constraint, "contype")
        if kind == "CONSTR_CHECK" and constraint.is_enforced:
            _check_apart(altered, segment, constraint)
        elif kind in ("CONSTR_UNIQUE", "CONSTR_PRIMARY"):
            raise CannotFix(
                "a column that comes with its key has its index built on the spot: add the column, "
                "and the key in a migration behind it"
            )


def _rewrites(column: Any) -> str:
    """Say why a new column has another value in every row, and what to do; empty if it has not."""
    kinds = {enum_name(item.constraint, "contype"): item.constraint for item in column.constraints}
    if is_serial(column) or "CONSTR_IDENTITY" in kinds:
        return (
            "the column takes its values from a sequence; add it without one, fill it in batches, "
            "and give it the sequence behind that"
        )
    generated = kinds.get("CONSTR_GENERATED")
    if generated is not None and generated.generated_kind != "v":
        return (
            "the column is generated and stored; add a plain one that a trigger keeps, and fill it "
            "in batches"
        )
    default = kinds.get("CONSTR_DEFAULT")
    called = _functions(default.raw_expr) if default is not None else set[str]()
    if volatile := sorted(called & _VOLATILE):
        return (
            f"{volatile[0]}() is asked for each; add the column without it, then SET DEFAULT, and "
            "fill the rows that are there in batches"
        )
    return ""


def _functions(message: Any) -> set[str]:
    found, stack = set[str](), [message]
    while stack:
        one = stack.pop()
        if one.DESCRIPTOR.name == "FuncCall":
            found.add(one.funcname[-1].string.sval)
        for descriptor, value in one.ListFields():
            if descriptor.message_type is not None:
                stack += value if hasattr(value, "__len__") else [value]
    return found


def _check_apart(altered: _Altered, segment: _Segment, constraint: Any) -> None:
    """Take CHECK (…) out of a new column, and add it NOT VALID beside the column."""
    first = segment.token_at(constraint.location)
    last = _end_of_check(segment.tokens, first)
    tokens = segment.tokens
    text = altered.case.script.text[tokens[first].start : tokens[last].end]
    name = constraint.conname
    if not name:
        name = altered.name(_columns_of(altered.table, constraint), "check")
        text = f"{altered.said('constraint')} {quoted(name)} {text}"
    added = f"{altered.said('add')} {text} {altered.said('not valid')}"
    segment.edits += [
        Edit(start=tokens[first - 1].end, end=tokens[last].end),
        _behind(segment, f", {added}"),
    ]
    segment.pieces.append(altered.validate(name, f"{altered.drop(name)}, {added}"))
    segment.names.add(name)


def _end_of_check(tokens: Sequence[Token], first: int) -> int:
    depth = 0
    for index in range(first, len(tokens)):
        depth += (tokens[index].text == "(") - (tokens[index].text == ")")
        if tokens[index].text == ")" and depth == 0:
            behind = [token.text.lower() for token in tokens[index + 1 : index + 3]]
            return index + 2 if behind == ["no", "inherit"] else index
    raise CannotFix("its text is not of the form that is known")


def _detach(altered: _Altered, segment: _Segment) -> None:
    """Detach CONCURRENTLY, and drop the check that this leaves on the partition."""
    command = segment.definition.partition_cmd
    if command.concurrent:
        return
    known, parent, partition = altered.case.known, altered.table, named(command.name)
    column = known.partitioned.get(parent, "")
    if not column:
        raise CannotFix(
            "CONCURRENTLY leaves a check constraint on the partition, and by which name is not sure"
        )
    if parent in known.with_default:
        raise CannotFix("CONCURRENTLY does not go with a default partition")
    if altered.case.statement.node.missing_ok:
        raise CannotFix("ALTER TABLE IF EXISTS: the steps behind it would not know")
    said, check = altered.said, chosen_name(partition.name, (column,), "check", ())
    gone = f"{said('alter table')} {relation_text(partition)} {said('drop constraint')}"
    detached = f"{said('detach partition')} {relation_text(partition)} {said('concurrently')}"
    segment.gone = True
    segment.sort = Sort.DETACH
    segment.also.add(partition)
    segment.pieces += [
        Piece(phase=Phase.OUTSIDE, sql=f"{altered.begin} {detached}"),
        Piece(phase=Phase.BEHIND, sql=f"{gone} {quoted(check)}"),
    ]


_COMMANDS: dict[str, Callable[[_Altered, _Segment], None]] = {
    "AT_AddConstraint": _add_constraint,
    "AT_SetNotNull": _set_not_null,
    "AT_ValidateConstraint": _validate,
    "AT_AddColumn": _add_column,
    "AT_DetachPartition": _detach,
}

_JUDGES: dict[str, Callable[[Case], Treatment | None]] = {
    "index_stmt": _create_index,
    "drop_stmt": _drop_index,
    "reindex_stmt": _reindex,
    "refresh_mat_view_stmt": _refresh,
    "alter_table_stmt": _alter_table,
}
