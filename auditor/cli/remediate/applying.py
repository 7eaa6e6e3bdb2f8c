"""`auditor remediate apply|tick`: approved plans, carried out as far as they may be now."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli.options import ConfigPath, EndpointUrl, Json, Profile, Verbose
from auditor.cli.output import print_json, say, set_up_logging
from auditor.cli.remediate.shared import EXIT_PERSON, EXIT_WAITS, PlanFile, means_of, telling_aws, whose_turn
from auditor.errors import UsageError
from auditor.secret import forbid_dumps

if TYPE_CHECKING:
    from auditor.remediation.engine import Outcome
    from auditor.remediation.news import Notice
    from auditor.remediation.plan import Item, Plan
    from auditor.remedy.means import Means


def apply(
    plan: PlanFile,
    approval: Annotated[
        list[Path] | None, typer.Option("--approval", help="An approval that is not beside the plan.")
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Tell what would be done; nothing is changed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="On a terminal: do not ask again.")] = False,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Do what an approved plan says, as far as it may be done now; `tick` goes on with it day by day.

    Every key is read again right before it is changed. What is not any more as the plan saw it is left alone. On a
    terminal you are asked to type which account, and how many keys. With --simulate nothing needs to be approved yet:
    the same is decided, through a client that can only read.

    Exit codes: 0 done, 5 some items wait or were refused, 6 not approved, changed, expired or claimed, 7 beyond a cap,
    8 a person is needed.
    """
    set_up_logging(verbose)
    from auditor.remedy.asking import answers_to
    from auditor.remedy.carrying_out import claim
    from auditor.remedy.files import load_approvals, load_plan

    forbid_dumps()
    found = load_plan(plan)
    means = means_of(config, profile, endpoint_url, None)
    with telling_aws():
        if not simulate:
            approvals = load_approvals(plan, approval or ())
            if not yes:
                _ask_again(found)
            claim(means, found, approvals, answers_to(means, found, plan))
        carry_out(means, found, simulate=simulate, json=json)


def _ask_again(plan: "Plan") -> None:
    """Whoever sits at a terminal types what is changed, so that it is not another plan than was meant."""
    if not (plan.items and sys.stdin.isatty() and sys.stderr.isatty()):
        return
    from auditor.formats.words import counted

    accounts = sorted({item.account_name or item.account_id for item in plan.items})
    where = accounts[0] if len(accounts) == 1 else f"{len(accounts)} accounts"
    expected = f"{where} {len(plan.items)}"
    typed = typer.prompt(f"To change {counted(len(plan.items), 'key')} in {where}, type: {expected}\n", err=True)
    if typed.strip() != expected:
        what = f"{typed.strip()!r} is not {expected!r}: nothing was done."
        raise UsageError(what, where=plan.id, next_step="See what the plan says with `auditor remediate show`.")


def tick(
    simulate: Annotated[bool, typer.Option("--simulate", help="Tell what would be done; nothing is changed.")] = False,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Take all approved items as far as they may go now; for a scheduler, once a day. Heals first what a crash left.

    A plan that was posted to Slack is begun when it was approved there.

    Exit codes: 0 nothing is open any more, 5 some items wait or failed, 6 somebody else is at work, 8 a person is
    needed.
    """
    set_up_logging(verbose)
    forbid_dumps()
    means = means_of(config, profile, endpoint_url, None)
    from auditor.remedy.asking import claim_posted

    with telling_aws():
        if not simulate:
            claim_posted(means)
        carry_out(means, None, simulate=simulate, json=json)


def carry_out(means: "Means", plan: "Plan | Item | None", *, simulate: bool, json: bool) -> None:
    """Take a plan's items, one item, or all that are open, as far as they may go now, and tell how each stands.

    Raises:
        typer.Exit: some wait, or need a person.
    """
    from auditor.remediation.engine import Standing
    from auditor.remedy.carrying_out import advance

    outcomes = []
    with _stoppable() as stopping:
        for outcome in advance(means, _tell, plan, simulates=simulate, stopping=stopping):
            outcomes.append(outcome)
            if not json:
                _say_outcome(outcome)
    if json:
        print_json([_outcome_document(outcome) for outcome in outcomes])
    elif not outcomes:
        say("Nothing is open.")
    standings = {outcome.standing for outcome in outcomes}
    if Standing.NEEDS_PERSON in standings:
        raise typer.Exit(EXIT_PERSON)
    if standings - {Standing.DONE}:
        raise typer.Exit(EXIT_WAITS)


def _tell(notice: "Notice") -> None:
    """What is announced stands in what is printed and in the journal."""
    sys.stderr.write(f"Announced: {notice.item.where} {notice.item.key.id}: {notice.what}\n")


@contextmanager
def _stoppable() -> Iterator[Any]:
    """Ctrl-C ends it after the step that is under way: in the middle of one, a key could be nobody's."""
    asked = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        sys.stderr.write("Stopping after this step; again to stop at once, which the next tick heals.\n")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def _say_outcome(outcome: "Outcome") -> None:
    item = outcome.item
    done = f"{', '.join(step.value for step in outcome.steps)}; " if outcome.steps else ""
    until = (
        f", not before {outcome.until:%Y-%m-%d %H:%M}Z" if outcome.until and "not before" not in outcome.told else ""
    )
    say(f"{item.id}  {item.where}  {item.key.id}: {outcome.standing.value}", "bold")
    say(f"{done}{outcome.told}{until}{whose_turn(outcome.who)}", indent=4)


def _outcome_document(outcome: "Outcome") -> dict[str, Any]:
    item = outcome.item
    return {
        "item": item.id,
        "account_id": item.account_id,
        "user": item.user,
        "key": item.key.id,
        "standing": outcome.standing.value,
        "told": outcome.told,
        "steps": [step.value for step in outcome.steps],
        "until": outcome.until.isoformat() if outcome.until else None,
        "who": outcome.who,
    }
