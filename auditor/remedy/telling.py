"""People are told by the channels that are configured, and the journal keeps who was told of what."""

import logging
from collections.abc import Callable

from auditor.notify import Channels, Message, NotSentError, channels_of
from auditor.remediation.engine import NotToldError
from auditor.remediation.journal import Event, Journal
from auditor.remediation.news import Notice, untold
from auditor.remediation.progress import fold
from auditor.remedy.means import Means

log = logging.getLogger(__name__)


def channels(means: Means) -> Channels:
    """The channels of the configuration, called with the operator's own rights.

    Raises:
        UsageError: one cannot be used as it is configured.
        AwsFailure: AWS does not know the caller.
    """
    return channels_of(means.config.notify, means.own_caller())


def telling(to: Channels, also: Callable[[Notice], None]) -> Callable[[Notice], None]:
    """Tells of what comes, by the channels and by `also`; raises NotToldError where there are some and none took it."""

    def tell(notice: Notice) -> None:
        also(notice)
        if to:
            try:
                to.tell(message_of(notice))
            except NotSentError as error:
                raise NotToldError(str(error)) from error

    return tell


def catch_up(journal: Journal, to: Channels, means: Means) -> None:
    """Tell of what the journal tells of and nobody was told of yet; what no channel takes is told another time.

    Raises:
        OutputError: the journal cannot be written.
    """
    if not to:
        return
    for notice in untold(journal.rows, fold(journal.rows), means.timing.now()):
        try:
            by = to.tell(message_of(notice))
        except NotSentError as error:
            log.warning("nobody could be told of %s, which is tried again with the next tick: %s", notice.key, error)
            continue
        plan = next(row.plan for row in journal.rows if row.item == notice.item.id)
        journal.add(plan, notice.item.id, Event.TOLD, key=notice.key, by=list(by))


def message_of(notice: Notice) -> Message:
    """The notice as every channel takes it."""
    item = notice.item
    facts = [
        ("What", notice.what),
        ("Account", f"{item.account_name or ''} {item.account_id}".strip()),
        ("User", item.user),
        ("Key", item.key.id),
        ("Owner", item.owner or "not known"),
        ("Item", item.id),
    ]
    if notice.undo:
        facts.append(("Take it back", notice.undo))
    elif notice.due:
        facts.append(("Stop it", f"auditor remediate hold {item.id} --reason TEXT"))
    return Message(notice.key, _title(notice), tuple(facts), item.owner, notice.is_urgent)


def _title(notice: Notice) -> str:
    whose = f"key of {notice.item.user} in {notice.item.account_name or notice.item.account_id}"
    if notice.is_urgent:
        return f"A person is needed: {whose}"
    if notice.due:
        return f"Comes: {notice.step.value if notice.step else 'a change'}, {whose}"
    return f"{notice.what.partition(':')[0]}: {whose}"
