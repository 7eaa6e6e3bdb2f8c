"""A channel of Slack. A message is known again by the key in its metadata, so that a lost answer posts nothing twice.

What a message names is escaped and stands as code: a user called `<!channel>` pings nobody (Slack: formatting text for
app surfaces; chat.postMessage; conversations.history).
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urlsplit

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler

from auditor.errors import UsageError
from auditor.notify.message import Message, NotSentError, one_line
from auditor.secret import Secret

log = logging.getLogger(__name__)

EVENT = "auditor_notice"

MOST_TITLE, MOST_TEXT = 150, 3000
"""Characters of a header, and of a section (Slack: Block Kit)."""

PERSONS = ("U", "W")
"""What ids of persons begin with (Slack: user object)."""

LOOKED_AT = 100
"""Messages of the channel among which one is looked for that may have been posted."""

PAGE = 200
"""Messages of a thread that are asked for at once."""

SECONDS = 10


@dataclass(frozen=True, slots=True)
class SlackChannel:
    """See `auditor.notify.message.Channel`."""

    client: WebClient = field(repr=False)
    channel: str
    owners: Mapping[str, str] = field(default_factory=dict)
    """Where owners, in small letters, are told of their own keys as well: a channel's id, or a person's."""
    name: str = "slack"
    thread: str | None = None
    """The `ts` of the message that is replied to; None posts to the channel itself."""

    @classmethod
    def at(cls, url: str, token: Secret, channel: str, owners: Sequence[str] = ()) -> Self:
        """The channel, and those of owners as name=id; UsageError where the token would go in the clear."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            step = "Begin notify.slack.api_url with https."
            raise UsageError("A token is not sent without TLS.", where="notify.slack.api_url", next_step=step)
        waits = RateLimitErrorRetryHandler(max_retry_count=2)
        client = WebClient(token.reveal(), base_url=f"{url.rstrip('/')}/", timeout=SECONDS, retry_handlers=[waits])
        named = (entry.rpartition("=") for entry in owners)
        return cls(client, channel, {name.casefold(): place for name, _, place in named})

    def send(self, message: Message) -> None:
        """See `Channel`. An owner who cannot be reached is not what it fails for: the channel knows."""
        self._send(message)
        place = self.owners.get((message.owner or "").casefold())
        if place is not None and place != self.channel:
            try:
                replace(self, channel=self._room(place), owners={}).send(message)
            except NotSentError as error:
                log.warning("the owner %s was not told of %s: %s", message.owner, message.key, error)

    def _room(self, place: str) -> str:
        """A person's direct messages, which have an id of their own, by which alone they can be looked at again."""
        if place[:1] not in PERSONS:
            return place
        try:
            opened = self.client.conversations_open(users=place).get("channel") or {}
        except (SlackApiError, SlackClientError, OSError) as error:
            log.debug("what %s was told cannot be looked at: %s", place, failure_of(error))
            return place  # can be posted to all the same
        return str(opened.get("id") or place)

    def _send(self, message: Message) -> None:
        self.post_once(message)

    def post_once(self, message: Message, text: str = "", ask: str = "") -> tuple[str, str]:
        """As `post`, where the channel does not have the message already; where it is."""
        there = self._found(message.key)
        if there is not None:
            return self.channel, there
        try:
            answer = self.post(message, text, ask)
        except NotSentError as error:
            if isinstance(error.__cause__, SlackApiError) and error.__cause__.response.get("error"):
                raise  # a refusal, after which nothing was done
            there = self._found(message.key)
            if there is None:
                raise
            return self.channel, there
        return str(answer["channel"]), str(answer["ts"])

    def post(self, message: Message, text: str = "", ask: str = "") -> Mapping[str, Any]:
        """Post a message; its `channel` and `ts`.

        Args:
            message: what is told.
            text: what is shown where blocks are not; the title by default.
            ask: what readers are asked to do, in Slack's own markup.

        Raises:
            NotSentError: it was not posted, or nobody knows; its cause is Slack's refusal, where there is one.
        """
        asked = [{"type": "section", "text": {"type": "mrkdwn", "text": ask, "verbatim": True}}] if ask else []
        try:
            answer = self.client.chat_postMessage(
                channel=self.channel,
                text=text or escaped(message.title),
                blocks=[*blocks_of(message), *asked],
                thread_ts=self.thread,
                metadata={"event_type": EVENT, "event_payload": {"key": message.key}},
                unfurl_links=False,
                unfurl_media=False,
                parse="none",
            )
        except (SlackApiError, SlackClientError, OSError) as error:
            raise NotSentError(failure_of(error)) from error
        return {"channel": answer["channel"], "ts": answer["ts"]}

    def _found(self, key: str) -> str | None:
        """The `ts` of our message, where it is there (in a channel, among the last); None also where nobody knows."""
        try:
            there = [one for one in self._there() if _key_of(one) == key]
            ours = self.client.auth_test().get("bot_id") if there else None  # another program can write any key
        except (SlackApiError, SlackClientError, OSError) as error:
            log.debug("what is in the channel cannot be read: %s", failure_of(error))
            return None
        return next((str(one.get("ts")) for one in there if one.get("bot_id") == ours), None)

    def _there(self) -> Iterable[Mapping[str, Any]]:
        if self.thread is not None:
            return thread_of(self.client, self.channel, self.thread)
        told = self.client.conversations_history(channel=self.channel, limit=LOOKED_AT, include_all_metadata=True)
        messages: list[Mapping[str, Any]] = told.get("messages") or []
        return messages


def thread_of(client: WebClient, channel: str, ts: str) -> Iterator[Mapping[str, Any]]:
    """A message, and all that was replied to it, in order; raises what the client does."""
    cursor = ""
    while True:
        page = client.conversations_replies(
            channel=channel, ts=ts, limit=PAGE, cursor=cursor, include_all_metadata=True
        )
        yield from page.get("messages") or ()
        cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
        if not cursor:
            return


def blocks_of(message: Message) -> list[dict[str, Any]]:
    """The message as Slack draws it."""
    title = {"type": "plain_text", "text": one_line(message.title)[:MOST_TITLE], "emoji": False}
    lines = "\n".join(f"{escaped(label)}: {code(value)}" for label, value in message.facts)
    blocks: list[dict[str, Any]] = [{"type": "header", "text": title}]
    while lines:
        cut = lines.rfind("\n", 0, MOST_TEXT) if len(lines) > MOST_TEXT else len(lines)
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": lines[:cut], "verbatim": True}})
        lines = lines[cut:].lstrip("\n")
    return blocks


def escaped(text: str) -> str:
    """The text as Slack shows it, whatever is in it."""
    return one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(text: str, most: int = 500) -> str:
    """The text as code, of at most so many characters before they are escaped."""
    plain = one_line(text).replace("`", "'")
    return f"`{escaped(plain[:most] + ('...' if len(plain) > most else ''))}`" if plain else "-"


def _key_of(message: Mapping[str, Any]) -> str | None:
    metadata = message.get("metadata") or {}
    key = (metadata.get("event_payload") or {}).get("key") if metadata.get("event_type") == EVENT else None
    return str(key) if key else None


def failure_of(error: Exception) -> str:
    """Why, without what was sent."""
    if isinstance(error, SlackApiError):
        return f"Slack refused: {error.response.get('error') or 'no reason given'}"
    return f"Slack did not answer ({type(error).__name__})"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
