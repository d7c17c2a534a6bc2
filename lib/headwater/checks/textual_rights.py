"""What the text of a statement says about sessions, rights, secrets and enums."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from headwater.checks.rules import own
from headwater.checks.text_file import TextFile, named_by, written
from headwater.files.grammar import Statement, walk, word_of
from headwater.model import Finding, Severity

Judge = Callable[[Statement, TextFile], Iterator[Finding]]

# --- settings ---------------------------------------------------------------------------------


def _set(statement: Statement, file: TextFile) -> Iterator[Finding]:
    """Keep a SET unless the file resets it; so it yields nothing.

    Without a transaction there is no SET LOCAL.
    """
    node = statement.node
    name = str(node.name).lower()
    kind = word_of(node, "kind")
    if kind == "VAR_RESET_ALL":
        for about in [about for about in file.pending if about[0] == "setting"]:
            del file.pending[about]
    elif kind in ("VAR_RESET", "VAR_SET_DEFAULT"):
        file.pending.pop(("setting", name), None)
    elif not node.is_local and file.transactional:
        message = f"SET {name}: {own.SETTING_LEFT.why}"
        file.pending["setting", name] = file.found(own.SETTING_LEFT, statement, message=message)
    yield from ()


def set_config(statement: Statement, file: TextFile) -> Iterator[Finding]:
    """Find calls of `set_config(…, …, false)`, in whatever statement they are."""
    for name, node, _ in walk(statement.node):
        if name == "FuncCall" and _function(node) == "set_config" and len(node.args) == 3:
            constant = node.args[2].a_const
            if constant.HasField("boolval") and not constant.boolval.boolval and file.transactional:
                yield file.found(own.SETTING_LEFT, statement, at=node.location)


def _function(call: Any) -> str:
    return str(call.funcname[-1].string.sval)


# --- enums ------------------------------------------------------------------------------------


def _add_value(statement: Statement, file: TextFile) -> Iterator[Finding]:
    """Remember a value that is added to an enum of an earlier file."""
    node = statement.node
    enum = named_by(node.type_name)
    if node.new_val and not node.old_val and file.transactional and not file.is_new(enum):
        file.enum_values[node.new_val] = enum
    yield from ()


def uses_of_values(statement: Statement, file: TextFile) -> Iterator[Finding]:
    """Find constants that are values which the same transaction has added to an enum.

    Sure where the constant is cast to the enum; else it may be a text of the same letters.
    """
    cast = set[int]()
    constants = list[Any]()
    for name, node, _ in walk(statement.node):
        if name == "A_Const" and node.sval.sval in file.enum_values:
            constants.append(node)
        elif name == "TypeCast" and node.arg.a_const.sval.sval in file.enum_values:
            enum = file.enum_values[node.arg.a_const.sval.sval]
            if named_by(node.type_name.names).name == enum.name:
                cast.add(node.arg.a_const.location)
    for constant in sorted(constants, key=lambda node: int(node.location)):
        value = str(constant.sval.sval)
        sure = constant.location in cast
        where = "" if sure else f", if this is a value of {written(file.enum_values[value])}"
        yield file.found(
            own.ENUM_VALUE_USED,
            statement,
            at=constant.location,
            message=f"{value!r}: {own.ENUM_VALUE_USED.why.rstrip('.')}{where}.",
            severity=None if sure else Severity.WARNING,
        )


# --- rights -----------------------------------------------------------------------------------


def _grant(statement: Statement, file: TextFile) -> Iterator[Finding]:
    node = statement.node
    grant = node.action if statement.kind == "alter_default_privileges_stmt" else node
    for grantee in grant.grantees if grant.is_grant else ():
        if word_of(grantee.role_spec, "roletype") == "ROLESPEC_PUBLIC":
            at = grantee.role_spec.location
            yield file.found(own.GRANT_TO_PUBLIC, statement, at=at)


def _function_made(statement: Statement, file: TextFile) -> Iterator[Finding]:
    """Keep a SECURITY DEFINER without a path, unless ALTER FUNCTION gives it one below.

    A body in standard SQL is bound when it is made: no path is asked later.
    """
    node = statement.node
    definer = [
        one.def_elem
        for one in node.options
        if one.def_elem.defname == "security" and one.def_elem.arg.boolean.boolval
    ]
    if definer and not node.HasField("sql_body") and not _sets_path(node.options):
        at = definer[0].location
        file.pending["function", *named_by(node.funcname)] = file.found(
            own.SECURITY_DEFINER_SEARCH_PATH, statement, at=at
        )
    yield from ()


def _function_altered(statement: Statement, file: TextFile) -> Iterator[Finding]:
    if _sets_path(statement.node.actions):
        file.pending.pop(("function", *named_by(statement.node.func.objname)), None)
    yield from ()


def _sets_path(options: Any) -> bool:
    return any(
        one.def_elem.defname == "set"
        and one.def_elem.arg.variable_set_stmt.name.lower() == "search_path"
        for one in options
    )


def _policy(statement: Statement, file: TextFile) -> Iterator[Finding]:
    if "current_setting" not in statement.text.lower():
        return
    for part in (statement.node.qual, statement.node.with_check):
        for name, node, inside in walk(part):
            if name != "FuncCall" or _function(node) != "current_setting":
                continue
            if len(node.args) < 2 or not node.args[1].a_const.boolval.boolval:
                yield file.found(own.POLICY_SETTING_MISSING_OK, statement, at=node.location)
            if not inside:
                yield file.found(own.POLICY_SETTING_PER_ROW, statement, at=node.location)


# --- secrets ----------------------------------------------------------------------------------

_VERIFIER = "SCRAM-SHA-256$"
_IN_CONNINFO = re.compile(r"\bpassword\s*=|://[^/@\s]*:[^/@\s]+@", re.IGNORECASE)


def _secret(statement: Statement, file: TextFile) -> Iterator[Finding]:
    for one in statement.node.options:
        option = one.def_elem
        value = str(option.arg.string.sval)
        if option.defname == "password" and value and not value.startswith(_VERIFIER):
            at = option.location
            yield file.found(own.PASSWORD_LITERAL, statement, at=at, secret=True)


def _subscription(statement: Statement, file: TextFile) -> Iterator[Finding]:
    if _IN_CONNINFO.search(statement.node.conninfo):
        yield file.found(own.PASSWORD_LITERAL, statement, secret=True)


RIGHTS: dict[str, Judge] = {
    "variable_set_stmt": _set,
    "alter_enum_stmt": _add_value,
    "grant_stmt": _grant,
    "alter_default_privileges_stmt": _grant,
    "create_function_stmt": _function_made,
    "alter_function_stmt": _function_altered,
    "create_policy_stmt": _policy,
    "alter_policy_stmt": _policy,
    "create_role_stmt": _secret,
    "alter_role_stmt": _secret,
    "create_user_mapping_stmt": _secret,
    "alter_user_mapping_stmt": _secret,
    "create_subscription_stmt": _subscription,
    "alter_subscription_stmt": _subscription,
}
