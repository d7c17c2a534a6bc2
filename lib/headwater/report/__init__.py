"""The only code that prints: for people in a terminal, for logs, and as JSON."""

from typing import TYPE_CHECKING

from headwater.lazy import exporting

if TYPE_CHECKING:
    from headwater.report.formats import Place, folder_in_repository, format_of
    from headwater.report.judged import Onboarded
    from headwater.report.linting import show_linted, show_traced
    from headwater.report.live import progress, tell
    from headwater.report.programs import run_checks, run_tests
    from headwater.report.screen import say, show, show_fact, show_target

__all__ = [
    "Onboarded",
    "Place",
    "folder_in_repository",
    "format_of",
    "progress",
    "run_checks",
    "run_tests",
    "say",
    "show",
    "show_fact",
    "show_linted",
    "show_target",
    "show_traced",
    "tell",
]

__getattr__ = exporting(
    __name__,
    Onboarded="judged",
    Place="formats",
    folder_in_repository="formats",
    format_of="formats",
    run_checks="programs",
    run_tests="programs",
    progress="live",
    say="screen",
    show="screen",
    show_fact="screen",
    show_linted="linting",
    show_target="screen",
    show_traced="linting",
    tell="live",
)
