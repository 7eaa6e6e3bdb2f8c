"""`auditor remediate`: rotate, switch off and delete keys, when somebody planned it and others approved."""

import getpass
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli.options import Accounts, ConfigPath, EndpointUrl, Json, Output, Profile, RunName, Verbose, config_file
from auditor.cli.output import json_text, print_json, say, set_up_logging
from auditor.errors import NothingAuditedError, UsageError
from auditor.secret import forbid_dumps

if TYPE_CHECKING:
    from auditor.remediation.engine import Notice, Outcome
    from auditor.remediation.orphans import Orphan
    from auditor.remediation.plan import Plan
    from auditor.remediation.progress import Tracked
    from auditor.remedy import Remedy

EXIT_UNREAD, EXIT_WAITS, EXIT_PERSON = 3, 5, 8

app = typer.Typer(
    no_args_is_help=True,
    help="Rotate, switch off and delete keys, when somebody planned it and others approved. Nothing else changes AWS.",
)

PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="A plan's file.")]
ItemId = Annotated[str, typer.Argument(metavar="ITEM", help="An item's id; `auditor remediate status` lists them.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the journal.")]
Who = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who you are, as approvers are named; your login by default.")
]


def _remedy(config: Path | None, profile: str | None, endpoint_url: str | None, output: Path | None) -> "Remedy":
    from auditor.config import load_config
    from auditor.gather import connection_for
    from auditor.remedy import Remedy

    path = config_file(config)
    folder = {"folder": str(output) if output else None}
    settings = load_config(path, {"aws": {"profile": profile, "endpoint_url": endpoint_url}, "output": folder})
    return Remedy(settings, connection_for(settings), path.parent if path else Path())


@contextmanager
def _aws() -> Iterator[None]:
    """What AWS refuses outside any item is told as the end of the command."""
    from auditor.aws.failures import AwsFailure

    try:
        yield
    except AwsFailure as failure:
        step = "Check the credentials and the network; `auditor doctor` tells more."
        raise NothingAuditedError(str(failure), next_step=step) from failure


# ------------------------------------------------------------------------------------------------- plan


@app.command("plan")
def plan_(
    run: RunName,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="rotate, deactivate or delete; may be given several times. All by default."),
    ] = None,
    through: Annotated[
        str, typer.Option("--through", help="How far a key is taken: rotate, deactivate or delete.")
    ] = "rotate",
    account: Accounts = None,
    out: Annotated[Path | None, typer.Option("--out", help="The plan's file; in remediation/ by default.")] = None,
    who: Who = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    output: Output = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Plan what to do about a run's findings, as AWS shows the keys now. Reads only.

    What is ambiguous, protected, exempt, your own, managed by a program, unknown, or beyond a cap is not planned, and
    the plan says why. Its file has no secret in it, and is not edited: its digest is what is approved.

    **Examples**

    - `auditor remediate plan latest` - rotate keys that are too old, switch off those that nobody uses
    - `auditor remediate plan latest --kind rotate --through deactivate` - and switch the old ones off, once adopted
    - `auditor remediate plan latest --kind delete` - keys that are inactive for long
    """
    set_up_logging(verbose)
    from auditor.history import find_run
    from auditor.history.disk import write_whole

    kinds = frozenset(_kind(name) for name in kind or ("rotate", "deactivate", "delete"))
    remedy = _remedy(config, profile, endpoint_url, output)
    with _aws():
        folder = find_run(run, Path(remedy.config.output.folder))
        plan = remedy.plan(folder, who or _login(), kinds, _kind(through), account or ())
    path = out or remedy.folder / f"{plan.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_whole(path, plan.content)
    if json:
        print_json({"plan": str(path), "sha256": plan.digest, **plan.model_dump(mode="json", by_alias=True)})
        return
    from auditor.cli.plan_words import say_plan

    say_plan(plan)
    say("")
    say(f"Plan  {path}", "bold")
    if plan.items:
        say(f"Next: auditor remediate approve {path} --sign-with ~/.ssh/id_ed25519 --reason TEXT")


def _kind(name: str) -> Any:
    from auditor.remediation.plan import Kind

    try:
        return Kind(name)
    except ValueError:
        step = f"Choose from {', '.join(Kind)}."
        raise UsageError(f"There is no kind {name!r}.", next_step=step) from None


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise UsageError("Who you are is not known.", next_step="Say so with --as NAME.") from None


class PlanFormat(StrEnum):
    """How a plan is shown."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


