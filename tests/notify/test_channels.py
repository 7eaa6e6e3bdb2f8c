"""People are told once, by every channel that works, and a name is never more than a name."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.ses.models import ses_backends
from moto.sns.models import sns_backends

from auditor.aws.calls import Caller
from auditor.aws.clients import shared_clients
from auditor.aws.permissions import notify_policy
from auditor.config.notify_records import EmailConfig, NotifyConfig, SlackConfig, SnsConfig
from auditor.demo import AccountSeed, EmbeddedOrganisation, OrganisationSeed
from auditor.errors import UsageError
from auditor.notify import Message, NotSentError, channels_of
from auditor.notify.slack import MOST_TEXT, SlackChannel, blocks_of
from auditor.secret import Secret
from tests.builders import AS_OF
from tests.conftest import VirtualTime, connect
from tests.notify.slack_server import TOKEN, Slack, serving

ACCOUNT = "111111111111"
TOPIC = f"arn:aws:sns:eu-west-1:{ACCOUNT}:notices"
MESSAGE = Message("item-1/7", "Switched off: key of ci", (("User", "ci"), ("Key", "AKIA")), "ann@example.com")
HOSTILE = st.text(st.characters(codec="utf-8"), max_size=700) | st.sampled_from(
    ["<!channel>", "<@U1>", "`*_~", "a\nb\r\nBcc: x@y.z", "=cmd|'/c calc'!A1", "&lt;!here&gt;", "\u202egnp.exe"]
)


@pytest.fixture
def slack() -> Iterator[Slack]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def cloud() -> Iterator[EmbeddedOrganisation]:
    with EmbeddedOrganisation(OrganisationSeed((AccountSeed(ACCOUNT, "main"),)), as_of=AS_OF) as running:
        session = boto3.Session(running.access_key_id, "x", region_name="eu-west-1")
        url = running.endpoint_url
        session.client("ses", endpoint_url=url).verify_email_identity(EmailAddress="auditor@example.com")
        session.client("sns", endpoint_url=url).create_topic(Name="notices")
        yield running


def caller(cloud: EmbeddedOrganisation) -> Caller:
    """Who tells."""
    clients = shared_clients(connect(cloud))
    return Caller(clients, clients.ambient(), "aws", VirtualTime().timing, attempts=2)


def channel(slack: Slack) -> SlackChannel:
    """The channel, as it is configured."""
    return SlackChannel.at(slack.url, Secret(TOKEN), "C1")


# ------------------------------------------------------------------------------------------------- Slack


@pytest.mark.parametrize("faults", [[], ["ratelimited"], ["ratelimited", "ratelimited"], ["lost"]])
def test_a_message_is_posted_once(slack: Slack, faults: list[str]) -> None:
    """Whatever goes wrong on the way, and however often it is sent."""
    slack.faults = faults
    channel(slack).send(MESSAGE)
    channel(slack).send(MESSAGE)
    assert [one["metadata"]["event_payload"]["key"] for one in slack.messages] == [MESSAGE.key]
    assert slack.messages[0]["channel"] == "C1"


@pytest.mark.parametrize(
    ("faults", "why"), [(["channel_not_found"], "refused: channel_not_found"), (["failed"], "did not answer|refused")]
)
def test_what_slack_did_not_take_is_said(slack: Slack, faults: list[str], why: str) -> None:
    """Without the token and without the message, which the next time goes through."""
    slack.faults = faults
    with pytest.raises(NotSentError, match=why) as error:
        channel(slack).send(MESSAGE)
    assert not slack.messages
    assert TOKEN not in f"{error.value!r}{error.value.__cause__!r}{channel(slack)!r}"
    channel(slack).send(MESSAGE)
    assert len(slack.messages) == 1


def test_what_another_program_posted_is_not_taken_for_ours(slack: Slack) -> None:
    """It could say that somebody was told who never was."""
    channel(slack).send(MESSAGE)
    slack.messages[0]["bot_id"] = "B9"
    channel(slack).send(MESSAGE)
    assert [one["bot_id"] for one in slack.messages] == ["B9", "B1"]


def test_without_the_right_to_look_it_is_sent_all_the_same(slack: Slack) -> None:
    """Twice rather than never."""
    slack.may_look = False
    channel(slack).send(MESSAGE)
    assert len(slack.messages) == 1


@given(text=HOSTILE, label=HOSTILE)
def test_no_name_pings_or_breaks_out(text: str, label: str) -> None:
    """Nothing in it is markup of Slack's, no section is too long, and nothing is lost but the end of a long name."""
    blocks = blocks_of(Message("k", text, ((label[:40], text), ("User", text)), None))
    for block in blocks[1:]:
        shown = block["text"]["text"]
        assert len(shown) <= MOST_TEXT
        bare = shown.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
        assert not set(bare) & set("<>&")
        assert "\r" not in shown
    assert blocks[0]["text"]["type"] == "plain_text"
    assert len(blocks[0]["text"]["text"]) <= 150


