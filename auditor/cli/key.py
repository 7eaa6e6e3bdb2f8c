"""`auditor key`: the manual procedure for one user's keys, with the same engine and the same guards."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from auditor.cli.audit import confirm_ids
from auditor.cli.options import ConfigPath, EndpointUrl, Json, Profile, Verbose
from auditor.cli.output import print_json, say, set_up_logging
from auditor.cli.remediate.applying import carry_out
from auditor.cli.remediate.shared import (
    EXIT_UNAPPROVED,
    Reason,
    Who,
    author_of,
    kind_of,
    login,
    means_of,
    say_meanwhile,
    telling_aws,
)
from auditor.errors import OutputError, UsageError
from auditor.secret import forbid_dumps

if TYPE_CHECKING:
    from auditor.model import LiveKey
    from auditor.remediation.plan import Plan
    from auditor.remediation.tracked import Tracked
    from auditor.remedy.means import Means
    from auditor.remedy.of_user import Wish

app = typer.Typer(
    no_args_is_help=True,
    help="One user's keys: list, rotate, deactivate, activate and delete them, step by step. Your own at once; those "
    "of others when somebody else approved it.",
)

User = Annotated[str | None, typer.Option("--user", metavar="NAME", help="The IAM user; you, by default.")]
AccountId = Annotated[
    str | None, typer.Option("--account", metavar="ID", help="The user's account; yours, by default.")
]
KeyId = Annotated[str | None, typer.Argument(metavar="[KEY]", help="The key's id; the only one that it can be.")]
Owner = Annotated[
    str | None,
    typer.Option("--owner", metavar="NAME", help="Who is told before; by default whom its tags name."),
]
Simulate = Annotated[bool, typer.Option("--simulate", help="Tell what would be done; nothing is changed.")]


@app.command("list")
def list_(
    user: User = None,
    account: AccountId = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """List a user's keys as AWS shows them now: status, age, last use, and what is under way. Reads only.

    **Examples**

    - `auditor key list` - your own
    - `auditor key list --user ci-deploy --account 222222222222`
    """
    set_up_logging(verbose)
    from auditor.remedy.of_user import subject_of, under_way

    means = means_of(config, profile, endpoint_url, None)
    with telling_aws():
        subject = subject_of(means, user, _account(account))
        item, doubt = None, None
        try:
            item = under_way(means, subject)
        except OutputError as error:  # the keys are there all the same
            doubt = f"What is under way is not known: {error}"
            sys.stderr.write(f"{doubt}\n")
    person = subject.person
    if json:
        keys = [_document(key) for key in subject.keys]
        open_item = item.item.id if item else None
        told = {"account_id": person.account_id, "user": person.name, "keys": keys, "under_way": open_item}
        print_json(told | ({"problem": doubt} if doubt else {}))
        return
    say(f"{person.name} in account {person.account_id}{' (you)' if subject.own else ''}", "bold")
    if not subject.keys:
        say("There are no keys.", indent=2)
    for key in subject.keys:
        age = (means.timing.now() - key.created_at).days
        say(f"{key.access_key_id}  {key.status.value:8}  {age} days old, {_use(key)}", indent=2)
    if item:
        say(f"Under way: {item.item.kind.value} of {item.item.key.id}; `auditor remediate status {item.item.id}`")


def _document(key: "LiveKey") -> dict[str, Any]:
    from auditor.model import NeverUsed, UsedAt

    used = key.last_used
    return {
        "access_key_id": key.access_key_id,
        "status": key.status.value,
        "created_at": key.created_at.isoformat(),
        "last_used": "never" if isinstance(used, NeverUsed) else "known" if isinstance(used, UsedAt) else "unknown",
        "last_used_at": used.at.isoformat() if isinstance(used, UsedAt) else None,
        "last_used_service": used.service if isinstance(used, UsedAt) else None,
        "last_used_region": used.region if isinstance(used, UsedAt) else None,
    }


def _use(key: "LiveKey") -> str:
    from auditor.formats.words import minute
    from auditor.model import NeverUsed, UsedAt

    match key.last_used:
        case UsedAt(at, service, region):
            place = f" in {region}" if region else ""
            return f"last used {minute(at)}Z by {service or 'a service'}{place}"
        case NeverUsed():
            return "never used"
        case unknown:
            return f"whether it is used is not known: {unknown.why}"


@app.command("rotate")
def rotate(
    reason: Reason,
    key: KeyId = None,
    user: User = None,
    account: AccountId = None,
    through: Annotated[
        str, typer.Option("--through", help="How far the old key is taken: rotate, deactivate or delete.")
    ] = "rotate",
    simulate: Simulate = False,
    who: Who = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Make a second key while the first works, store its secret, and prove that it does; the old one goes on working.

    Your own new key takes the old one's place in your profile of the shared credentials file. Somebody else's goes to
    the store of the configuration, once others approved it: the command makes the plan, and says what comes next. The
    same command goes on with what it began.

    **Examples**

    - `auditor key rotate --reason "90 days"` - your own, in the profile that signs the call
    - `auditor key rotate --profile work --through deactivate --reason "90 days"` - and switch the old one off, when the
      new one is in use and nobody used the old one for a while
    - `auditor key rotate --user ci-deploy --account 222222222222 --reason "left the team"`
    """
    set_up_logging(verbose)
    from auditor.remedy.of_user import Wish

    name = profile or os.environ.get("AWS_PROFILE") or "default"
    wish = Wish(kind_of("rotate"), kind_of(through), reason, key, profile=name)
    means = means_of(config, profile, endpoint_url, None)
    _wanted(means, wish, (user, account), who, simulate=simulate, json=json)


