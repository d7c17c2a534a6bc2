"""A draft of the migration that takes what the files build to what the database is.

Statements for the simple cases, and the changes for which somebody has to think. It is a draft: it
knows nothing of locks, of data, or of what depends on what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from headwater.postgres.connect import Connection
from headwater.schema.catalog import CatalogObject, Snapshot
from headwater.schema.pins import pin
from headwater.verdicts import Change, ChangeKind, Draft

_FUNCTIONS: Final = ("function", "procedure")
_DEFINITION: Final = "SELECT pg_catalog.pg_get_functiondef(pg_catalog.to_regprocedure(%s)::oid)"


def draft(
    changes: Sequence[Change], expected: Snapshot, actual: Snapshot, connection: Connection
) -> Draft:
    """Draft statements for changes; what is to go comes first, the last one of it first of all.

    `connection` is one to the target, which is asked for the definitions of functions.
    """
    drafter = _Drafter(
        expected=expected.objects,
        actual=actual.objects,
        functions=_definitions(connection, changes, actual),
    )
    gone = [change for change in changes if change.change is ChangeKind.MISSING]
    others = [change for change in changes if change.change is not ChangeKind.MISSING]
    statements, cannot = list[str](), list[Change]()
    for change in (*reversed(gone), *others):
        drafted = list(drafter.statements(change))
        statements += [each for each in drafted if each not in statements]
        if not drafted:
            cannot.append(change)
        elif change.change is ChangeKind.EXTRA:
            cannot += drafter.left_over(actual.objects[change.object])
    return Draft(statements=tuple(statements), cannot=tuple(cannot))


def _definitions(
    connection: Connection, changes: Sequence[Change], actual: Snapshot
) -> dict[str, str]:
    """Ask for the whole definition of each function that differs, under the pins of a snapshot."""
    found = dict[str, str]()
    with connection.transaction(force_rollback=True):
        pin(connection)
        for identity in {change.object for change in changes}:
            thing = actual.objects.get(identity)
            if thing is not None and thing.kind in _FUNCTIONS:
                try:
                    with connection.transaction():
                        row = connection.execute(_DEFINITION, (_name(thing),)).fetchone()
                except psycopg.Error:
                    continue
                if row and row[0]:
                    found[identity] = str(row[0]).rstrip()
    return found


def _name(thing: CatalogObject) -> str:
    """Give the name of an object, without its kind and the relation that it is on."""
    name = thing.identity.removeprefix(f"{thing.kind} ")
    return name.removesuffix(f" on {_relation(thing)}") if thing.parent else name


def _relation(thing: CatalogObject) -> str:
    """Give the relation that an object is a part of, as it is written in a statement."""
    for kind in ("foreign table ", "materialized view ", "table ", "view "):
        if thing.parent.startswith(kind):
            return thing.parent.removeprefix(kind)
    return ""


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drafter:
    """Both sides, by identity, and the definitions of functions of the database."""

    expected: Mapping[str, CatalogObject]
    actual: Mapping[str, CatalogObject]
    functions: Mapping[str, str]

    def statements(self, change: Change) -> Iterator[str]:
        """Give the statements for one change; none when it cannot be drafted."""
        if change.change is ChangeKind.MISSING:
            yield from self._drop(self.expected[change.object])
        elif change.change is ChangeKind.EXTRA:
            yield from self._create(self.actual[change.object])
        else:
            yield from self._change(change)

    def left_over(self, thing: CatalogObject) -> Iterator[Change]:
        """Give what the statements for a new object do not say of it."""
        said = ("options",) if thing.kind in ("index", "view", "materialized view") else ()
        for attribute in (*_LEFT_OVER, "owner", "compression"):
            value = thing.attributes.get(attribute)
            if value not in (None, "false", "<owner>", "default") and attribute not in said:
                yield _set(thing, attribute, value)
        if thing.attributes.get("storage") == "external":
            yield _set(thing, "storage", "external")
        if self._counts_otherwise(thing):
            yield _set(thing, "identity", "its sequence has options of its own")

    def _counts_otherwise(self, thing: CatalogObject) -> bool:
        """Say whether the sequence of an identity column has options of its own."""
        own = [each for each in self.actual.values() if each.parent == thing.identity]
        usual = {"start": "1", "increment": "1", "minimum": "1", "cache": "1", "cycle": "false"}
        return any(
            each.kind == "sequence" and each.attributes.get(name) != value
            for each in own
            for name, value in usual.items()
        )

    def _drop(self, thing: CatalogObject) -> Iterator[str]:
        name, relation = _name(thing), _relation(thing)
        match thing.kind:
            case "column" if relation:
                yield f"ALTER TABLE {relation} DROP COLUMN {_last(thing)};"
            case "constraint" if relation:
                yield f"ALTER TABLE {relation} DROP CONSTRAINT {name};"
            case "policy" | "trigger":
                yield f"DROP {thing.kind.upper()} {name} ON {relation};"
            case "index" | "view" | "materialized view" | "function" | "procedure":
                yield f"DROP {thing.kind.upper()} {name};"

    def _create(self, thing: CatalogObject) -> Iterator[str]:
        created = self._definition(thing)
        if created:
            yield created
            yield from self._notes(thing)
            for part in self.actual.values():
                if part.parent == thing.identity and part.kind in ("index", "trigger"):
                    yield from self._create(part)
            if thing.kind == "trigger":
                yield from self._trigger_state(thing)

    def _definition(self, thing: CatalogObject) -> str:
        """Give the statement that makes an object; nothing when there is none."""
        attributes = thing.attributes
        match thing.kind:
            case "column" | "constraint" | "policy" if _relation(thing):
                return self._part(thing)
            case "index" | "trigger":
                return f"{attributes['definition']};"
            case "view" | "materialized view" as kind:
                head = f"CREATE {kind.upper()} {_with_options(thing)}"
                return f"{head} AS\n{attributes['definition']}"
            case "function" | "procedure" if thing.identity in self.functions:
                return f"{self.functions[thing.identity]};"
        return ""

    def _part(self, thing: CatalogObject) -> str:
        if thing.kind == "column":
            return self._column(thing)
        if thing.kind == "policy":
            return self._policy(thing)
        return self._constraint(thing) if "definition" in thing.attributes else ""

    def _notes(self, thing: CatalogObject) -> Iterator[str]:
        """Give what stands beside a new object and its columns: comments, grants."""
        columns = (
            each
            for each in self.actual.values()
            if each.kind == "column" and each.parent == thing.identity
        )
        for each in (thing, *columns):
            if "comment" in each.attributes:
                yield from self._comment(each)
            if "grants" in each.attributes:
                yield from _granting(each, None, each.attributes["grants"])

    def _change(self, change: Change) -> Iterator[str]:
        thing = self.actual[change.object]
        match change.attribute:
            case "comment":
                yield from self._comment(thing)
            case "grants":
                yield from _granting(thing, change.before, change.after)
            case attribute:
                drafted = _CHANGES.get((thing.kind, attribute))
                if drafted:
                    yield from drafted(self, thing)

    def _comment(self, thing: CatalogObject) -> Iterator[str]:
        text = thing.attributes.get("comment")
        if thing.kind in _COMMENTED:
            value = "NULL" if text is None else _literal(text)
            on = f" ON {_relation(thing)}" if thing.kind in _ON_A_RELATION else ""
            yield f"COMMENT ON {thing.kind.upper()} {_name(thing)}{on} IS {value};"

    # --- columns ------------------------------------------------------------------------------

    def _column(self, thing: CatalogObject) -> str:
        attributes = thing.attributes
        default, generated = attributes.get("default"), attributes.get("generated", "never")
        if default and default.startswith("nextval("):
            return ""  # it needs a sequence, which belongs to it
        parts = [f"ALTER TABLE {_relation(thing)} ADD COLUMN {_last(thing)} {attributes['type']}"]
        if attributes.get("collation", '"default"') != '"default"':
            parts.append(f"COLLATE {attributes['collation']}")
        if generated != "never":
            parts.append(f"GENERATED ALWAYS AS ({default}) {generated.upper()}")
        elif attributes.get("identity", "no") != "no":
            parts.append(f"GENERATED {attributes['identity'].upper()} AS IDENTITY")
        elif default is not None:
            parts.append(f"DEFAULT {default}")
        if attributes["not null"] == "true":
            parts.append("NOT NULL")
        return " ".join(parts) + ";"

    def _default(self, thing: CatalogObject) -> Iterator[str]:
        if thing.attributes.get("generated", "never") == "never":
            default = thing.attributes.get("default")
            what = f"SET DEFAULT {default}" if default is not None else "DROP DEFAULT"
            yield f"ALTER TABLE {_relation(thing)} ALTER COLUMN {_last(thing)} {what};"

    def _not_null(self, thing: CatalogObject) -> Iterator[str]:
        what = "SET" if thing.attributes["not null"] == "true" else "DROP"
        yield f"ALTER TABLE {_relation(thing)} ALTER COLUMN {_last(thing)} {what} NOT NULL;"

    # --- constraints, policies, triggers ------------------------------------------------------

    def _constraint(self, thing: CatalogObject) -> str:
        definition = thing.attributes["definition"]
        return f"ALTER TABLE {_relation(thing)} ADD CONSTRAINT {_name(thing)} {definition};"

    def _policy(self, thing: CatalogObject) -> str:
        attributes = thing.attributes
        parts = [f"CREATE POLICY {_name(thing)} ON {_relation(thing)}"]
        if attributes["permissive"] == "false":
            parts.append("AS RESTRICTIVE")
        parts.append(f"FOR {attributes['command'].upper()} TO {attributes['roles']}")
        if "using" in attributes:
            parts.append(f"USING ({attributes['using']})")
        if "with check" in attributes:
            parts.append(f"WITH CHECK ({attributes['with check']})")
        return " ".join(parts) + ";"

    def _replaced(self, thing: CatalogObject) -> Iterator[str]:
        """Drop what the files build, and make what the database has."""
        yield from self._drop(self.expected[thing.identity])
        yield from self._create(thing)

    def _trigger_state(self, thing: CatalogObject) -> Iterator[str]:
        state = thing.attributes["enabled"]
        words = _TRIGGER_STATES.get(state)
        if words and not (state == "yes" and thing.identity not in self.expected):
            yield f"ALTER TABLE {_relation(thing)} {words} TRIGGER {_name(thing)};"

    # --- whole objects ------------------------------------------------------------------------

    def _view(self, thing: CatalogObject) -> Iterator[str]:
        definition, columns = thing.attributes["definition"], "column order"
        before = self.expected[thing.identity].attributes.get(columns, "")
        if not thing.attributes.get(columns, "").startswith(before):
            # PostgreSQL replaces no view by one that lacks a column.
            yield from self._replaced(thing)
            return
        yield f"CREATE OR REPLACE VIEW {_with_options(thing)} AS\n{definition}"

    def _function(self, thing: CatalogObject) -> Iterator[str]:
        if thing.identity in self.functions:
            yield f"{self.functions[thing.identity]};"

    def _row_security(self, thing: CatalogObject) -> Iterator[str]:
        what = "ENABLE" if thing.attributes["row security"] == "true" else "DISABLE"
        yield f"ALTER TABLE {_name(thing)} {what} ROW LEVEL SECURITY;"

    def _forced(self, thing: CatalogObject) -> Iterator[str]:
        what = "FORCE" if thing.attributes["row security forced"] == "true" else "NO FORCE"
        yield f"ALTER TABLE {_name(thing)} {what} ROW LEVEL SECURITY;"


_COMMENTED: Final = frozenset(
    {
        "column", "constraint", "domain", "foreign table", "function", "index", "materialized view",
        "policy", "procedure", "schema", "sequence", "table", "trigger", "type", "view",
    }
)  # fmt: skip
_ON_A_RELATION: Final = frozenset({"constraint", "policy", "trigger"})

# What a statement for a new object does not say: whoever drafts it must not lose it silently.
_LEFT_OVER: Final = (
    "options", "toast options", "statistics target", "security label", "depends on extension",
    "foreign options", "clustered on", "is the replica identity",
)  # fmt: skip
_TRIGGER_STATES: Final = {
    "yes": "ENABLE",
    "disabled": "DISABLE",
    "on a replica only": "ENABLE REPLICA",
    "always": "ENABLE ALWAYS",
}

_Drafted = Callable[[_Drafter, CatalogObject], Iterator[str]]

_CHANGES: Final[dict[tuple[str, str], _Drafted]] = {
    ("column", "default"): _Drafter._default,
    ("column", "not null"): _Drafter._not_null,
    ("constraint", "definition"): _Drafter._replaced,
    ("index", "definition"): _Drafter._replaced,
    ("materialized view", "definition"): _Drafter._replaced,
    ("policy", "command"): _Drafter._replaced,
    ("policy", "permissive"): _Drafter._replaced,
    ("policy", "roles"): _Drafter._replaced,
    ("policy", "using"): _Drafter._replaced,
    ("policy", "with check"): _Drafter._replaced,
    ("table", "row security"): _Drafter._row_security,
    ("table", "row security forced"): _Drafter._forced,
    ("trigger", "definition"): _Drafter._replaced,
    ("trigger", "enabled"): _Drafter._trigger_state,
    ("view", "definition"): _Drafter._view,
    **{
        (kind, attribute): _Drafter._function
        for kind in _FUNCTIONS
        for attribute in (
            "argument defaults", "body", "cost", "language", "leakproof", "parallel", "rows",
            "security definer", "settings", "source", "strict", "support function", "volatility",
        )
    },
}  # fmt: skip


def _set(thing: CatalogObject, attribute: str, value: str | None) -> Change:
    return Change(
        object=thing.identity, change=ChangeKind.CHANGED, attribute=attribute, after=value
    )


def _with_options(thing: CatalogObject) -> str:
    """Give the name of a view with its options, which its definition does not tell."""
    options = thing.attributes.get("options")
    return f"{_name(thing)} WITH ({options})" if options else _name(thing)


def _last(thing: CatalogObject) -> str:
    """Give the name of a column, which stands behind that of its relation."""
    return _name(thing).removeprefix(f"{_relation(thing)}.")


# --- grants -----------------------------------------------------------------------------------

_ON: Final = {
    "domain": "DOMAIN", "function": "FUNCTION", "materialized view": "TABLE",
    "procedure": "PROCEDURE", "schema": "SCHEMA", "sequence": "SEQUENCE", "table": "TABLE",
    "type": "TYPE", "view": "TABLE", "foreign table": "TABLE",
}  # fmt: skip
_OWNER: Final = "<owner>"
_AT_FIRST: Final = {
    "domain": {"PUBLIC": {"USAGE"}},
    "type": {"PUBLIC": {"USAGE"}},
    "function": {"PUBLIC": {"EXECUTE"}},
    "procedure": {"PUBLIC": {"EXECUTE"}},
}
_OPTION: Final = " with grant option"


def _granting(thing: CatalogObject, before: str | None, after: str | None) -> Iterator[str]:
    """Give what takes one list of grants to another, where both can be read."""
    mine, theirs = _held(thing, before), _held(thing, after)
    if mine is None or theirs is None or (thing.kind != "column" and thing.kind not in _ON):
        return
    for who in sorted(mine.keys() | theirs.keys()):
        role = "CURRENT_USER" if who == _OWNER else who
        had, has = mine.get(who, set()), theirs.get(who, set())
        for what in sorted(had - has):
            yield f"REVOKE {_on(thing, what.removesuffix(_OPTION))} FROM {role};"
        for what in sorted(has - had):
            option = " WITH GRANT OPTION" if what.endswith(_OPTION) else ""
            yield f"GRANT {_on(thing, what.removesuffix(_OPTION))} TO {role}{option};"


def _on(thing: CatalogObject, privilege: str) -> str:
    if thing.kind == "column":
        return f"{privilege} ({_last(thing)}) ON TABLE {_relation(thing)}"
    return f"{privilege} ON {_ON[thing.kind]} {_name(thing)}"


def _held(thing: CatalogObject, grants: str | None) -> dict[str, set[str]] | None:
    """Read a list of grants; None where it says who granted, or names could be misread."""
    at_first = _AT_FIRST.get(thing.kind, {})
    if grants is None:
        owner = {} if thing.kind == "column" else {_OWNER: {"ALL"}}
        return {**owner, **{who: set(what) for who, what in at_first.items()}}
    if '"' in grants:
        return None
    held = dict[str, set[str]]()
    for part in grants.split("; ") if grants != "nobody" else ():
        who, _, what = part.partition(": ")
        if " by " in who or not what:
            return None
        public = at_first.get(who, set()) if what == "ALL" else set()
        held[who] = set(public) or set(what.split(", "))
    return held
