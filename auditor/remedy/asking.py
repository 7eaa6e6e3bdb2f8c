"""Plans that are posted where approvers read them, and what they reply."""

import json
import logging
from hashlib import sha256
from pathlib import Path

from auditor.errors import ApprovalError, CapError, OutputError, UsageError
from auditor.history.disk import write_whole
from auditor.notify import Message, NotSentError
from auditor.notify.channels import slack_of
from auditor.notify.slack_thread import Posted, post_plan, replies_to, reply
from auditor.remediation.approval import Answer
from auditor.remediation.plan import Kind, Plan
from auditor.remediation.plan_facts import facts_of
from auditor.remedy.admission import NotAdmittedError
from auditor.remedy.carrying_out import claim
from auditor.remedy.files import load_approvals, load_plan
from auditor.remedy.means import Means

log = logging.getLogger(__name__)


RECEIPT = ".slack.json"


def receipt_of(plan_path: Path) -> Path:
    """The file beside a plan that says where it was posted."""
    return plan_path.with_name(f"{plan_path.stem}{RECEIPT}")


def posts_of(means: Means, plan: Plan, path: Path) -> list[Posted]:
    """Where the plan was posted, by the receipts beside its file and the journal, whatever it was called then."""
    found: dict[Posted, None] = {}
    folders = dict.fromkeys((path.parent.resolve(), means.folder.resolve()))
    for receipt in (one for folder in folders for one in sorted(folder.glob(f"*{RECEIPT}"))):
        try:
            kept = json.loads(receipt.read_bytes())
            if kept["plan_sha256"] == plan.digest:
                found[Posted(str(kept["channel"]), str(kept["ts"]))] = None
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return list(found)


def ask(means: Means, plan: Plan, path: Path) -> Posted:
    """Post the plan for those who may approve it, and keep where it is; where it is already, it is not posted again.

    What was replied to it counts: who asks again does not make others forget that it was rejected.

    Raises:
        UsageError: Slack is not configured, or the plan is empty.
        OutputError: it could not be posted.
    """
    if not plan.items:
        raise UsageError("The plan has nothing in it to approve.", where=plan.id, next_step="Nothing is to be done.")
    already = posts_of(means, plan, path)
    if already:
        return already[0]
    kinds = ", ".join(f"{sum(item.covers(kind) for item in plan.items)} to {kind.value}" for kind in Kind)
    accounts = sorted({item.account_name or item.account_id for item in plan.items})
    facts = (
        ("Plan", plan.id),
        ("Code", plan.code),
        ("Keys", kinds),
        ("Accounts", ", ".join(accounts)),
        ("Users", ", ".join(item.user for item in plan.items)),
        *facts_of(plan),
        ("Planned by", plan.author.person),
        ("May be begun until", f"{plan.expires_at:%Y-%m-%d %H:%M}Z"),
        ("Look at it", f"auditor remediate show {path.name}"),
        ("SHA-256", plan.digest),
    )
    message = Message(f"plan/{plan.digest}", f"A plan to approve: {plan.code}", facts)
    try:
        posted = post_plan(slack_of(means.config.notify.slack), message, plan.digest, plan.code)
    except NotSentError as error:
        step = "See that the app is in the channel, and try again."
        raise OutputError(f"The plan was not posted: {error}.", where="notify.slack", next_step=step) from error
    kept = {"channel": posted.channel, "ts": posted.ts, "plan_sha256": plan.digest}
    for place in dict.fromkeys((receipt_of(path), means.folder / receipt_of(path).name)):
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(place, json.dumps(kept).encode())
    return posted


def answers_to(means: Means, plan: Plan, path: Path) -> tuple[Answer, ...]:
    """What approvers replied to a plan; nothing where it was not posted or cannot be read: then signatures decide."""
    persons = dict(one.split("=", 1) for one in means.config.notify.slack.approvers)
    found: list[Answer] = []
    try:
        for posted in posts_of(means, plan, path):
            replies = replies_to(slack_of(means.config.notify.slack), posted, plan.digest, plan.code)
            found += (
                Answer(persons[one.user], one.approves, one.at, f"slack:{posted.channel}/{one.ts}")
                for one in replies
                if one.user in persons
            )
    except (NotSentError, UsageError) as error:
        log.warning("what was replied to %s cannot be read, so signatures alone count: %s", plan.id, error)
        return ()
    return tuple(found)


def claim_posted(means: Means) -> None:
    """Claim plans that were posted, and approved since: those that are not, or are rejected, are left.

    Raises:
        OutputError: the journal cannot be used.
    """
    known = means.ledger().plans
    for receipt in sorted(means.folder.glob(f"*{RECEIPT}")):
        path = receipt.with_name(f"{receipt.name.removesuffix(RECEIPT)}.json")
        if not path.exists():
            continue
        try:
            plan = load_plan(path)
            if plan.id not in known and means.timing.now() < plan.expires_at:
                _claim(means, plan, path)
        except UsageError as error:
            log.warning("%s is not begun: %s %s", path.name, error.what, error.next_step)
        except ApprovalError as error:
            log.info("%s is not begun: %s", path.name, error.what)


def _claim(means: Means, plan: Plan, path: Path) -> None:
    """As `claim`; who approved what cannot be taken reads in the plan's thread why nothing comes of it."""
    try:
        claim(means, plan, load_approvals(path), answers_to(means, plan, path))
    except (NotAdmittedError, CapError) as error:
        log.warning("%s is not begun: %s %s", path.name, error.what, error.next_step)
        key = f"refused/{plan.digest}/{sha256(error.what.encode()).hexdigest()}"
        said = Message(key, "Approved, and not begun", (("Why", error.what), ("What next", error.next_step)))
        for posted in posts_of(means, plan, path):
            try:
                reply(slack_of(means.config.notify.slack), posted, said)
            except NotSentError as failure:
                log.warning("who approved %s was not told: %s", plan.id, failure)