@app.command("deactivate")
def deactivate(
    reason: Reason,
    key: KeyId = None,
    user: User = None,
    account: AccountId = None,
    owner: Owner = None,
    leaked: Annotated[
        bool, typer.Option("--leaked", help="Others may have it: do not wait until nobody uses it any more.")
    ] = False,
    simulate: Simulate = False,
    who: Who = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Switch a key off that nobody uses any more: it can be switched on again, which a deleted one cannot.

    **Examples**

    - `auditor key deactivate AKIA... --reason "moved to the new key"`
    - `auditor key deactivate AKIA... --leaked --reason "was in a public repository"` - at once
    """
    set_up_logging(verbose)
    from auditor.remedy.of_user import Wish

    kind = kind_of("deactivate")
    wish = Wish(kind, kind, reason, key, owner=owner, leaked=leaked)
    means = means_of(config, profile, endpoint_url, None)
    _wanted(means, wish, (user, account), who, simulate=simulate, json=json)


@app.command("delete")
def delete(
    reason: Reason,
    key: KeyId = None,
    user: User = None,
    account: AccountId = None,
    owner: Owner = None,
    simulate: Simulate = False,
    who: Who = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Delete a key that was switched off here long enough ago, and that nobody asked for since. There is no way back.

    **Examples**

    - `auditor key delete AKIA... --reason "inactive for two weeks"`
    """
    set_up_logging(verbose)
    from auditor.remedy.of_user import Wish

    kind = kind_of("delete")
    wish = Wish(kind, kind, reason, key, owner=owner)
    means = means_of(config, profile, endpoint_url, None)
    _wanted(means, wish, (user, account), who, simulate=simulate, json=json)


@app.command("activate")
def activate(
    reason: Reason,
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key's id.")],
    user: User = None,
    account: AccountId = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    verbose: Verbose = 0,
) -> None:
    """Switch a key on again, at once: something still needs it. Needs no approval.

    **Examples**

    - `auditor key activate AKIA... --user ci-deploy --account 222222222222 --reason "nightly job fails"`
    """
    set_up_logging(verbose)
    from auditor.remedy.of_user import subject_of, track_of
    from auditor.remedy.rollback import switch_on

    means = means_of(config, profile, endpoint_url, None)
    with telling_aws():
        subject = subject_of(means, user, _account(account))
        person = subject.person
        if key not in {one.access_key_id for one in subject.keys}:
            step = "`auditor key list` shows its keys; what is deleted is gone."
            raise UsageError(f"{person.name} has no key {key}.", next_step=step)
        tracked = track_of(means, key)
        is_ours = tracked is not None and tracked.item.own is subject.own
        if tracked is not None and is_ours:
            switch_on(means, tracked.item.id, (None, None), reason, say_meanwhile)
        else:  # with one's own rights, where the plan was others'
            switch_on(means, key, (person.account_id, person.name), reason, say_meanwhile)
    say(f"{key} is active again.", "bold")


def _wanted(
    means: "Means", wish: "Wish", whose: tuple[str | None, str | None], who: str | None, *, simulate: bool, json: bool
) -> None:
    """Go on with what is under way for this wish, begin what is approved, or plan it."""
    from auditor.remedy.of_user import (
        Asked,
        claim_for,
        plan_for,
        subject_of,
        under_way,
        waiting_plan,
    )

    forbid_dumps()
    with telling_aws():
        subject = subject_of(means, whose[0], _account(whose[1]))
        tracked = under_way(means, subject, wish.key_id)
        if tracked is not None and not _gives_way(tracked, wish):
            item = tracked.item
            if item.kind is not wish.kind or wish.key_id not in {None, item.key.id}:
                what = f"The {item.kind.value} of {item.key.id} is under way for {item.user}: one key at a time."
                step = f"`auditor remediate status {item.id}` says what it waits for."
                if wish.leaked:
                    step = (
                        f"`auditor remediate close {item.id} --reason TEXT` ends it where it is; then run this again."
                    )
                raise UsageError(what, next_step=step)
            carry_out(means, item, simulate=simulate, json=json)
            return
        found = waiting_plan(means, subject, wish)
        author = who or login() if subject.own else author_of(means, who)
        asked = found or Asked(plan_for(means, subject, wish, author))
        plan = asked.plan
        if not plan.items:
            blocked = plan.blocked[0]
            raise UsageError(f"Not possible: {blocked.reason} ({blocked.code}).", next_step=blocked.advice)
        if simulate:
            carry_out(means, plan, simulate=True, json=json)
            return
        if not (subject.own or asked.approvals or asked.answers):
            _ask_for_approval(means, plan, is_new=found is None, json=json)
        claim_for(means, asked, own=subject.own)
        carry_out(means, plan, simulate=False, json=json)
    if wish.kind.value == "rotate" and not json:
        _say_where(plan)


def _gives_way(tracked: "Tracked", wish: "Wish") -> bool:
    """Whether what is under way is no obstacle to switching a leaked key off: it is about another, or can end."""
    from auditor.remedy.carrying_out import can_give_way

    is_others = wish.key_id not in {None, tracked.item.key.id}
    return wish.leaked and (is_others or can_give_way(tracked))


def _ask_for_approval(means: "Means", plan: "Plan", *, is_new: bool, json: bool) -> NoReturn:
    """Keep the plan, and say what others have to do before anything is changed."""
    from auditor.cli.plan_words import say_plan
    from auditor.history.disk import write_whole

    path = means.folder / f"{plan.id}.json"
    if is_new:
        means.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, plan.content)
    if json:
        print_json({"plan": str(path), "sha256": plan.digest, **plan.model_dump(mode="json", by_alias=True)})
        raise typer.Exit(EXIT_UNAPPROVED)
    say_plan(plan)
    say("")
    say("Nothing was changed: it is somebody else's key, and nobody else approved it yet.", "bold")
    say(f"Next: have it approved: auditor remediate approve {path} --sign-with ~/.ssh/id_ed25519 --reason TEXT")
    say(f"Or post it for a reply: auditor remediate show {path} --format slack")
    say("Then: the same command again, or `auditor remediate apply`.")
    raise typer.Exit(EXIT_UNAPPROVED)


def _say_where(plan: "Plan") -> None:
    """Where the new key is, and what comes next."""
    (item,) = plan.items
    if item.delivery is not None and item.delivery.file:
        say(f"The profile {item.delivery.secret} of {item.delivery.file} has the new key.")
    if item.through is item.kind:
        say(f"{item.key.id} works on. Next, when nothing uses it any more:")
        whose = "" if item.own else f" --user {item.user} --account {item.account_id}"
        say(f"auditor key deactivate {item.key.id}{whose} --reason TEXT", indent=2)


def _account(account: str | None) -> str | None:
    confirm_ids([account] if account else [], where="--account")
    return account
