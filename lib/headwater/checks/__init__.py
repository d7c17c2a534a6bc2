"""What is proved and measured: verify, lint, and claims about what is applied."""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.checks.blaming import bisect, blame
    from headwater.checks.folder import base_findings
    from headwater.checks.linting import lint, severity
    from headwater.checks.proof import verify
    from headwater.checks.takeover import baseline, repair

__all__ = ["base_findings", "baseline", "bisect", "blame", "lint", "repair", "severity", "verify"]

__getattr__ = exporting(
    __name__,
    base_findings="folder",
    baseline="takeover",
    bisect="blaming",
    blame="blaming",
    lint="linting",
    repair="takeover",
    severity="linting",
    verify="proof",
)
