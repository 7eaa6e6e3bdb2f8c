"""Every failure the product can tell a person about: what happened, where, and what to do next.

One class per exit code of the contract. They are raised anywhere and printed in one place, by `auditor.cli`.
A failure of one account is not among them: that is a value, `auditor.model.NotAudited`.
"""

from typing import ClassVar


class AuditorError(Exception):
    """Root of all failures; `what` happened, `where` (a path, key or account, may be empty), the `next_step`."""

    exit_code: ClassVar[int] = 4

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        """See the class."""
        super().__init__(what)
        self.what = what
        self.where = where
        self.next_step = next_step

    def __str__(self) -> str:
        """The whole paragraph in one line, as logs and tests want it."""
        parts = (f"{self.where}: {self.what}" if self.where else self.what, self.next_step)
        return " ".join(part for part in parts if part)

    def __reduce__(self) -> tuple[object, ...]:
        """Keyword arguments survive the way from a worker process."""
        return (_restore, (type(self), self.what, self.where, self.next_step))


def _restore(kind: type[AuditorError], what: str, where: str, next_step: str) -> AuditorError:
    return kind(what, where=where, next_step=next_step)


class UsageError(AuditorError):
    """The call or the configuration is wrong; nothing was called (exit code 2)."""

    exit_code: ClassVar[int] = 2


class NothingAuditedError(AuditorError):
    """Not one account could be audited, so there is nothing to report on (exit code 4)."""


class OutputError(AuditorError):
    """A run or a report could not be written or read back (exit code 4)."""


class ReportFormatError(AuditorError):
    """A credential report cannot be read; `where` names file, line and column. Makes one account "not audited"."""


class ApprovalError(AuditorError):
    """Nobody approved it, it is not what was approved, it is too late, or somebody else is at work with it (6)."""

    exit_code: ClassVar[int] = 6


class CapError(AuditorError):
    """More would be changed than may be; nothing was (exit code 7)."""

    exit_code: ClassVar[int] = 7


class PersonNeededError(AuditorError):
    """Somebody must look at it now (exit code 8)."""

    exit_code: ClassVar[int] = 8


class EvidenceError(AuditorError):
    """A bundle is not what it says, or not whole (exit code 9)."""

    exit_code: ClassVar[int] = 9
