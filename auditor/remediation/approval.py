"""Who approved what: a signature of the plan's digest by somebody whom the company allows to approve.

The signature is OpenSSH's (`ssh-keygen -Y sign`), in a namespace of its own, so that one of another kind is none of
these; who may sign stands in a file of OpenSSH's `allowed_signers` form. Both are checked without a network.
"""

import hashlib
import json
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import sshsig
from pydantic import AwareDatetime, Field, ValidationError
from sshsig.allowed_signers import AllowedSigner

from auditor.errors import ApprovalError, UsageError
from auditor.remediation.plan import Kind, Plan, Record

log = logging.getLogger(__name__)

NAMESPACE = "auditor-plan"

DISRUPTIVE_LASTS, ROTATION_LASTS = timedelta(hours=24), timedelta(hours=72)
"""How long an approval may be used to begin what it approves."""

MOST_AHEAD = timedelta(minutes=5)
"""How far another machine's clock may be ahead."""

MOST_SIGNATURE = 10_000
"""Characters that a signature has at most."""


class Statement(Record):
    """What an approver signs."""

    schema_: Annotated[Literal["auditor.approval/1"], Field(alias="schema")] = "auditor.approval/1"
    plan_id: str
    plan_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    approver: Annotated[str, Field(min_length=1, max_length=200)]
    through: Kind
    items: tuple[str, ...] = ()
    """Ids of items; none means all of the plan's."""
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    at: AwareDatetime

    @property
    def content(self) -> bytes:
        """The bytes that are signed: canonical JSON."""
        document = self.model_dump(mode="json", by_alias=True)
        return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def statement_on(  # noqa: PLR0913, PLR0917 - what a person says
    plan: Plan, approver: str, through: Kind | None, items: Sequence[str], reason: str, at: datetime
) -> Statement:
    """What somebody says who approves a plan, as far as `through`, or wholly; and all of its items, or these.

    Raises:
        UsageError: the plan has no such item.
    """
    unknown = set(items) - {item.id for item in plan.items}
    if unknown:
        step = "`auditor remediate show` lists them."
        raise UsageError(f"The plan has no item {', '.join(sorted(unknown))}.", where=plan.id, next_step=step)
    return Statement(
        plan_id=plan.id,
        plan_sha256=plan.digest,
        approver=approver,
        through=through or plan.highest,
        items=tuple(items),
        reason=reason,
        at=at,
    )


class Approval(Record):
    """A statement and its signature."""

    statement: Statement
    signature: Annotated[str, Field(max_length=MOST_SIGNATURE)]