@pytest.mark.parametrize("faults", [[], ["", "lost"], ["", "failed"]])
def test_an_owner_is_told_of_his_own_keys_too(slack: Slack, faults: list[str]) -> None:
    """In his team's channel, once; whatever becomes of that, the channel of all is told once and holds nothing up."""
    theirs = SlackChannel.at(slack.url, Secret(TOKEN), "C1", ["a=b=C2", "Payments=C3"])
    slack.faults = list(faults)
    for _ in range(2):
        theirs.send(replace(MESSAGE, owner="payments"))
    theirs.send(replace(MESSAGE, key="other", owner="A=B"))
    theirs.send(replace(MESSAGE, key="nobody's", owner=None))
    told = [(one["channel"], one["metadata"]["event_payload"]["key"]) for one in slack.messages]
    assert sorted(told) == sorted(
        [("C1", MESSAGE.key), ("C3", MESSAGE.key), ("C1", "other"), ("C2", "other"), ("C1", "nobody's")]
    )


@pytest.mark.parametrize("faults", [[], ["", "lost"], ["", "failed"]])
def test_an_owner_who_is_told_directly_is_told_once(slack: Slack, faults: list[str]) -> None:
    """As in a channel: whether a lost message arrived is seen in the person's direct messages."""
    theirs = SlackChannel.at(slack.url, Secret(TOKEN), "C1", ["ann@example.com=U1"])
    slack.faults = list(faults)
    for _ in range(2):
        theirs.send(MESSAGE)
    assert [one["channel"] for one in slack.messages].count("DU1") == 1
    assert [one["channel"] for one in slack.messages].count("C1") == 1


def test_an_owner_whose_messages_cannot_be_looked_at_is_told_all_the_same(slack: Slack) -> None:
    """Without the scopes for it."""
    slack.may_look = False
    SlackChannel.at(slack.url, Secret(TOKEN), "C1", ["ann@example.com=U1"]).send(MESSAGE)
    assert [one["channel"] for one in slack.messages] == ["C1", "DU1"]


@pytest.mark.parametrize("url", ["http://slack.example.com/api/", "http://10.0.0.1/"])
def test_the_token_is_not_sent_in_the_clear(url: str) -> None:
    """To loopback alone, which is where tests listen."""
    with pytest.raises(UsageError, match="TLS"):
        SlackChannel.at(url, Secret(TOKEN), "C1")


# ------------------------------------------------------------------------------------------------- AWS, and all


def test_each_channel_gets_it_and_one_that_fails_keeps_no_other_from_it(
    slack: Slack, cloud: EmbeddedOrganisation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who took it is known; what the printed policy allows is what is called."""
    monkeypatch.setenv("AUDITOR_SLACK_TOKEN", TOKEN)
    config = NotifyConfig(
        slack=SlackConfig(channel="C1", api_url=slack.url),
        email=EmailConfig(
            sender="auditor@example.com",
            recipients=("sec@example.com",),
            owner_domains=("example.com",),
            region="eu-west-1",
        ),
        sns=SnsConfig(topic_arn=TOPIC),
    )
    channels = channels_of(config, caller(cloud))
    before = len(cloud.call_log)
    assert channels.tell(MESSAGE) == ("slack", "email", "sns")
    called = {f"{call.service}:{call.action}" for call in cloud.call_log[before:]}
    sent = ses_backends[ACCOUNT]["eu-west-1"].sent_messages[-1]
    assert sent.destinations["ToAddresses"] == ["sec@example.com", "ann@example.com"]
    assert sent.subject == MESSAGE.title
    assert "<th align=left>User<td>ci" in sent.body
    (published,) = sns_backends[ACCOUNT]["eu-west-1"].topics[TOPIC].sent_notifications
    assert "Key: AKIA" in published[1]
    policy = notify_policy("aws", config.email.sender, config.sns.topic_arn)
    assert {one.lower() for statement in policy["Statement"] for one in statement["Action"]} == {
        one.lower() for one in called
    }

    slack.faults = ["channel_not_found"]
    with caplog.at_level(logging.DEBUG):
        assert channels.tell(Message("item-1/8", "=x\r\nBcc: y@z", (("User", "<b>"),), "eve@evil.com")) == (
            "email",
            "sns",
        )
    sent = ses_backends[ACCOUNT]["eu-west-1"].sent_messages[-1]
    assert sent.destinations["ToAddresses"] == ["sec@example.com"], "an owner of another domain gets nothing"
    assert "\n" not in sent.subject
    assert TOKEN not in caplog.text


def test_where_none_takes_it_that_is_an_error_with_every_reason(
    slack: Slack, cloud: EmbeddedOrganisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was to be announced must not happen then."""
    monkeypatch.setenv("AUDITOR_SLACK_TOKEN", TOKEN)
    slack.faults = ["channel_not_found"]
    config = NotifyConfig(
        slack=SlackConfig(channel="C1", api_url=slack.url), sns=SnsConfig(topic_arn=f"{TOPIC}-that-is-gone")
    )
    with pytest.raises(NotSentError, match=r"slack: Slack refused: channel_not_found; sns: sns:Publish: NotFound"):
        channels_of(config, caller(cloud)).tell(MESSAGE)


def test_a_token_that_is_not_there_is_told_before_anything_is_done(cloud: EmbeddedOrganisation) -> None:
    """By the name of its variable."""
    with pytest.raises(UsageError) as error:
        channels_of(NotifyConfig(slack=SlackConfig(channel="C1")), caller(cloud))
    assert "AUDITOR_SLACK_TOKEN" in error.value.next_step
    assert not channels_of(NotifyConfig(), caller(cloud))
