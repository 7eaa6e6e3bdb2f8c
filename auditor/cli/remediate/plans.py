"""`auditor remediate plan|show|approve`: what is to be done, and who wants it."""

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.options import Accounts, ConfigPath, EndpointUrl, Json, Output, Profile, RunName, Verbose
from auditor.cli.output import json_text, print_json, say, set_up_logging
from auditor.cli.remediate.shared import PlanFile, Reason, Who, author_of, kind_of, login, means_of, telling_aws
from auditor.errors import ApprovalError, UsageError

if TYPE_CHECKING:
    from auditor.remediation.approval import Approval, Statement
    from auditor.remediation.plan import Plan
    from auditor.remedy.means import Means


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
    from auditor.remedy.of_run import plan_of_run

    kinds = frozenset(kind_of(name) for name in kind or ("rotate", "deactivate", "delete"))
    means = means_of(config, profile, endpoint_url, output)
    with telling_aws():
        folder = find_run(run, Path(means.config.output.folder))
        plan = plan_of_run(means, folder, author_of(means, who), (kinds, kind_of(through)), account or ())
    path = out or means.folder / f"{plan.id}.json"
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


class PlanFormat(StrEnum):
    """How a plan is shown."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"
    SLACK = "slack"


def show(
    plan: PlanFile,
    format_: Annotated[
        PlanFormat, typer.Option("--format", "-f", help="Text, JSON, a page, or a message in Slack.")
    ] = PlanFormat.TEXT,
    out: Annotated[Path | None, typer.Option("--out", help="A file for it, instead of stdout.")] = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Show a plan: what would be done, why, when, and how it is undone. AWS is not called.

    **Examples**

    - `auditor remediate show PLAN`
    - `auditor remediate show PLAN --format html --out plan.html` - a page for those who approve it
    - `auditor remediate show PLAN --format slack` - post it to those who may approve it by a reply
    """
    from auditor.history.disk import write_whole
    from auditor.remedy.files import load_plan

    found = load_plan(plan)
    if out is not None and format_ in {PlanFormat.TEXT, PlanFormat.SLACK} and not json:
        step = "Add --format html or --format json, or leave --out out."
        raise UsageError("That is not for a file.", where="--out", next_step=step)
    if format_ is PlanFormat.SLACK:
        from auditor.remedy.asking import ask

        posted = ask(means_of(config, None, None, None), found, plan)
        if json:
            print_json({"channel": posted.channel, "ts": posted.ts, "sha256": found.digest})
            return
        say(f"Posted in {posted.channel}; `apply` and `tick` read what is replied.")
        return
    if format_ is PlanFormat.TEXT and not json:
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
    from auditor.cli.plan_words import page_of

    changes = {item.id: [asdict(change) for change in item.changes] for item in page_of(plan).items}
    told = {"sha256": plan.digest, "changes": changes, **plan.model_dump(mode="json", by_alias=True)}
    return json_text(told).encode()


def approve(
    plan: PlanFile,
    reason: Reason,
    sign_with: Annotated[
        Path | None, typer.Option("--sign-with", help="Your SSH key: the private one, or one of your agent.")
    ] = None,
    kms: Annotated[
        str | None, typer.Option("--kms", metavar="KEY", help="Sign with this key of AWS KMS: id, ARN or alias.")
    ] = None,
    through: Annotated[
        str | None, typer.Option("--through", help="No further than this: rotate, deactivate, delete.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="ITEM", help="Only this item.")] = None,
    who: Who = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
) -> None:
    """Approve a plan, or a part of it: signs its digest with your SSH key, or with one that AWS KMS keeps for you.

    Who planned may not approve. Deleting needs two persons. Without --kms AWS is not called.

    **Examples**

    - `auditor remediate approve PLAN --sign-with ~/.ssh/id_ed25519 --reason "CHG-4711" --as bob@example.com`
    - `auditor remediate approve PLAN --kms alias/approvals-bob --profile bob --reason "CHG-4711" --as bob@example.com`
    """
    from auditor.cli.options import now
    from auditor.remediation.approval import is_same_name, sign, signed_by, statement_on
    from auditor.remedy.files import keep_approval, load_plan

    found = load_plan(plan)
    name = who or login()
    if is_same_name(name, found.author.person):
        step = "Somebody else must approve what you planned."
        raise ApprovalError(f"{found.author.person} planned it.", where=found.id, next_step=step)
    statement = statement_on(found, name, kind_of(through) if through else None, only or (), reason, now())
    if (sign_with is None) == (kms is None):
        step = "Sign with --sign-with and an SSH key, or with --kms and a key of AWS KMS."
        raise UsageError("What to sign with is not clear.", next_step=step)
    means = means_of(config, profile, endpoint_url, None)
    if sign_with is not None:
        approval = sign(statement, sign_with)
        if means.config.remediation.approval.allowed_signers and not signed_by(approval, means.approvers()):
            step = f"Have the key's line added to {means.approvers().where}; then plans are made anew."
            raise UsageError(f"The key does not sign for {name}.", where=str(sign_with), next_step=step)
    else:
        approval = _signed_by_kms(statement, kms or "", means)
    path = keep_approval(approval, plan)
    if json:
        print_json({"approval": str(path), "plan_sha256": found.digest, "through": statement.through.value})
        return
    say(f"{name} approves {found.id}, code {found.code}, through {statement.through.value}.")
    say(f"Approval  {path}", "bold")


def _signed_by_kms(statement: "Statement", key_id: str, means: "Means") -> "Approval":
    """The statement, signed by a key that may sign for its approver, as far as the configuration says who may."""
    from auditor.remediation.approval import signed_by
    from auditor.remediation.kms_approval import public_line, sign_by_kms

    with telling_aws():
        approval = sign_by_kms(statement, means.own_caller(), key_id)
        if means.config.remediation.approval.allowed_signers and not signed_by(approval, means.approvers()):
            sys.stdout.write(f"{statement.approver} {public_line(means.own_caller(), key_id)}\n")
            step = f"Have the line that was printed added to {means.approvers().where}; then plans are made anew."
            raise UsageError(f"The key does not sign for {statement.approver}.", where=key_id, next_step=step)
    return approval
