"""A plan in a channel of Slack, and what people reply to it in its thread.

A reply is a deliberate act of a person at a time, bound to the code of one plan, which a reaction is not. What Slack
says of it is all that there is: no signature can be kept, so it is never enough for what cannot be undone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from slack_sdk.errors import SlackApiError, SlackClientError

from auditor.notify.message import Message, NotSentError
from auditor.notify.slack import SlackChannel, escaped, failure_of, thread_of

NO_MEMBER = ("deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger", "is_workflow_bot")
"""What a user may not be who decides (Slack: user object): gone, a program, a guest, or of another company."""


@dataclass(frozen=True, slots=True)
class Posted:
    """Where a plan was posted."""

    channel: str
    ts: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a member replied: `approve CODE`, or `reject CODE`."""

    user: str
    at: datetime
    ts: str
    approves: bool


def post_plan(slack: SlackChannel, plan: Message, digest: str, said: str) -> Posted:
    """Post a plan and how to answer it, if it is not there already; where it is.

    Args:
        slack: the channel.
        plan: what is to be known of it.
        digest: its SHA-256, which replies are bound to.
        said: its code.

    Raises:
        NotSentError: it was not posted, or nobody knows.
    """
    how = f"Reply in this thread `approve {said}` or `reject {said}`. Deleting needs signatures."
    return Posted(*slack.post_once(plan, f"{escaped(plan.title)} {digest}", how))


def reply(slack: SlackChannel, posted: Posted, said: Message) -> None:
    """Say something of a plan in its thread, if it is not said there already.

    Raises:
        NotSentError: it was not posted, or nobody knows.
    """
    replace(slack, channel=posted.channel, thread=posted.ts).post_once(said)


def replies_to(slack: SlackChannel, posted: Posted, digest: str, said: str) -> list[Reply]:
    """What members replied to a plan, in order; only what is exactly an answer, and was not edited.

    Raises:
        NotSentError: the thread cannot be read, or the message at its head is not what was posted for this plan.
    """
    try:
        bot = slack.client.auth_test()
        head, *answers = thread_of(slack.client, posted.channel, posted.ts)
        if head.get("bot_id") != bot.get("bot_id") or "edited" in head or digest not in str(head.get("text", "")):
            raise NotSentError("the message is not what was posted for this plan")
        found = [it for one in answers if (it := _reply(one, posted, said)) is not None]
        members = {user: _is_member(slack, user) for user in {it.user for it in found}}
    except (SlackApiError, SlackClientError, OSError, ValueError) as error:
        raise NotSentError(failure_of(error)) from None
    return [it for it in found if members[it.user]]


def _reply(message: Mapping[str, Any], posted: Posted, said: str) -> Reply | None:
    words = str(message.get("text", "")).replace("`", "").casefold().split()
    says_no = words == ["reject", said]  # however it was sent, and whether it was something else before
    is_persons = not any(message.get(name) for name in ("bot_id", "app_id"))
    is_plain = not any(message.get(name) for name in ("edited", "subtype"))
    user, ts = message.get("user"), str(message.get("ts", "0"))
    at, after = _instant(ts), _instant(posted.ts)
    if not user or not is_persons or at is None or after is None or at <= after:
        return None
    if not says_no and not (is_plain and words == ["approve", said]):
        return None
    return Reply(str(user), at, ts, not says_no)


def _instant(ts: str) -> datetime | None:
    """When a message was written; None where that is no time."""
    try:
        return datetime.fromtimestamp(float(ts), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _is_member(slack: SlackChannel, user: str) -> bool:
    told = slack.client.users_info(user=user).get("user") or {}
    return told.get("id") == user and not any(told.get(name) for name in NO_MEMBER)
