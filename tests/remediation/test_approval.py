"""Approvals: of this plan, by persons who may, in time, and not by its author; anything else is refused."""

import base64
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import ApprovalError, UsageError
from auditor.model import KeyStatus
from auditor.remediation.approval import (
    Answer,
    Approval,
    Approvers,
    Rules,
    Statement,
    approved,
    read_approval,
    sign,
    signed_by,
)
from auditor.remediation.plan import Basis, Item, Kind, Plan, PlannedKey, Use, Waits, read_plan
from tests.builders import AS_OF, ago
from tests.remediation.signing import Approver
from tests.remediation.world import plan_of

ANN, BOB, CAT, EVE = (Approver(f"{name}@example.com") for name in ("ann", "bob", "cat", "eve"))
LATER = AS_OF + timedelta(hours=1)


def item(name: str, kind: Kind = Kind.ROTATE, through: Kind = Kind.DELETE) -> Item:
    """An item of a user."""
    key = PlannedKey(id=f"AKIA{name}", created_at=ago(200), status=KeyStatus.ACTIVE, last_used=Use())
    return Item(
        id=name,
        kind=kind,
        through=through,
        account_id="111122223333",
        account_name=None,
        partition="aws",
        user=name,
        user_id=f"AIDA{name}",
        key=key,
        basis=(Basis(control="key-age", severity="high", reason="old"),),
        owner=None,
        waits=Waits(grace_days=7, quiet_days=14, quarantine_days=14),
    )


@pytest.fixture
def approvers(tmp_path: Path) -> Approvers:
    path = tmp_path / "allowed_signers"
    path.write_text("# who may\n" + "\n".join(one.line for one in (ANN, BOB, CAT)) + "\n")
    return Approvers.read(path)


@pytest.fixture
def plan(approvers: Approvers) -> Plan:
    return plan_of(item("one"), item("two")).model_copy(update={"approvers_sha256": approvers.sha256})


def through(plan: Plan, approvers: Approvers, *approvals: Approval, author: str | None = ANN.name) -> dict[str, Kind]:
    """How far each item is approved."""
    return approved(plan, approvals, approvers, Rules(author=author), LATER)


def test_one_person_approves_up_to_switching_off_and_two_deleting(plan: Plan, approvers: Approvers) -> None:
    """What the second did not approve goes no further."""
    bob, cat = BOB.approves(plan, AS_OF), CAT.approves(plan, AS_OF, items=("two",))
    assert through(plan, approvers, bob) == {"one": Kind.DEACTIVATE, "two": Kind.DEACTIVATE}
    assert through(plan, approvers, bob, cat) == {"one": Kind.DEACTIVATE, "two": Kind.DELETE}
    assert through(plan, approvers) == {}
    only = BOB.approves(plan, AS_OF, through=Kind.ROTATE, items=("one",))
    assert through(plan, approvers, only) == {"one": Kind.ROTATE}


def answer(who: Approver, *, approves: bool = True, hours: float = 0.5) -> Answer:
    """A reply in Slack, so long after the plan."""
    return Answer(who.name, approves, AS_OF + timedelta(hours=hours), "slack:C1/1")


def answered(plan: Plan, approvers: Approvers, *answers: Answer, approvals: Sequence[Approval] = ()) -> set[str]:
    """How far all is approved by these."""
    rules = Rules(author=ANN.name, answers=answers)
    return {kind.value for kind in approved(plan, approvals, approvers, rules, LATER).values()}


def test_a_reply_is_enough_to_switch_off_and_never_to_delete(plan: Plan, approvers: Approvers) -> None:
    """However many reply; with one signature as well it still takes a second one."""
    assert answered(plan, approvers, answer(BOB)) == {"deactivate"}
    assert answered(plan, approvers, answer(BOB), answer(CAT)) == {"deactivate"}
    assert answered(plan, approvers, answer(CAT), approvals=[BOB.approves(plan, AS_OF)]) == {"deactivate"}