@dataclass(frozen=True, slots=True)
class Approvers:
    """Who may approve: the lines of an `allowed_signers` file, and the digest of the file."""

    signers: tuple[AllowedSigner, ...]
    sha256: str
    where: str
    text: str = ""
    """The file's."""

    @classmethod
    def read(cls, path: Path) -> "Approvers":
        """The file's.

        Raises:
            UsageError: it cannot be read, or a line of it.
        """
        step = "It has a line for each approver: a name, such as an e-mail address, and an SSH public key."
        try:
            return cls.parse(path.read_bytes().decode(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            what = "The file of those who may approve cannot be read."
            raise UsageError(what, where=str(path), next_step=step) from error

    @classmethod
    def parse(cls, text: str, where: str) -> "Approvers":
        """Those of a file's text; raises as `read`."""
        step = "It has a line for each approver: a name, such as an e-mail address, and an SSH public key."
        signers = []
        for number, line in enumerate(map(str.strip, text.splitlines()), 1):
            if not line or line.startswith("#"):
                continue
            try:
                signers.append(AllowedSigner.parse(line))
            except (ValueError, NotImplementedError, IndexError) as error:
                raise UsageError(f"Line {number} is not a signer.", where=where, next_step=step) from error
        return cls(tuple(signers), hashlib.sha256(text.encode()).hexdigest(), where, text)

    def named(self, approver: str) -> Iterator[AllowedSigner]:
        """The lines that are for this approver and for plans, and are no authority that vouches for others."""
        for signer in self.signers:
            options = {name.lower(): value for name, value in (signer.options or {}).items()}
            spaces = options.get("namespaces", NAMESPACE).split(",")
            if (
                _is_named(approver, signer.principals.split(","))
                and NAMESPACE in spaces
                and "cert-authority" not in options
            ):
                yield signer


def _is_named(name: str, patterns: Sequence[str]) -> bool:
    """As OpenSSH reads a list of patterns: * and ? stand for others, and one that begins with ! excludes."""

    def is_like(pattern: str) -> bool:
        return fnmatchcase(name, pattern.replace("[", "[[]"))

    excluded = any(is_like(pattern[1:]) for pattern in patterns if pattern.startswith("!"))
    return not excluded and any(is_like(pattern) for pattern in patterns if not pattern.startswith("!"))


def read_approval(content: bytes, where: str) -> Approval:
    """An approval out of its file; ApprovalError where it is none."""
    try:
        return Approval.model_validate_json(content)
    except ValidationError:
        step = "Make it with `auditor remediate approve`."
        raise ApprovalError("This is not an approval.", where=where, next_step=step) from None


def sign(statement: Statement, key: Path) -> Approval:
    """The statement, signed by an SSH key: a private key's file, or a public key's whose private half an agent has.

    Raises:
        UsageError: there is no ssh-keygen, or it does not sign with this key.
    """
    program = shutil.which("ssh-keygen")
    if program is None:
        step = "Install OpenSSH's client (openssh-client), and approve again."
        raise UsageError("Approvals are signed by ssh-keygen, which is not here.", next_step=step)
    with tempfile.TemporaryDirectory() as folder:
        message = Path(folder) / "statement"
        message.write_bytes(statement.content)
        command = [program, "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key), str(message)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - a person asked for it
        signature = Path(f"{message}.sig")
        if done.returncode or not signature.exists():
            step = "Name a private key, or a public key that your agent has, after --sign-with."
            raise UsageError("ssh-keygen did not sign.", where=str(key), next_step=step)
        return Approval(statement=statement, signature=signature.read_text())


def signed_by(approval: Approval, approvers: Approvers) -> str | None:
    """The key that signed, where it is one that was allowed to the approver's name when he signed; else None."""
    statement = approval.statement
    signers = [signer for signer in approvers.named(statement.approver) if _was_valid(signer, statement.at)]
    try:
        found = sshsig.check_signature(statement.content, approval.signature, NAMESPACE).openssh_str()
    except (sshsig.InvalidSignature, ValueError, AssertionError, TypeError):
        return None  # the library raises all of these over what is no signature at all
    except NotImplementedError:  # a kind of key that the library does not know, such as a hardware key's
        return next((_text(signer) for signer in signers if _is_openssh_sure(approval, signer)), None)
    return found if found in map(_text, signers) else None


def _text(signer: AllowedSigner) -> str:
    return f"{signer.key_type} {signer.base64_key}"


def _is_openssh_sure(approval: Approval, signer: AllowedSigner) -> bool:
    program = shutil.which("ssh-keygen")
    if program is None:
        step = "Install OpenSSH's client (openssh-client), or sign with an Ed25519 or RSA key."
        raise ApprovalError("A signature by this kind of key is checked by ssh-keygen.", next_step=step)
    with tempfile.TemporaryDirectory() as folder:
        allowed, signature = Path(folder) / "allowed", Path(folder) / "signature"
        allowed.write_text(f"approver {_text(signer)}\n")
        signature.write_text(approval.signature)
        options = ("-n", NAMESPACE, "-I", "approver", "-f", str(allowed), "-s", str(signature))
        done = subprocess.run(  # noqa: S603 - a program of the system's, on files of ours
            [program, "-Y", "verify", *options], input=approval.statement.content, capture_output=True, check=False
        )
    log.debug("ssh-keygen: %s", done.stderr.decode(errors="replace").strip())
    return done.returncode == 0


def _was_valid(signer: AllowedSigner, at: datetime) -> bool:
    """Whether the times of the line, if it has any, were so; one that cannot be read allows nothing."""
    options = {name.lower(): value for name, value in (signer.options or {}).items()}
    try:
        after, before = (_time(options.get(name)) for name in ("valid-after", "valid-before"))
    except ValueError:
        return False
    return (after is None or at >= after) and (before is None or at < before)


def _time(text: str | None) -> datetime | None:
    """A time as OpenSSH writes it, here always in UTC: YYYYMMDD or YYYYMMDDHHMM[SS], with Z at the end or not."""
    if text is None:
        return None
    digits = text.rstrip("Zz")
    form = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits))
    if form is None:
        raise ValueError(text)
    return datetime.strptime(digits, form).replace(tzinfo=UTC)


MOST_BY_REPLY = 5
"""Keys that may be switched off where a person's reply is all that there is of an approval."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person replied to a plan where it was posted: no signature can be kept of it."""

    approver: str
    approves: bool
    at: datetime
    where: str
    """Of the reply, such as slack:C0123/1700000000.000100."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How many distinct persons must approve, and who may not be one of them."""

    persons: int = 1
    persons_for_deletion: int = 2
    author: str | None = None
    """The plan's author, as approvers are named; None where the author may approve."""
    answers: tuple[Answer, ...] = ()
    """Replies to the plan."""
    before: Approvers | None = None
    """Who might approve when the plan was made, where that is known of one that was begun."""

    def needed(self, kind: Kind) -> int:
        """Persons for a kind of step."""
        return self.persons_for_deletion if kind is Kind.DELETE else self.persons


def approved(
    plan: Plan, approvals: Sequence[Approval], approvers: Approvers, rules: Rules, now: datetime
) -> dict[str, Kind]:
    """How far each item is approved, by its id; items that not enough persons approved are not there.

    Args:
        plan: the plan.
        approvals: all that there are of it.
        approvers: who may approve, now.
        rules: how many must, and who may not.
        now: the instant.

    Raises:
        ApprovalError: an approval is of another plan, not signed by whom it names, too old, or the author's own; or who
            may approve is not what it was when the plan was made.
    """
    allowed = allowing(plan, approvers, rules)
    given = [(approval, check(plan, approval, allowed, rules, now)) for approval in approvals]
    return how_far(plan, given, answered(plan, allowed, rules, now), rules)


Allowed = Sequence[Approvers]
"""Files of approvers, all of which must allow what counts."""


def allowing(plan: Plan, approvers: Approvers, rules: Rules) -> Allowed:
    """What decides of a plan's approvals: the file as it was when the plan was made, and still is.

    Of a plan that was begun both decide, as it was and as it is: so a change of the file takes approvals away, and
    nobody gets into a plan by it who was not there before.

    Raises:
        ApprovalError: the file was changed, and how it was is not known.
    """
    if approvers.sha256 == plan.approvers_sha256:
        return (approvers,)
    if rules.before is not None and rules.before.sha256 == plan.approvers_sha256:
        return (approvers, rules.before)
    what = "Who may approve is not what it was when the plan was made."
    raise ApprovalError(what, where=approvers.where, next_step="Make the plan anew, and have it approved.")


def how_far(
    plan: Plan, given: Sequence[tuple[Approval, str]], answers: Sequence[Answer], rules: Rules
) -> dict[str, Kind]:
    """How far approvals and replies that count take each item.

    Args:
        plan: the plan.
        given: approvals, each with the key that signed it.
        answers: replies.
        rules: how many persons it takes.
    """
    replied = {answer.approver.casefold() for answer in answers}
    found: dict[str, Kind] = {}
    for item in plan.items:
        for kind in (kind for kind in Kind if item.covers(kind)):
            for_it = [(one.statement.approver.casefold(), key) for one, key in given if approves(one, item.id, kind)]
            persons = {person for person, _ in for_it}
            number = min(len(persons), len({key for _, key in for_it}))
            if may_answer(plan, kind):
                number += sum(not any(is_same_name(one, person) for person in persons) for one in replied)
            if number < rules.needed(kind):
                break  # two names with one key are one person, and so is one name with two keys
            found[item.id] = kind
    return found


def answered(plan: Plan, allowed: Allowed, rules: Rules, now: datetime) -> list[Answer]:
    """Replies that approve and count.

    Raises:
        ApprovalError: somebody who may approve rejected the plan.
    """
    found = []
    for answer in rules.answers:
        if not all(any(approvers.named(answer.approver)) for approvers in allowed):
            continue
        if not answer.approves:
            what = f"{answer.approver} rejected the plan."
            raise ApprovalError(what, where=answer.where, next_step="Talk to each other, and plan anew.")
        is_authors = rules.author is not None and is_same_name(answer.approver, rules.author)
        if not is_authors and plan.created_at <= answer.at <= now + MOST_AHEAD and now < answer.at + DISRUPTIVE_LASTS:
            found.append(answer)
    return found


def may_answer(plan: Plan, kind: Kind) -> bool:
    """Whether a reply is enough for a kind of step: never to delete, nor to switch off many keys."""
    if kind is Kind.DEACTIVATE:
        return sum(item.covers(kind) for item in plan.items) <= MOST_BY_REPLY
    return kind is Kind.ROTATE


def approves(approval: Approval, item_id: str, kind: Kind) -> bool:
    """Whether it is said of this kind of step of an item."""
    said = approval.statement
    return kind.rank <= said.through.rank and (not said.items or item_id in said.items)


def _is_authors(approver: str, key: str, author: str, approvers: Approvers) -> bool:
    """Whether it is the author, by name or by a key that is the author's under any name."""
    return is_same_name(approver, author) or key in map(_text, approvers.named(author))


def is_same_name(one: str, other: str) -> bool:
    """Whether two names may be one person's: a login and an address that begins with it are taken for that."""
    one, other = one.casefold(), other.casefold()
    is_of_two_kinds = ("@" in one) != ("@" in other)
    return one == other or (is_of_two_kinds and one.partition("@")[0] == other.partition("@")[0])


def is_over(approval: Approval, now: datetime) -> bool:
    """Whether it is too old to begin anything by it."""
    said = approval.statement
    return now >= said.at + (ROTATION_LASTS if said.through is Kind.ROTATE else DISRUPTIVE_LASTS)


def check(plan: Plan, approval: Approval, allowed: Allowed, rules: Rules, now: datetime) -> str:
    """The key that signed an approval that may be used at an instant.

    Raises:
        ApprovalError: it may not.
    """
    keys = [_check(plan, approval, approvers, rules, now) for approvers in allowed]
    return keys[0]


def counts(plan: Plan, approval: Approval, allowed: Allowed, rules: Rules, now: datetime) -> bool:
    """Whether an approval may be used at an instant."""
    try:
        check(plan, approval, allowed, rules, now)
    except ApprovalError:
        return False
    return True


def _check(plan: Plan, approval: Approval, approvers: Approvers, rules: Rules, now: datetime) -> str:
    statement = approval.statement
    whose = f"the approval of {statement.approver}"
    if statement.plan_sha256 != plan.digest or statement.plan_id != plan.id:
        step = "Approve this plan; one that was changed is another one."
        raise ApprovalError("It is of another plan, or the plan was changed.", where=whose, next_step=step)
    key = signed_by(approval, approvers)
    if key is None:
        step = f"Who may approve stands in {approvers.where}."
        raise ApprovalError("The signature is not the approver's.", where=whose, next_step=step)
    unknown = set(statement.items) - {item.id for item in plan.items}
    if unknown:
        what = f"The plan has no item {', '.join(sorted(unknown))}."
        raise ApprovalError(what, where=whose, next_step="Approve it again.")
    if rules.author is not None and _is_authors(statement.approver, key, rules.author, approvers):
        step = "Somebody else must approve what you planned."
        raise ApprovalError("The author approved the plan.", where=whose, next_step=step)
    if not plan.created_at <= statement.at <= now + MOST_AHEAD or is_over(approval, now):
        step = "Approve again; an approval is used soon, or not at all."
        raise ApprovalError("It is too old, or dated before the plan or ahead.", where=whose, next_step=step)
    return key
