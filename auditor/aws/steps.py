"""Work that is cut where it waits, so that a thread that would sleep can do another account's work instead."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from auditor.aws.timing import Timing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Go on after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Together:
    """Go on with the results of these, in their order; some of them may be done at once."""

    calls: tuple[Callable[[], Any], ...]


Steps = Generator[Pause | Together, Any, T]
"""Yields what it waits for, is sent the results of a `Together`, and returns its own."""


def carry_out(steps: Steps[T], timing: Timing) -> T:
    """Do all of it here and now, in this thread, sleeping where it waits."""
    answer: Any = None
    failure: Exception | None = None
    while True:
        try:
            wanted = steps.throw(failure) if failure else steps.send(answer)
        except StopIteration as done:
            result: T = done.value
            return result
        answer = failure = None
        if isinstance(wanted, Together):
            try:
                answer = [call() for call in wanted.calls]
            except Exception as error:  # noqa: BLE001 - for the steps that wanted the call to judge
                failure = error
        elif wanted.seconds > 0:
            timing.sleep(wanted.seconds)