def test_a_reply_is_not_enough_to_switch_off_many(approvers: Approvers) -> None:
    """To rotate them it is: what was goes on working."""
    many = plan_of(*(item(str(number), through=Kind.DEACTIVATE) for number in range(6)))
    many = many.model_copy(update={"approvers_sha256": approvers.sha256})
    assert answered(many, approvers, answer(BOB)) == {"rotate"}


@pytest.mark.parametrize("who", [ANN, EVE])
def test_replies_of_the_author_and_of_strangers_count_for_nothing(
    plan: Plan, approvers: Approvers, who: Approver
) -> None:
    """Nor does one that is too old; and a person who replies and signs is one."""
    assert answered(plan, approvers, answer(who)) == set()
    assert answered(plan, approvers, answer(BOB, hours=-1)) == set()
    rules = Rules(persons=2, answers=(answer(BOB),))
    assert approved(plan, [BOB.approves(plan, AS_OF)], approvers, rules, LATER) == {}
    rules = Rules(persons=2, answers=(answer(CAT),))
    assert set(approved(plan, [BOB.approves(plan, AS_OF)], approvers, rules, LATER).values()) == {Kind.DEACTIVATE}


def test_who_may_approve_may_reject(plan: Plan, approvers: Approvers) -> None:
    """Then nothing is approved, whoever signed; a stranger rejects nothing."""
    with pytest.raises(ApprovalError, match="rejected"):
        answered(plan, approvers, answer(BOB), answer(CAT, approves=False), approvals=[BOB.approves(plan, AS_OF)])
    assert answered(plan, approvers, answer(BOB), answer(EVE, approves=False)) == {"deactivate"}


def test_one_person_is_not_two(plan: Plan, tmp_path: Path) -> None:
    """By two keys of one name, or by two names of one key."""
    other, alias = Approver(BOB.name), replace(BOB, name="robert@example.com")
    path = tmp_path / "signers"
    path.write_text("\n".join(one.line for one in (BOB, other, alias)))
    approvers = Approvers.read(path)
    plan = plan.model_copy(update={"approvers_sha256": approvers.sha256})
    for second in (other, alias):
        found = through(plan, approvers, BOB.approves(plan, AS_OF), second.approves(plan, AS_OF))
        assert set(found.values()) == {Kind.DEACTIVATE}


@pytest.mark.parametrize(
    ("approver", "changes", "said"),
    [
        (EVE, {}, "not the approver's"),
        (EVE, {"approver": BOB.name}, "not the approver's"),
        (BOB, {"approver": CAT.name}, "not the approver's"),
        (BOB, {"namespace": "git"}, "not the approver's"),
        (BOB, {"plan_sha256": "0" * 64}, "another plan"),
        (BOB, {"plan_id": "plan-2"}, "another plan"),
        (BOB, {"items": ("three",)}, "no item three"),
        (BOB, {"at": AS_OF - timedelta(seconds=1)}, "too old"),
        (BOB, {"at": AS_OF + timedelta(hours=2)}, "too old"),
        (ANN, {}, "author approved"),
    ],
)
def test_what_is_no_approval_stops_everything(
    plan: Plan, approvers: Approvers, approver: Approver, changes: dict[str, Any], said: str
) -> None:
    """Beside a good one, too: somebody tried something."""
    with pytest.raises(ApprovalError, match=said):
        through(plan, approvers, CAT.approves(plan, AS_OF), approver.approves(plan, AS_OF, **changes))


def blob(*parts: bytes) -> str:
    """A signature of these parts, in its armour."""
    content = base64.b64encode(b"".join(parts)).decode()
    return f"-----BEGIN SSH SIGNATURE-----\n{content}\n-----END SSH SIGNATURE-----\n"


def framed(content: bytes) -> bytes:
    """As SSH writes a string."""
    return struct.pack(">I", len(content)) + content


