"""What is proved and measured: verify and lint."""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.checks.linting import lint, severity
    from headwater.checks.proof import verify

__all__ = ["lint", "severity", "verify"]

__getattr__ = exporting(__name__, lint="linting", severity="linting", verify="proof")