@app.command("show")
def show(
    plan: PlanFile,
    format_: Annotated[PlanFormat, typer.Option("--format", "-f", help="Text, JSON, or a page.")] = PlanFormat.TEXT,
    out: Annotated[Path | None, typer.Option("--out", help="A file for it, instead of stdout.")] = None,
    json: Json = False,
) -> None:
    """Show a plan: what would be done, why, when, and how it is undone. AWS is not called.

    **Examples**

    - `auditor remediate show PLAN`
    - `auditor remediate show PLAN --format html --out plan.html` - a page for those who approve it
    """
    from auditor.history.disk import write_whole
    from auditor.remedy import load_plan

    found = load_plan(plan)
    if format_ is PlanFormat.TEXT and not json:
        if out is not None:
            step = "Add --format html or --format json, or leave --out out."
            raise UsageError("Text is for the terminal.", where="--out", next_step=step)
        from auditor.cli.plan_words import say_plan

        say_plan(found)
        return
    content = _plan_as_html(found) if format_ is PlanFormat.HTML else _plan_as_json(found)
    if out is None:
        sys.stdout.write(content.decode())
        return
    write_whole(out, content)
    say(f"Plan  {out}", "bold")


def _plan_as_html(plan: "Plan") -> bytes:
    from auditor.cli.plan_words import page_of
    from auditor.formats.plan_page import render_plan

    return render_plan(page_of(plan))


def _plan_as_json(plan: "Plan") -> bytes:
    return json_text({"sha256": plan.digest, **plan.model_dump(mode="json", by_alias=True)}).encode()


# ------------------------------------------------------------------------------------------------- approve, apply


