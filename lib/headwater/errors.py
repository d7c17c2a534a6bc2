"""Everything that Headwater raises.

    HeadwaterError                  a sentence, the facts, one command to type; a code; an exit code
    ├── SettingsError          2    a setting is missing or wrong
    ├── FilesError             2    the folder of migrations cannot be used as it is
    │   └── HistoryError            files and history disagree
    ├── TargetError            2    the database cannot or must not be worked on
    │   ├── Unreachable             no connection
    │   ├── UnsafeTarget            not disposable, or the cascade would take too much
    │   └── PrivateServerError      the private server cannot be started
    ├── MigrationFailed        3    a statement failed; everything was rolled back
    ├── SeedFailed             3    a seed failed; all seeds of the run were rolled back
    ├── HalfDone               4    a no-transaction file stopped at a statement
    ├── LockBusy               5    somebody else holds the lock, or a lock that a file needs;
                                    what it tried was rolled back
    └── OutcomeUnknown         6    the connection was lost and the server cannot be asked, or a
                                    journal does not say whether its statement was done

Problems that can be listed are values (`headwater.model.Finding`), not exceptions. An exception
that is none of these is a bug of ours (exit code 70).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from headwater.model import Finding


class HeadwaterError(Exception):
    """A failure that is told to the user: what happened, the facts, what to type next.

    `message` is one sentence without a final dot; `detail` holds the facts, one a line; `hint`
    is one piece of advice, mostly a command. None of them ever holds a password.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, detail: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint


class SettingsError(HeadwaterError):
    """A setting is missing or wrong; `detail` lists all of them."""

    code = "settings"


class FilesError(HeadwaterError):
    """The folder of migrations cannot be used as it is; `findings` lists everything wrong."""

    code = "files"

    def __init__(
        self, message: str, *, findings: tuple[Finding, ...] = (), detail: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, detail=detail, hint=hint)
        self.findings = findings


class HistoryError(FilesError):
    """Files and history disagree; `findings` lists every disagreement."""

    code = "history"


class TargetError(HeadwaterError):
    """The database cannot, or must not, be worked on; nothing was touched."""

    code = "target"


class Unreachable(TargetError):
    """No connection to the server."""

    code = "unreachable"


class UnsafeTarget(TargetError):
    """What was asked would destroy something that Headwater cannot rebuild."""

    code = "unsafe-target"


class PrivateServerError(TargetError):
    """The private server of this checkout cannot be started or used."""

    code = "private-server"


class MigrationFailed(HeadwaterError):
    """A statement of a migration failed, and what the file had done was rolled back."""

    code = "migration-failed"
    exit_code = 3


class SeedFailed(HeadwaterError):
    """A seed failed, and what all seeds of the run had done was rolled back.

    `finding` says the same with its place apart, for who reports instead of ending. With `left` the
    seed had left the transaction by statements of its own: what it did may have stayed.
    """

    code = "seed-failed"
    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        finding: Finding,
        detail: str = "",
        hint: str = "",
        left: bool = False,
    ) -> None:
        super().__init__(message, detail=detail, hint=hint)
        self.finding = finding
        self.left = left


class HalfDone(HeadwaterError):
    """A no-transaction file stopped in the middle; `detail` says at which statement."""

    code = "half-done"
    exit_code = 4


class LockBusy(HeadwaterError):
    """Somebody else holds a lock for longer than we may wait; what was tried was rolled back.

    (The files before it in the same run stay applied.)
    """

    code = "lock-busy"
    exit_code = 5


class OutcomeUnknown(HeadwaterError):
    """Nobody knows what happened: look, before you run it again."""

    code = "outcome-unknown"
    exit_code = 6
