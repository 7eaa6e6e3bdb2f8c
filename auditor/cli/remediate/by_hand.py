"""`auditor remediate orphans|hold|release|close|confirm|rollback`: what a person does in between."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli.options import Accounts, ConfigPath, EndpointUrl, Json, Profile, Verbose
from auditor.cli.output import print_json, say, set_up_logging
from auditor.cli.remediate.shared import (
    EXIT_PERSON,
    EXIT_UNREAD,
    ItemId,
    Reason,
    Who,
    login,
    means_of,
    say_meanwhile,
    telling_aws,
)

if TYPE_CHECKING:
    from auditor.remediation.orphans import Orphan


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
    from auditor.remedy.by_hand import orphans_in

    confirm_ids(account or (), where="--account")
    with telling_aws():
        found = orphans_in(means_of(config, profile, endpoint_url, None), account or ())
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


def hold(
    item: ItemId,
    reason: Reason,
    who: Who = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Hold an item: nothing is done about it until somebody releases it."""
    from auditor.remediation.journal import Event
    from auditor.remedy.by_hand import tell_journal

    with telling_aws():
        means = means_of(config, profile, endpoint_url, None)
        tell_journal(means, item, Event.HELD, reason=reason, by=who or login())
    say(f"{item} is held.")


def release(
    item: ItemId,
    reason: Reason,
    who: Who = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Release an item that is held, or say that what a person was asked for is settled; waits begin anew."""
    from auditor.remediation.journal import Event
    from auditor.remedy.by_hand import tell_journal

    with telling_aws():
        means = means_of(config, profile, endpoint_url, None)
        held = tell_journal(means, item, Event.RELEASED, reason=reason, by=who or login()).done.held
    if held is not None:
        say(f"What was asked about {item} is settled. It is held all the same ({held}): release it once more to go on.")
        return
    say(f"{item} goes on with the next tick.")


def close(
    item: ItemId,
    reason: Reason,
    unsettled: Annotated[
        bool, typer.Option("--unsettled", help="Also where a step has no result, as when an account is closed.")
    ] = False,
    who: Who = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """End an item where it is: nothing more is done about it, and its keys stay as they are. Later plans may have them.

    For what a person was asked about and does not go on with, such as a key that somebody else switched off.

    **Examples**

    - `auditor remediate close 4be1... --reason "forensics has the key"`
    - `auditor remediate close 4be1... --unsettled --reason "the account is closed"`
    """
    from auditor.remedy.by_hand import close_item

    with telling_aws():
        means = means_of(config, profile, endpoint_url, None)
        closed = close_item(means, item, reason, who or login(), unsettled=unsettled)
    say(f"{item} is closed. {closed.item.key.id} of {closed.item.where} stays as it is.")
    new, made, held = closed.done.new_key, closed.made, closed.item.delivery
    if new is not None:
        is_read = "" if closed.done.was_published else " that no application read yet: delete it, or it is in the way"
        say(f"So does {new}, which was made for it; its secret is in {held.place if held else '-'}{is_read}.")
    elif any(row.told["step"] == "create" for row in closed.begun):
        say(f"There may be a key of which nobody has the secret: {made or 'look at what keys the user has'}.")


def confirm(
    item: ItemId,
    reason: Reason,
    who: Who = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Say that the application uses the new key, where that cannot be seen. The old one must be quiet all the same."""
    from auditor.remediation.journal import Event
    from auditor.remedy.by_hand import tell_journal

    with telling_aws():
        tell_journal(
            means_of(config, profile, endpoint_url, None), item, Event.CONFIRMED, reason=reason, by=who or login()
        )
    say(f"{item}: the new key counts as adopted, by your word.")


def rollback(
    item: Annotated[str, typer.Argument(metavar="ITEM|KEY", help="An item's id, or an access key id.")],
    reason: Reason,
    account: Annotated[str | None, typer.Option("--account", help="The account of the access key.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="The user of the access key.")] = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
) -> None:
    """Switch a key on again, at once. Needs no approval, and with KEY, --account and --user no journal.

    What is deleted is gone. Where somebody else is at work with the journal, the key is on at once and kept on until
    the journal can be told.

    **Examples**

    - `auditor remediate rollback 4be1... --reason "the nightly job fails"`
    - `auditor remediate rollback AKIA... --account 222222222222 --user ci-deploy --reason "the nightly job fails"`

    Exit codes: 4 it could not be switched on, 6 it is on (after Ctrl-C: maybe), but the journal could not be told, or
    what applications read could not be moved back: do it again.
    """
    from auditor.cli.audit import confirm_ids
    from auditor.remedy.rollback import switch_on

    confirm_ids([account] if account is not None else [], where="--account")
    with telling_aws():
        means = means_of(config, profile, endpoint_url, None)
        key = switch_on(means, item, (account, user), reason, say_meanwhile)
    say(f"{key} is active again.", "bold")
