"""A secret in memory: nothing shows, copies or keeps it by accident."""

from typing import NoReturn

MASK = "********"


class Secret:
    """Text that every way of showing an object masks, and that cannot be copied or serialised.

    Python cannot wipe a text from memory; what is prevented is that it gets anywhere else.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """The text itself is had from `reveal` alone."""
        self._text = text

    def reveal(self) -> str:
        """The text, for the one call that needs it."""
        return self._text

    def __repr__(self) -> str:
        """Masked."""
        return MASK

    def __format__(self, spec: str) -> str:
        """Masked, whatever the format."""
        return MASK

    def __eq__(self, other: object) -> bool:
        """Of another secret with the same text only: a text is no secret."""
        return isinstance(other, Secret) and self._text == other._text

    __hash__ = None  # type: ignore[assignment] # a dictionary would keep it

    def __copy__(self) -> NoReturn:
        """Refused."""
        raise TypeError("a secret is not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        """Refused."""
        raise TypeError("a secret is not copied")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refused: neither pickled nor sent to another process."""
        raise TypeError("a secret is not serialised")
