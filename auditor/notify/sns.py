"""A topic of Amazon SNS: what subscribes to it gets the facts as text, and the key as an attribute."""

import hashlib
from dataclasses import dataclass, replace

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure
from auditor.aws.loop import run
from auditor.notify.message import Message, NotSentError, one_line

MOST_SUBJECT = 100
"""Characters, of ASCII alone (SNS API reference, Publish)."""


@dataclass(frozen=True, slots=True)
class Topic:
    """See `auditor.notify.message.Channel`. A FIFO topic drops what it got in the last five minutes by itself."""

    caller: Caller
    arn: str
    name: str = "sns"

    def send(self, message: Message) -> None:
        """See `Channel`."""
        subject = one_line(message.title).encode("ascii", "replace").decode()[:MOST_SUBJECT]
        once = {}
        if self.arn.endswith(".fifo"):
            digest = hashlib.sha256(message.key.encode()).hexdigest()
            once = {"MessageDeduplicationId": digest, "MessageGroupId": "auditor"}
        attributes = {"key": message.key, "urgent": str(message.is_urgent).lower()}
        told = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        caller = replace(self.caller, region=self.arn.split(":")[3])
        try:
            run(
                caller.call(
                    "sns",
                    "publish",
                    TopicArn=self.arn,
                    Subject=subject,
                    Message=f"{one_line(message.title)}\n\n{message.plain}\n",
                    MessageAttributes=told,
                    **once,
                )
            )
        except AwsFailure as failure:
            raise NotSentError(str(failure)) from failure
