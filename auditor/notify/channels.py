"""All channels that are configured: a message goes to each, and one that fails keeps no other from it."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from auditor.aws.calls import Caller
from auditor.config.notify_records import NotifyConfig, SlackConfig
from auditor.errors import UsageError
from auditor.notify.mail import Mail
from auditor.notify.message import Channel, Message, NotSentError
from auditor.notify.slack import SlackChannel
from auditor.notify.sns import Topic
from auditor.secret import Secret

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Channels:
    """See the module."""

    all: Sequence[Channel] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.all)

    def tell(self, message: Message) -> tuple[str, ...]:
        """Send it by every channel; the names of those that took it.

        Raises:
            NotSentError: none did.
        """
        took, failed = [], []
        for channel in self.all:
            try:
                channel.send(message)
                took.append(channel.name)
            except NotSentError as error:
                log.warning("%s was not told of %s: %s", channel.name, message.key, error)
                failed.append(f"{channel.name}: {error}")
        if not took:
            raise NotSentError("; ".join(failed))
        return tuple(took)


def channels_of(config: NotifyConfig, caller: Caller) -> Channels:
    """The channels of the configuration; AWS's are called by `caller`.

    Raises:
        UsageError: Slack's token is not there, or its address is not one that a token may be sent to.
    """
    found: list[Channel] = []
    if config.slack.channel is not None:
        found.append(slack_of(config.slack))
    if config.email.sender is not None:
        email = config.email
        found.append(Mail(caller, email.sender or "", email.recipients, email.owner_domains, email.region))
    if config.sns.topic_arn is not None:
        found.append(Topic(caller, config.sns.topic_arn))
    return Channels(found)


def slack_of(config: SlackConfig) -> SlackChannel:
    """The channel of the configuration.

    Raises:
        UsageError: there is none, its token is not there, or its address is not one that a token may be sent to.
    """
    if config.channel is None:
        step = "Name a channel in notify.slack.channel (docs/notices.md)."
        raise UsageError("Slack is not configured.", where="notify.slack", next_step=step)
    variable = config.token_variable
    token = os.environ.get(variable, "")
    if not token:
        step = f"Set {variable} to the bot token of your Slack app, or leave notify.slack.channel empty."
        raise UsageError("Slack's token is not there.", where="notify.slack", next_step=step)
    return SlackChannel.at(config.api_url, Secret(token), config.channel, config.owners)
