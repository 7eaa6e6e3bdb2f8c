"""Channels by which people are told of what happens to keys."""

from auditor.notify.channels import Channels, channels_of
from auditor.notify.message import Message, NotSentError

__all__ = ["Channels", "Message", "NotSentError", "channels_of"]
