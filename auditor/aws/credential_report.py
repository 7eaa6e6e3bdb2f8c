"""The account-wide credential report: ask for it, wait for it, fetch its bytes (AWS: "Generate credential reports")."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from auditor.aws.calls import Caller, request_id
from auditor.aws.failures import AwsFailure, Kind

POLL_BASE = 1.0
POLL_CAP = 20.0
REFUSAL_BASE = 5.0
REFUSAL_CAP = 60.0

BUSY = frozenset({Kind.THROTTLED, Kind.LIMIT, Kind.SERVICE})
"""What AWS answers when it will not make a report just now; in 2018 it did so for hours."""

READY = frozenset({"COMPLETE", "DENIED"})
"""After these there is nothing to wait for: the report is there, or it was never asked for."""

REMAKE = frozenset({Kind.REPORT_NOT_PRESENT, Kind.REPORT_EXPIRED})


@dataclass(frozen=True, slots=True)
class FetchedReport:
    """The report's bytes exactly as AWS sent them, and what came with them."""

    content: bytes
    generated_at: datetime
    received_at: datetime
    request_id: str | None
    states: tuple[str, ...]
    """What GenerateCredentialReport answered, in order."""


class ReportRefusedError(Exception):
    """AWS would not make a report within the time allowed; the text says what it answered last."""


async def fetch_credential_report(
    caller: Caller, *, wait_seconds: float, on_asked: Callable[[], None] = lambda: None
) -> FetchedReport:
    """Have the account's report made if need be, and fetch it.

    Where AWS has a report ready it is fetched at once.

    Args:
        caller: acts in the account; its clock, sleep and jitter are used.
        wait_seconds: how long AWS may take, or refuse, before the report is given up.
        on_asked: told when it was asked for, and there is only waiting and fetching left.

    Raises:
        ReportRefusedError: no report in time.
        AwsFailure: access denied, or a failure that waiting does not cure.
    """
    timing = caller.timing
    deadline = timing.monotonic() + wait_seconds
    states: list[str] = []
    last = "nothing yet"
    polls = refusals = 0
    must_ask = True
    denial: AwsFailure | None = None
    while True:
        try:
            if must_ask:
                state, denial = await _ask(caller)
                states.append(state)
                must_ask = False
                on_asked()
                if state not in READY:
                    await timing.sleep(timing.poll_delay(0, base=POLL_BASE, cap=POLL_CAP))
            return await _fetch(caller, tuple(states))
        except AwsFailure as failure:
            if denial is not None and failure.kind in REMAKE:
                raise _of_no_report(denial) from failure
            last = str(failure)
            if failure.kind is Kind.REPORT_IN_PROGRESS:
                polls += 1
                delay = timing.poll_delay(polls, base=POLL_BASE, cap=POLL_CAP)
            elif failure.kind in REMAKE or failure.kind in BUSY:
                must_ask = must_ask or failure.kind in REMAKE
                delay = timing.poll_delay(refusals, base=REFUSAL_BASE, cap=REFUSAL_CAP)
                refusals += 1
            else:
                raise
        if timing.monotonic() + delay > deadline:
            raise ReportRefusedError(last)
        await timing.sleep(delay)


async def _ask(caller: Caller) -> tuple[str, AwsFailure | None]:
    """STARTED, INPROGRESS or COMPLETE; or DENIED and by what, since a report that others had made may be there."""
    try:
        answer = await caller.call("iam", "generate_credential_report")
    except AwsFailure as failure:
        if failure.kind is Kind.DENIED and failure.operation == caller.operation("iam", "generate_credential_report"):
            return "DENIED", failure
        raise
    return str(answer.get("State", "UNKNOWN")), None


def _of_no_report(denial: AwsFailure) -> AwsFailure:
    """The denial, under the code that AWS gave: that there is no report is only why it matters."""
    said = denial.message.strip().rstrip(".")
    what = f"{said or 'denied'}; and nobody has had a report made that could be fetched"
    return AwsFailure(denial.kind, denial.operation, denial.code, what, denial.request_id, denial.answered_at)


async def _fetch(caller: Caller, states: tuple[str, ...]) -> FetchedReport:
    answer = await caller.call("iam", "get_credential_report")
    if "Content" not in answer or "GeneratedTime" not in answer:
        what = "the answer holds no report, or not when it was made"
        raise AwsFailure(Kind.UNREADABLE, "iam:GetCredentialReport", "UnreadableAnswer", what)
    return FetchedReport(
        content=bytes(answer["Content"]),
        generated_at=answer["GeneratedTime"].astimezone(UTC),
        received_at=caller.timing.now(),
        request_id=request_id(answer),
        states=states,
    )
