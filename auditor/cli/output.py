"""What is printed, and how: stdout carries the result, stderr the talk; a lost stdout is told once."""

import io
import json
import logging
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor.errors import AuditorError

if TYPE_CHECKING:
    from auditor.doctor import Diagnosis

WIDTH = 100
"""Columns where there is no terminal."""

MOST_ACCOUNTS = 20
"""Accounts that the doctor tells of."""


def printable(text: str) -> str:
    """The text without anything that a terminal would obey: names in AWS belong to others."""
    return "".join(
        character if character.isprintable() or character == "\n" else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def filled(text: str, width: int, indent: int = 0) -> str:
    """The text wrapped to the width; words that somebody copies, such as ARNs, stay whole."""
    space = " " * indent
    return textwrap.fill(
        printable(text),
        width,
        initial_indent=space,
        subsequent_indent=space,
        break_long_words=False,
        break_on_hyphens=False,
    )


def print_error(error: AuditorError) -> None:
    """One paragraph on stderr: where, what, and the next step."""
    said = f"{error.where}: {error.what}" if error.where else error.what
    if "\n" in error.what and error.where:  # a list of problems: each on its own line, below where they are
        said = "\n  ".join((f"{error.where}:", *error.what.splitlines()))
    told = (f"Error: {said}", *getattr(error, "__notes__", ()), error.next_step)
    lines = [
        wrapped
        for line in printable("\n".join(told)).splitlines()
        for wrapped in textwrap.wrap(
            line,
            WIDTH,
            subsequent_indent=line[: len(line) - len(line.lstrip())],
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
    with suppress(OSError):
        sys.stderr.write("\n".join(lines).rstrip() + "\n")


def print_json(document: Any) -> None:
    """The answer for a program, on stdout."""
    sys.stdout.write(json_text(document))


def json_text(document: Any) -> str:
    """A document as programs and people read it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def set_up_logging(verbose: int) -> None:
    """-v tells what is done, -vv also why things failed. botocore's own log stays off: it can hold secrets."""
    levels = (logging.WARNING, logging.INFO, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("auditor")
    logger.handlers = [handler]
    logger.setLevel(levels[min(verbose, 2)])
    logger.propagate = False


class ResultStream(io.TextIOWrapper):
    """stdout: where nobody takes the result, that is said once, and `is_lost`.

    A reader that had enough (`| head -1`) is no failure at all. Characters that the terminal's encoding lacks are
    written as escapes.
    """

    is_lost = False
    """Whether what was printed is nowhere."""

    def write(self, text: str) -> int:
        """As any text stream, but a failure is told once and costs nothing but the text."""
        with self._tolerating():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """As `write`."""
        with self._tolerating():
            super().flush()

    @contextmanager
    def _tolerating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            if not isinstance(error, BrokenPipeError):
                self.is_lost = True
                step = "Free the place that stdout goes to, or name another; `auditor runs show` prints a run again."
                print_error(AuditorError(f"The result could not be printed ({error.strerror}).", next_step=step))


def is_result_lost() -> bool:
    """Whether what was printed on stdout, and nowhere else, could not be printed."""
    sys.stdout.flush()
    return isinstance(sys.stdout, ResultStream) and sys.stdout.is_lost


def result_stands_in_the_run() -> None:
    """What was printed so far is not lost whatever became of stdout: it lies in the run's folder."""
    sys.stdout.flush()
    if isinstance(sys.stdout, ResultStream):
        sys.stdout.is_lost = False


def open_streams() -> None:
    """Make stdout and stderr fit to print on, whatever the caller made of them.

    A stream that was closed (`>&-`) goes nowhere, and no file opened later takes its number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - open to the end
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        terminal, encoding = sys.stdout.isatty(), sys.stdout.encoding
        buffer = sys.stdout.detach()
        sys.stdout = ResultStream(buffer, encoding, "backslashreplace", line_buffering=terminal)


LABEL = 9
"""Columns that `problem` and its like take."""

COLOURS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def print_diagnosis(diagnosis: "Diagnosis") -> None:
    """Each check with the next step below it where there is one, accounts up to a number; and what it comes to."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    width = console.width if sys.stdout.isatty() else WIDTH
    accounts = [check.account_id for check in diagnosis.checks if check.account_id]
    left_out = set(accounts[MOST_ACCOUNTS:])
    shown = [check for check in diagnosis.checks if check.account_id not in left_out]
    with console.capture() as written:
        for check in shown:
            text = filled(f"{check.subject}: {check.found}", width, LABEL)
            label = (f"{check.health.value:<{LABEL}}", COLOURS[check.health.value])
            console.print(Text.assemble(label, text.lstrip()))
            if check.next_step:
                console.print(Text(filled(f"Next: {check.next_step}", width, LABEL), "dim"))
        if left_out:
            console.print(Text(filled(f"and {len(left_out):,} more accounts; --json names them all.", width, LABEL)))
        console.print()
        console.print(Text(diagnosis.verdict, "bold"))
    sys.stdout.write(written.get())


def say(text: str, style: str = "", indent: int = 0) -> None:
    """A paragraph on stdout, as wide as the terminal; in colour only where one shows it."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    with console.capture() as written:  # rich would end the process on a closed pipe
        console.print(Text(filled(text, console.width if sys.stdout.isatty() else WIDTH, indent), style))
    sys.stdout.write(written.get())