HEAD = b"SSHSIG" + struct.pack(">I", 1)
RAW = framed(b"ssh-ed25519")


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "no signature",
        "\N{SNOWMAN}",
        blob(b"SSHSIG"),
        blob(HEAD),
        blob(HEAD, framed(b"\xff"), framed(b"auditor-plan"), framed(b""), framed(b"sha512"), framed(b"")),
        blob(HEAD, framed(RAW), framed(b"auditor-plan"), framed(b""), framed(b"sha512"), framed(b"")),
        blob(HEAD, framed(RAW), framed(b"auditor-plan"), framed(b""), framed(b"\xff"), framed(b"x")),
        blob(HEAD, framed(RAW), framed(b"auditor-plan"), framed(b""), framed(b"shake_128"), framed(b"x")),
        blob(HEAD, framed(RAW + framed(b"x")), framed(b"auditor-plan"), framed(b""), framed(b"sha512"), framed(b"x")),
        BOB.signature(b"x").replace("U1NIU0lH", "U1NIU0lI"),
    ],
)
def test_what_is_no_signature_at_all_is_nobodys(plan: Plan, approvers: Approvers, signature: str) -> None:
    """However it is broken: it is refused as any other that is not the approver's, and never ends the program."""
    broken = BOB.approves(plan, AS_OF).model_copy(update={"signature": signature})
    assert signed_by(broken, approvers) is None


def test_an_approval_is_used_soon_or_not_at_all(plan: Plan, approvers: Approvers) -> None:
    """A day for what is disruptive, three for a rotation."""
    for kind, hours in ((Kind.DELETE, 24), (Kind.ROTATE, 72)):
        approval = BOB.approves(plan, AS_OF, through=kind)
        last = AS_OF + timedelta(hours=hours, seconds=-1)
        assert approved(plan, [approval], approvers, Rules(), last)
        with pytest.raises(ApprovalError, match="too old"):
            approved(plan, [approval], approvers, Rules(), last + timedelta(seconds=1))


def test_a_plan_that_was_changed_is_another(plan: Plan, approvers: Approvers) -> None:
    """Whatever was changed in it, and so is one whose approvers are not those of today."""
    approval = BOB.approves(plan, AS_OF)
    wider = plan.model_copy(update={"expires_at": plan.expires_at + timedelta(days=1)})
    with pytest.raises(ApprovalError, match="the plan was changed"):
        through(wider, approvers, approval)
    with pytest.raises(ApprovalError, match="Who may approve is not what it was"):
        through(plan, replace(approvers, sha256="0" * 64), approval)


def test_lines_that_do_not_allow_it(plan: Plan, tmp_path: Path) -> None:
    """Another namespace, an authority, a time that is over: as OpenSSH reads them."""
    name, rest = BOB.line.split(" ", 1)
    for options, allowed in (
        ('namespaces="git"', False),
        ('namespaces="git,auditor-plan"', True),
        ("cert-authority", False),
        ('valid-before="20261101"', False),
        ('valid-after="20261101",valid-before="20270101"', True),
        ('valid-after="soon"', False),
    ):
        path = tmp_path / "signers"
        path.write_text(f"{name} {options} {rest}\n")
        assert (signed_by(BOB.approves(plan, AS_OF), Approvers.read(path)) is not None) is allowed, options


def test_names_that_a_line_excludes(plan: Plan, tmp_path: Path) -> None:
    """A pattern that begins with ! takes back what the others allow; brackets are letters."""
    _, rest = BOB.line.split(" ", 1)
    for names, allowed in (
        ("*@example.com", True),
        ("*,!bob@example.com", False),
        ("*,!b*", False),
        ("!cat@example.com,*", True),
        ("[b]ob@example.com", False),
    ):
        path = tmp_path / "signers"
        path.write_text(f"{names} {rest}\n")
        assert (signed_by(BOB.approves(plan, AS_OF), Approvers.read(path)) is not None) is allowed, names


