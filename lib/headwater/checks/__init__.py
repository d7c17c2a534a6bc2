"""What is proved and measured: verify, lint, and claims about what is applied."""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.checks.blaming import bisect, blame
    from headwater.checks.fixing import fix
    from headwater.checks.linting import lint, severity
    from headwater.checks.proof import verify
    from headwater.checks.takeover import baseline, repair

__all__ = ["baseline", "bisect", "blame", "fix", "lint", "repair", "severity", "verify"]

__getattr__ = exporting(
    __name__,
    baseline="takeover",
    bisect="blaming",
    blame="blaming",
    fix="fixing",
    lint="linting",
    repair="takeover",
    severity="linting",
    verify="proof",
)
