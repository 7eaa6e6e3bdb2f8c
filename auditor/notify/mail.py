"""E-mail by Amazon SES: to those who get everything, and to the owner, where that is an address of the company's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure
from auditor.aws.loop import run
from auditor.notify.message import Message, NotSentError, one_line

ADDRESS = re.compile(r"[A-Za-z0-9._+-]{1,64}@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")


@dataclass(frozen=True, slots=True)
class Mail:
    """See `auditor.notify.message.Channel`. The key stands in a tag, and at the end of the text."""

    caller: Caller
    sender: str
    recipients: Sequence[str]
    owner_domains: Sequence[str]
    region: str | None = None
    name: str = "email"

    def addresses(self, owner: str | None) -> list[str]:
        """Who gets a message about a key of this owner."""
        found = ADDRESS.fullmatch(owner or "")
        is_ours = found is not None and found[1].lower() in {domain.lower() for domain in self.owner_domains}
        return list(dict.fromkeys([*self.recipients, *([owner] if is_ours and owner else [])]))

    def send(self, message: Message) -> None:
        """See `Channel`."""
        to = self.addresses(message.owner)
        if not to:
            raise NotSentError("it has no recipient: the owner is no address of notify.email.owner_domains")
        rows = "".join(f"<tr><th align=left>{escape(a)}<td>{escape(one_line(b))}" for a, b in message.facts)
        title = one_line(message.title)
        page = f"<p><b>{escape(title)}</b><table cellpadding=4>{rows}</table><p><small>{escape(message.key)}</small>"
        text = f"{title}\n\n{message.plain}\n\n{message.key}\n"
        try:
            run(
                replace(self.caller, region=self.region).call(
                    "ses",
                    "send_email",
                    Source=self.sender,
                    Destination={"ToAddresses": to},
                    Message={
                        "Subject": {"Data": title, "Charset": "UTF-8"},
                        "Body": {
                            "Text": {"Data": text, "Charset": "UTF-8"},
                            "Html": {"Data": page, "Charset": "UTF-8"},
                        },
                    },
                    Tags=[{"Name": "auditor-notice", "Value": re.sub(r"[^A-Za-z0-9_-]", "_", message.key)[:255]}],
                )
            )
        except AwsFailure as failure:
            raise NotSentError(str(failure)) from failure
