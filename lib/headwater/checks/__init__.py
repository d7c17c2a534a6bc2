"""What is proved and measured: verify, lint, and claims about what is applied."""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.checks.blaming import bisect, blame
    from headwater.checks.fixing import fix
    from headwater.checks.foreseeing import foresee
    from headwater.checks.layers import lint_target, lint_text, select
    from headwater.checks.linting import severity
    from headwater.checks.proof import verify
    from headwater.checks.rules import RULES
    from headwater.checks.statistics_file import read_statistics, write_statistics
    from headwater.checks.takeover import baseline, repair

__all__ = [
    "RULES",
    "baseline",
    "bisect",
    "blame",
    "fix",
    "foresee",
    "lint_target",
    "lint_text",
    "read_statistics",
    "repair",
    "select",
    "severity",
    "verify",
    "write_statistics",
]

__getattr__ = exporting(
    __name__,
    RULES="rules",
    baseline="takeover",
    bisect="blaming",
    blame="blaming",
    fix="fixing",
    foresee="foreseeing",
    lint_target="layers",
    lint_text="layers",
    read_statistics="statistics_file",
    repair="takeover",
    select="layers",
    severity="linting",
    verify="proof",
    write_statistics="statistics_file",
)
