"""What counts as an answer to a plan in Slack: exactly the words, of a member, in the thread of what was posted."""

from collections.abc import Iterator
from typing import Any

import pytest

from auditor.notify import Message, NotSentError
from auditor.notify.slack import SlackChannel
from auditor.notify.slack_thread import Posted, post_plan, replies_to
from auditor.secret import Secret
from tests.notify.slack_server import TOKEN, Slack, serving

DIGEST, CODE = "7f3a91c2" + "0" * 56, "7f3a-91c2"


@pytest.fixture
def slack() -> Iterator[Slack]:
    with serving() as running:
        yield running


def posted(slack: Slack) -> tuple[SlackChannel, Posted]:
    """A plan in the channel."""
    channel = SlackChannel.at(slack.url, Secret(TOKEN), "C1")
    return channel, post_plan(channel, Message("plan/1", "A plan", (("Users", "<!channel>, `x`"),)), DIGEST, CODE)


def answers(channel: SlackChannel, where: Posted) -> list[tuple[str, bool]]:
    """Who answered what."""
    return [(reply.user, reply.approves) for reply in replies_to(channel, where, DIGEST, CODE)]


def test_a_plan_has_one_thread(slack: Slack) -> None:
    """Also where Slack's answer is lost, or nobody remembers where it is: else a rejection there would be missed."""
    slack.faults.append("lost")
    channel, where = posted(slack)
    assert posted(slack)[1] == where
    assert len(slack.messages) == 1
    slack.reply("U1", f"reject {CODE}")
    assert answers(channel, where) == [("U1", False)]


def test_members_answer_in_the_thread(slack: Slack) -> None:
    """Page by page, in order; what is said beside is no answer."""
    channel, where = posted(slack)
    assert "<!" not in str(slack.messages[0]["blocks"])
    slack.reply("U1", f"approve {CODE}")
    slack.reply("U2", "looks good to me")
    slack.reply("U3", f" Reject `{CODE.upper()}` ")
    slack.reply("U4", f"approve {CODE}")
    assert answers(channel, where) == [("U1", True), ("U3", False), ("U4", True)]


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("approve 0000-0000", {}),
        ("approve", {}),
        (f"approve {CODE} please", {}),
        (f"I do not approve {CODE}", {}),
        (f"approve {CODE}", {"edited": {"user": "U1"}}),
        (f"approve {CODE}", {"bot_id": "B2"}),
        (f"approve {CODE}", {"subtype": "thread_broadcast"}),
        (f"approve {CODE}", {"seconds": -5}),
    ],
)
def test_anything_else_is_no_answer(slack: Slack, text: str, more: dict[str, Any]) -> None:
    """Another code, other words, edited, by a program, or before the plan."""
    channel, where = posted(slack)
    slack.reply("U1", text, **more)
    assert answers(channel, where) == []


@pytest.mark.parametrize("more", [{"subtype": "thread_broadcast"}, {"edited": {"user": "U0BOB"}}])
def test_a_rejection_counts_however_it_was_sent(slack: Slack, more: dict[str, Any]) -> None:
    """To the whole channel as well, or instead of something else: to say no is never too much; a program's is none."""
    channel, where = posted(slack)
    slack.reply("U1", f"reject {CODE}", **more)
    slack.reply("U2", f"reject {CODE}", **more, bot_id="B9")
    assert answers(channel, where) == [("U1", False)]


@pytest.mark.parametrize("ts", ["1e300", "inf", "nan", "soon", "99999999999999"])
def test_a_reply_of_no_time_is_no_answer(slack: Slack, ts: str) -> None:
    """And keeps no other from counting."""
    channel, where = posted(slack)
    slack.reply("U1", f"approve {CODE}")
    slack.messages.append({**slack.messages[-1], "user": "U2", "ts": ts})
    assert answers(channel, where) == [("U1", True)]


@pytest.mark.parametrize("what", ["deleted", "is_bot", "is_restricted", "is_ultra_restricted", "is_stranger"])
def test_only_members_answer(slack: Slack, what: str) -> None:
    """No guest, no program, nobody who left or is of another company."""
    channel, where = posted(slack)
    slack.users["U1"] = {what: True}
    slack.reply("U1", f"approve {CODE}")
    assert answers(channel, where) == []


@pytest.mark.parametrize("change", [{"edited": {"user": "U9"}}, {"bot_id": "B2"}, {"text": "another plan"}])
def test_a_message_that_is_not_what_was_posted_is_refused(slack: Slack, change: dict[str, Any]) -> None:
    """What people answered to could have been something else."""
    channel, where = posted(slack)
    slack.reply("U1", f"approve {CODE}")
    slack.messages[0] |= change
    with pytest.raises(NotSentError, match="not what was posted"):
        replies_to(channel, where, DIGEST, CODE)
