"""What somebody is told, whatever the channel. Names in it belong to others: each channel escapes for itself."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """A title, facts as label and value, and the key by which the same one is known again."""

    key: str
    title: str
    facts: tuple[tuple[str, str], ...]
    owner: str | None = None
    is_urgent: bool = False

    @property
    def plain(self) -> str:
        """The facts as lines of text."""
        return "\n".join(f"{label}: {one_line(value)}" for label, value in self.facts)


class NotSentError(Exception):
    """It was not sent, or nobody knows; `str()` says why, without secrets."""


class Channel(Protocol):
    """One way to tell people."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def send(self, message: Message) -> None:
        """Send it; once, as far as that can be known.

        Raises:
            NotSentError: it was not sent.
        """
        ...


def one_line(text: str) -> str:
    """The text without anything that ends a line or that a reader's screen would obey."""
    return "".join(character if character.isprintable() else " " for character in text)