@app.command("approve")
def approve(
    plan: PlanFile,
    sign_with: Annotated[
        Path, typer.Option("--sign-with", help="Your SSH key: the private one, or one of your agent.")
    ],
    reason: Reason,
    through: Annotated[
        str | None, typer.Option("--through", help="No further than this: rotate, deactivate, delete.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="ITEM", help="Only this item.")] = None,
    who: Who = None,
    json: Json = False,
) -> None:
    """Approve a plan, or a part of it: signs its digest with your SSH key. AWS is not called.

    Who planned may not approve. Deleting needs two persons.
    """
    from auditor.cli.options import now
    from auditor.history.disk import write_whole
    from auditor.remediation.approval import Statement, sign
    from auditor.remedy import load_plan

    found = load_plan(plan)
    name = who or _login()
    unknown = set(only or ()) - {item.id for item in found.items}
    if unknown:
        raise UsageError(f"The plan has no item {', '.join(sorted(unknown))}.", next_step="`show` lists them.")
    statement = Statement(
        plan_id=found.id,
        plan_sha256=found.digest,
        approver=name,
        through=_kind(through) if through else found.highest,
        items=tuple(only or ()),
        reason=reason,
        at=now(),
    )
    approval = sign(statement, sign_with)
    number = 1 + len(list(plan.parent.glob(f"{plan.stem}.approval-*.json")))
    path = plan.with_name(f"{plan.stem}.approval-{number}.json")
    write_whole(path, approval.model_dump_json(by_alias=True, indent=2).encode())
    if json:
        print_json({"approval": str(path), "plan_sha256": found.digest, "through": statement.through.value})
        return
    say(f"{name} approves {found.id}, code {found.code}, through {statement.through.value}.")
    say(f"Approval  {path}", "bold")


@app.command("apply")
def apply(
    plan: PlanFile,
    approval: Annotated[
        list[Path] | None, typer.Option("--approval", help="An approval that is not beside the plan.")
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Tell what would be done; nothing is changed.")] = False,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Do what an approved plan says, as far as it may be done now; `tick` goes on with it day by day.

    Every key is read again right before it is changed. What is not any more as the plan saw it is left alone. With
    --simulate nothing needs to be approved yet: the same is decided, and nothing is done.

    Exit codes: 0 done, 5 some items wait or were refused, 6 not approved, changed, expired or claimed, 7 beyond a cap,
    8 a person is needed.
    """
    set_up_logging(verbose)
    from auditor.remedy import load_approvals, load_plan

    forbid_dumps()
    found = load_plan(plan)
    remedy = _remedy(config, profile, endpoint_url, None)
    with _aws():
        if not simulate:
            remedy.identity()
            remedy.claim(found, load_approvals(plan, approval or ()))
        _advance(remedy, found, simulate=simulate, json=json)


@app.command("tick")
def tick(
    simulate: Annotated[bool, typer.Option("--simulate", help="Tell what would be done; nothing is changed.")] = False,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Take all approved items as far as they may go now; for a scheduler, once a day. Heals first what a crash left.

    Exit codes: 0 nothing is open any more, 5 some items wait or failed, 6 somebody else is at work, 8 a person is
    needed.
    """
    set_up_logging(verbose)
    forbid_dumps()
    remedy = _remedy(config, profile, endpoint_url, None)
    with _aws():
        _advance(remedy, None, simulate=simulate, json=json)


def _advance(remedy: "Remedy", plan: "Plan | None", *, simulate: bool, json: bool) -> None:
    from auditor.remediation.engine import Standing

    outcomes = []
    with _stoppable() as stopping:
        for outcome in remedy.advance(_tell, plan=plan, simulates=simulate, stopping=stopping):
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
    say(f"{done}{outcome.told}{until}{f' ({outcome.who})' if outcome.who else ''}", indent=4)


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


# ------------------------------------------------------------------------------------------------- what persons do


@app.command("status")
def status(
    item: Annotated[str | None, typer.Argument(metavar="ITEM", help="One item.")] = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Where every item stands, what it waits for, since when, and who must act. AWS is not called."""
    ledger = _remedy(config, None, None, None).ledger()
    chosen = [tracked for tracked in ledger.items.values() if item in {None, tracked.item.id}]
    if item and not chosen:
        raise UsageError(f"There is no item {item}.", next_step="Leave it out to see all.")
    if json:
        print_json([_status_document(tracked) for tracked in chosen])
        return
    if not chosen:
        say("No plan was applied yet.")
    for tracked in chosen:
        told = _status_document(tracked)
        say(f"{told['item']}  {tracked.item.where}  {told['key']}  {told['state']}", "bold")
        if told["waits_for"]:
            whose = f" ({told['who']})" if told["who"] else ""
            say(f"{told['waits_for']}, since {told['since'][:16]}Z{whose}", indent=4)
        if told["failed"]:
            say(f"the last step failed: {told['failed']}", indent=4)


def _status_document(tracked: "Tracked") -> dict[str, Any]:
    done, waiting = tracked.done, tracked.waiting
    reached = [
        ("deleted", done.deleted_at),
        ("inactive", done.inactive_at),
        ("adopted", done.adopted_at),
        ("published", done.published_at),
        ("verified", done.verified_at),
        ("created", done.created_at),
        ("prepared", done.prepared_at),
    ]
    state = tracked.ended or next((name for name, at in reached if at), "claimed")
    if done.held is not None:
        state = f"held: {done.held}"
    return {
        "item": tracked.item.id,
        "plan": tracked.plan_id,
        "account_id": tracked.item.account_id,
        "user": tracked.item.user,
        "key": tracked.item.key.id,
        "new_key": done.new_key,
        "kind": tracked.item.kind.value,
        "through": tracked.item.through.value,
        "approved": tracked.approved.value if tracked.approved else None,
        "state": state,
        "ended": tracked.ended is not None,
        "open_intent": tracked.intent.told["step"] if tracked.intent else None,
        "waits_for": waiting.told["reason"] if waiting else None,
        "since": waiting.at.isoformat() if waiting else None,
        "until": waiting.told.get("until") if waiting else None,
        "who": (waiting.told.get("who") or "") if waiting else "",
        "failed": tracked.failed,
    }


@app.command("orphans")
def orphans(
    account: Accounts = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Look for keys that were made here and whose secret nobody can have: after a crash, or a secret that was deleted.

    Reads only, and asks AWS about every key of the journal.

    Exit codes: 0 there are none, 3 some could not be looked at, 8 there are some.
    """
    set_up_logging(verbose)
    from auditor.cli.audit import confirm_ids

    confirm_ids(account or (), where="--account")
    with _aws():
        found = _remedy(config, profile, endpoint_url, None).orphans(account or ())
    if json:
        print_json([_orphan_document(orphan) for orphan in found])
    elif not found:
        say("There are none: every key that was made here has its secret where its application reads it.")
    for orphan in () if json else found:
        what = "nobody can use it" if orphan.is_known else "not known"
        say(f"{orphan.item.id}  {orphan.item.where}  {orphan.key or 'a key'}: {what}", "bold")
        say(f"{orphan.why}.", indent=4)
        say(f"Next: {orphan.next_step}", indent=4)
    if any(orphan.is_known for orphan in found):
        raise typer.Exit(EXIT_PERSON)
    if found:
        raise typer.Exit(EXIT_UNREAD)


def _orphan_document(orphan: "Orphan") -> dict[str, Any]:
    item = orphan.item
    return {
        "item": item.id,
        "account_id": item.account_id,
        "user": item.user,
        "key": orphan.key,
        "is_known": orphan.is_known,
        "why": orphan.why,
        "next_step": orphan.next_step,
    }


@app.command("hold")
def hold(item: ItemId, reason: Reason, who: Who = None, config: ConfigPath = None) -> None:
    """Hold an item: nothing is done about it until somebody releases it."""
    from auditor.remediation.journal import Event

    _remedy(config, None, None, None).tell_journal(item, Event.HELD, reason=reason, by=who or _login())
    say(f"{item} is held.")


@app.command("release")
def release(item: ItemId, reason: Reason, who: Who = None, config: ConfigPath = None) -> None:
    """Release an item that is held, or say that what a person was asked for is settled; waits begin anew."""
    from auditor.remediation.journal import Event

    _remedy(config, None, None, None).tell_journal(item, Event.RELEASED, reason=reason, by=who or _login())
    say(f"{item} goes on with the next tick.")


@app.command("confirm")
def confirm(item: ItemId, reason: Reason, who: Who = None, config: ConfigPath = None) -> None:
    """Say that the application uses the new key, where that cannot be seen. The old one must be quiet all the same."""
    from auditor.remediation.journal import Event

    _remedy(config, None, None, None).tell_journal(item, Event.CONFIRMED, reason=reason, by=who or _login())
    say(f"{item}: the new key counts as adopted, by your word.")


@app.command("rollback")
def rollback(
    item: Annotated[str, typer.Argument(metavar="ITEM|KEY", help="An item's id, or an access key id.")],
    reason: Reason,
    account: Annotated[str | None, typer.Option("--account", help="The account of the access key.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="The user of the access key.")] = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Switch a key on again, at once. Needs no approval, and with a key id no journal; what is deleted is gone."""
    with _aws():
        key = _remedy(config, profile, endpoint_url, None).rollback(item, account, user, reason)
    say(f"{key} is active again.", "bold")
