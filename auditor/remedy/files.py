"""Plans and approvals as files."""

from collections.abc import Sequence
from itertools import count
from pathlib import Path

from auditor.errors import UsageError
from auditor.history.disk import write_whole
from auditor.remediation.approval import Approval, read_approval
from auditor.remediation.plan import Plan, read_plan


def load_plan(path: Path) -> Plan:
    """A plan file; UsageError where it cannot be read or is none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"It cannot be read ({error.strerror}).", where=str(path), next_step="Name a plan.") from error
    return read_plan(content, str(path))


def keep_approval(approval: Approval, plan_path: Path) -> Path:
    """Write an approval beside its plan, where `apply` and `tick` find it; raises OutputError."""
    paths = (plan_path.with_name(f"{plan_path.stem}.approval-{number}.json") for number in count(1))
    path = next(path for path in paths if not path.exists())
    return write_whole(path, approval.model_dump_json(by_alias=True, indent=2).encode())


def load_approvals(plan_path: Path, more: Sequence[Path] = ()) -> list[Approval]:
    """The approvals that lie beside a plan, and others."""
    found = sorted(plan_path.parent.glob(f"{plan_path.stem}.approval-*.json"))
    approvals = []
    for path in (*found, *more):
        try:
            approvals.append(read_approval(path.read_bytes(), str(path)))
        except OSError as error:
            step = "Name an approval's file."
            raise UsageError(f"It cannot be read ({error.strerror}).", where=str(path), next_step=step) from error
    return approvals
