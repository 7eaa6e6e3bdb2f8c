"""A plan in words: as lines of the terminal, and as the page that is rendered of it."""

from collections.abc import Iterator
from datetime import timedelta

from auditor.cli.output import say
from auditor.formats.plan_page import Change, NotPlanned, PlannedItem, PlanPage
from auditor.formats.words import counted, minute
from auditor.model import ControlId
from auditor.remediation.lifecycle import NOTICE, NOTICE_OF_DELETION, SHARED
from auditor.remediation.plan import WARNING, Among, Item, Kind, Plan
from auditor.remediation.plan_facts import destination, reader, waits


def say_plan(plan: Plan) -> None:
    """The plan on the terminal."""
    page = page_of(plan)
    say(f"{page.id}, code {page.code}", "bold")
    made = f"{minute(plan.created_at)}Z"
    say(
        f"By {plan.author.person} ({plan.author.arn}), {made}; may be begun until {minute(plan.expires_at)}Z. "
        f"{_origin(plan)}{f', chosen among {_among(plan.among)}' if plan.among else ''}."
    )
    if plan.accounts_not_read:
        say(f"Not planned for, because the run could not read them: {', '.join(plan.accounts_not_read)}.")
    if not plan.items:
        say("Nothing is to be done.")
    for item in page.items:
        say("")
        _say_item(item)
    if page.not_planned:
        say("")
        say(page.left_out, "bold")
    for one in page.not_planned:
        say(f"{one.where} {one.key}: {one.reason} ({one.code})", indent=2)
        say(f"Next: {one.advice}", indent=4)


def _say_item(item: PlannedItem) -> None:
    say(f"{item.id}  {item.what}  {item.where}  {item.key}", "bold")
    for control, reason in item.because:
        say(f"because  {control}: {reason}" if control != WARNING else reason, indent=4)
    say("; ".join(f"{label.lower()} {value}" for label, value in item.facts), "dim", indent=4)
    if item.goes_to:
        say(f"goes to  {item.goes_to}", indent=4)
    for one in item.readers:
        say(f"read by  {one}", indent=4)
    for change in item.changes:
        say(f"{change.sign} {change.what}", indent=4)
        if change.undo:
            say(f"  undo: {change.undo}", indent=4)


def page_of(plan: Plan) -> PlanPage:
    """All that is to be said of a plan."""
    limits = plan.limits
    caps = f"{counted(limits.max_items, 'key')}, {limits.max_per_account} in an account, {limits.max_percent} % of all"
    facts = [
        ("Planned by", f"{plan.author.person} ({plan.author.arn})"),
        ("At", f"{minute(plan.created_at)}Z"),
        ("May be begun until", f"{minute(plan.expires_at)}Z"),
        ("Origin", _origin(plan)),
        ("Caps", f"{caps}; {limits.max_disruptions_per_tick} switched off or deleted at a time"),
        *([("Chosen among", _among(plan.among))] if plan.among else []),
    ]
    if plan.accounts_not_read:
        facts.append(("Not planned for, because not read", ", ".join(plan.accounts_not_read)))
    return PlanPage(
        id=plan.id,
        code=plan.code,
        sha256=plan.digest,
        headline=_headline(plan),
        facts=facts,
        items=[_item(item) for item in plan.items],
        left_out=_left_out(plan),
        not_planned=[
            NotPlanned(
                where=f"{one.account_name or one.account_id}/{one.user}",
                key=one.key_id or "",
                code=one.code,
                reason=one.reason,
                advice=one.advice,
            )
            for one in plan.blocked
        ],
    )


def _left_out(plan: Plan) -> str:
    """How many keys nothing is planned for; one that goes less far than was asked is planned all the same."""
    planned = {item.key.id for item in plan.items}
    in_part = sum(one.key_id in planned for one in plan.blocked)
    counts = {"Not planned": len(plan.blocked) - in_part, "Planned in part": in_part}
    return "; ".join(f"{words}: {counted(count, 'key')}" for words, count in counts.items() if count)


def _origin(plan: Plan) -> str:
    return f"From run {plan.run_id}" if plan.run_id else "Asked for by a person"


def _among(among: Among) -> str:
    used = ", ".join(f"{count} in {account}" for account, count in sorted(among.in_use.items()))
    return f"{counted(among.active_keys, 'active key')}{f'; used lately: {used}' if used else ''}"


def _headline(plan: Plan) -> str:
    words = {Kind.ROTATE: "to rotate", Kind.DEACTIVATE: "to switch off", Kind.DELETE: "to delete"}
    counts = {kind: sum(item.covers(kind) for item in plan.items) for kind in Kind}
    told = [f"{counted(count, 'key')} {words[kind]}" for kind, count in counts.items() if count]
    return ", ".join(told) or "Nothing is to be done"


def _item(item: Item) -> PlannedItem:
    used = item.key.last_used
    last = f"{minute(used.at)}Z by {used.service or 'a service'}" if used.at else "never"
    more = [("Inactive since", f"{minute(item.inactive_since)}Z")] if item.inactive_since else []
    more += [("Waits", said)] if (said := waits(item)) else []
    told = item.delivery
    return PlannedItem(
        id=item.id,
        what=item.kind.value if item.kind is item.through else f"{item.kind.value}, through {item.through.value}",
        where=item.where,
        key=item.key.id,
        because=[(basis.control, basis.reason) for basis in item.basis],
        facts=[
            ("Last used", last),
            ("Owner", item.owner or "not known"),
            ("Created", f"{minute(item.key.created_at)}Z"),
            *more,
        ],
        goes_to=f"{told.secret} in {destination(told)}" if told else "",
        readers=[reader(one) for one in told.readers] if told else [],
        changes=list(_changes(item)),
    )


def _leak(item: Item) -> str:
    """How it is known that others may have the key."""
    is_found = any(basis.control == ControlId.QUARANTINED_KEY for basis in item.basis)
    return "AWS found it exposed" if is_found else "it leaked, by the word of who planned it"


def _changes(item: Item) -> Iterator[Change]:
    waits, key = item.waits, item.key.id
    if item.delivery is not None:
        place = item.delivery.place
        mail = (
            f", with SMTP passwords for {', '.join(item.delivery.smtp_regions)}" if item.delivery.smtp_regions else ""
        )
        made = f"when it is applied, a second key is made, its secret kept as {place}{mail}, and proved"
        is_read_again = item.delivery.current is not None and item.delivery.store in SHARED
        undo = f"auditor remediate rollback {item.id} --reason TEXT" if is_read_again else None
        yield Change("+", f"{made}; {key} works on{'' if undo else ', so there is nothing to undo'}", undo or "")
    if item.covers(Kind.DEACTIVATE):
        moved = f"when the new one is in use, {counted(waits.grace_days, 'day')} later at the earliest, and "
        because = f" ({waits.why})" if waits.why else ""
        hours = NOTICE // timedelta(hours=1)
        quiet = f"the key was quiet for {counted(waits.quiet_days, 'day')}{because}, announced {hours} hours before"
        when = f"{moved if item.delivery else 'when '}{quiet}"
        when = f"at once: {_leak(item)}" if item.urgent else when
        yield Change("~", f"{key} is switched off {when}", f"auditor remediate rollback {item.id} --reason TEXT")
    if item.covers(Kind.DELETE):
        hours = NOTICE_OF_DELETION // timedelta(hours=1)
        when = f"after {waits.quarantine_days} days inactive, announced {hours} hours before"
        yield Change("-", f"{key} is deleted {when}; this cannot be undone")
