"""`auditor remediate status`: where every key stands."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli.options import ConfigPath, EndpointUrl, Json, Profile
from auditor.cli.output import print_json, say
from auditor.cli.remediate.shared import means_of, telling_aws, whose_turn
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.remediation.progress import Ledger
    from auditor.remediation.tracked import Tracked


def status(
    item: Annotated[str | None, typer.Argument(metavar="ITEM", help="One item.")] = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
) -> None:
    """Where every item stands, what it waits for, since when, and who must act. The journal alone is asked."""
    from auditor.formats.words import minute

    with telling_aws():
        ledger = means_of(config, profile, endpoint_url, None).ledger()
    chosen = [tracked for tracked in ledger.items.values() if item in {None, tracked.item.id}]
    if item and not chosen:
        raise UsageError(f"There is no item {item}.", next_step="Leave it out to see all.")
    if json:
        print_json([_status_document(tracked, ledger) for tracked in chosen])
        return
    if not chosen:
        say("No plan was applied yet.")
    for tracked in chosen:
        told = _status_document(tracked, ledger)
        say(f"{told['item']}  {tracked.item.where}  {told['key']}  {told['state']}", "bold")
        if told["waits_for"]:
            until = f", not before {minute(tracked.until)}Z" if tracked.until else ""
            since = f"since {minute(tracked.since)}Z" if tracked.since else ""
            say(f"{told['waits_for']}, {since}{until}{whose_turn(told['who'])}", indent=4)
        if told["failed"]:
            say(f"the last step failed: {told['failed']}", indent=4)


def _status_document(tracked: "Tracked", ledger: "Ledger") -> dict[str, Any]:
    return {
        "item": tracked.item.id,
        "plan": tracked.plan_id,
        "account_id": tracked.item.account_id,
        "user": tracked.item.user,
        "key": tracked.item.key.id,
        "new_key": tracked.done.new_key,
        "kind": tracked.item.kind.value,
        "through": tracked.item.through.value,
        "approved": tracked.approved.value if tracked.approved else None,
        "state": tracked.state(ledger.key(tracked.item.key.id)),
        "ended": tracked.ended is not None,
        "open_intent": tracked.begun[0].told["step"] if tracked.begun else None,
        "waits_for": tracked.waits_for,
        "since": tracked.since.isoformat() if tracked.since else None,
        "until": tracked.until.isoformat() if tracked.until else None,
        "who": tracked.who,
        "failed": tracked.failed,
    }
