"""A secret in memory: nothing shows, copies or keeps it by accident."""

import ctypes
import resource
import sys
from typing import NoReturn

_PR_SET_DUMPABLE = 4

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


def forbid_dumps() -> None:
    """Have this process leave no image of its memory: no core file, and on Linux nothing for another process to read.

    What the system does not offer is left out: a program that heals must not fail for it (core(5), prctl(2)).
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (OSError, ValueError, AttributeError):
        return