def test_a_signature_and_a_reply_of_one_person_are_one(plan: Plan, approvers: Approvers) -> None:
    """Whatever name he has in Slack."""
    line = f"bob {BOB.line.partition(' ')[2]}"
    known = Approvers.parse(f"{approvers.text}{line}\n", "x")
    theirs = plan.model_copy(update={"approvers_sha256": known.sha256})
    rules = Rules(2, 2, ANN.name, (Answer("bob", approves=True, at=LATER, where="slack:C1/1"),))
    assert approved(theirs, [BOB.approves(theirs, LATER)], known, rules, LATER) == {}
    other = replace(rules, answers=(Answer(CAT.name, approves=True, at=LATER, where="slack:C1/2"),))
    assert approved(theirs, [BOB.approves(theirs, LATER)], known, other, LATER)


@pytest.mark.parametrize(
    ("author", "is_his"),
    [("bob", True), ("BOB@example.com", True), ("bob@other.example", False), ("bo", False), ("bob.smith", False)],
)
def test_a_login_is_the_address_that_begins_with_it(
    plan: Plan, approvers: Approvers, author: str, *, is_his: bool
) -> None:
    """Who plans as he is logged in, and approves as his line names him, is one person; by a signature or a reply."""
    replied = (Answer(BOB.name, approves=True, at=LATER, where="slack:C1/1"),)
    if is_his:
        with pytest.raises(ApprovalError, match="author approved"):
            through(plan, approvers, BOB.approves(plan, LATER), author=author)
    else:
        assert through(plan, approvers, BOB.approves(plan, LATER), author=author)
    assert bool(approved(plan, [], approvers, Rules(author=author, answers=replied), LATER)) is not is_his


def test_the_author_is_known_by_the_key_as_well(plan: Plan, tmp_path: Path) -> None:
    """Another name for it, that the file allows, approves nothing."""
    alias = replace(ANN, name="anna@example.com")
    path = tmp_path / "signers"
    path.write_text("\n".join(one.line for one in (ANN, alias, BOB)))
    approvers = Approvers.read(path)
    plan = plan.model_copy(update={"approvers_sha256": approvers.sha256})
    with pytest.raises(ApprovalError, match="author approved"):
        through(plan, approvers, alias.approves(plan, AS_OF))


def test_plans_and_approvals_are_read_strictly(plan: Plan) -> None:
    """What is not known in them is not passed over."""
    assert read_plan(plan.content, "p") == plan
    assert read_plan(plan.content, "p").digest == plan.digest
    for wrong in (b"", b"{}", plan.content.replace(b'"schema"', b'"more":1,"schema"', 1)):
        with pytest.raises(UsageError, match="not a plan"):
            read_plan(wrong, "p")
    approval = BOB.approves(plan, AS_OF)
    content = approval.model_dump_json(by_alias=True).encode()
    assert read_approval(content, "a") == approval
    with pytest.raises(ApprovalError):
        read_approval(content.replace(b'"reason"', b'"reasons"'), "a")


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH's client is not here")
@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_signatures_of_openssh_itself(plan: Plan, tmp_path: Path, kind: str) -> None:
    """Made by ssh-keygen, read by the library, or by ssh-keygen where the library does not know the kind of key."""
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(key)], check=True)
    public = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    path = tmp_path / "signers"
    path.write_text(f"bob@example.com {public}\n")
    statement = Statement(
        plan_id=plan.id, plan_sha256=plan.digest, approver=BOB.name, through=Kind.ROTATE, reason="r", at=AS_OF
    )
    approval = sign(statement, key)
    assert signed_by(approval, Approvers.read(path)) == public
    other = approval.model_copy(update={"statement": statement.model_copy(update={"reason": "another"})})
    assert signed_by(other, Approvers.read(path)) is None
