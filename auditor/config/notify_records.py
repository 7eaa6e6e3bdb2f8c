"""Where people are told of what happens to keys."""

from typing import Annotated

from auditor.config.forms import ENDPOINT, LINE, REGION, SLACK_OWNER, SLACK_PERSON, TOPIC_ARN
from auditor.config.section import UNSET, Many, OptionalLine, Section, table


class SlackConfig(Section):
    """A channel of Slack, written to by an app of yours."""

    channel: OptionalLine = None
    """The channel's id, such as C0123456789; not set, Slack is not used."""
    token_variable: Annotated[str, LINE] = "AUDITOR_SLACK_TOKEN"  # noqa: S105 - a variable's name
    """The environment variable that has the app's bot token."""
    approvers: Many[Annotated[str, SLACK_PERSON]] = ()
    """Who may approve plans by a reply, each as id=name with the name that the file of approvers has."""
    owners: Many[Annotated[str, SLACK_OWNER]] = ()
    """Owners who are told of their own keys in a channel of theirs, or directly, each as owner=id."""
    api_url: Annotated[str, ENDPOINT] = "https://slack.com/api/"
    """Where Slack's Web API is: https, or loopback."""


class EmailConfig(Section):
    """E-mail by Amazon SES."""

    sender: OptionalLine = None
    """The address that it comes from, verified in SES; not set, no e-mail is sent."""
    recipients: Many[Annotated[str, LINE]] = ()
    """Addresses that get every notice."""
    owner_domains: Many[Annotated[str, LINE]] = ()
    """Domains of owners who get notices of their own keys, where the owner is an address."""
    region: Annotated[Annotated[str, REGION] | None, UNSET] = None
    """The Region of SES; not set, the one whose endpoints are called."""


class SnsConfig(Section):
    """A topic of Amazon SNS."""

    topic_arn: Annotated[Annotated[str, TOPIC_ARN] | None, UNSET] = None
    """The topic's ARN; not set, SNS is not used."""


class NotifyConfig(Section):
    """Where people are told of what happens to keys."""

    slack: SlackConfig = table(SlackConfig)
    email: EmailConfig = table(EmailConfig)
    sns: SnsConfig = table(SnsConfig)
