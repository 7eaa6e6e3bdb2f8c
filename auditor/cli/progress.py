"""How far a long run is: bars on a terminal, lines in a log. On stderr."""

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from auditor.cli.output import printable

if TYPE_CHECKING:
    from rich.progress import TaskID

SETTLED = 2.0
"""Seconds after which a rate says something."""

SILENCE = 30.0
"""Seconds after which a log is told how far a phase is, whatever it has reached."""

TELLING = 20
"""One in so many steps has to be done before a rate is told: the first that end are those that failed."""

PLAIN_STEPS = 20
"""At most so many lines a phase where there is no terminal."""


class _Phase:
    """How far a phase is: its steps, how it stands, and how long the rest will take at this rate."""

    def __init__(self, total: int | None = None) -> None:
        self.total = total or 0
        self.done = 0
        self.status = ""
        self._began = time.monotonic()

    def __str__(self) -> str:
        """Status, rate and time left; the latter two once there is something to go by."""
        elapsed = time.monotonic() - self._began
        parts = [self.status]
        if elapsed > SETTLED and self.total <= self.done * TELLING < self.total * TELLING:
            rate = self.done / elapsed
            parts += [
                f"{rate:,.0f}/s" if rate >= 1 else f"{rate * 60:,.0f}/min",
                f"{_left(self.total, rate, self.done)}",
            ]
        return ", ".join(part for part in parts if part)


def _left(total: int, rate: float, done: int) -> str:
    minutes, seconds = divmod(round((total - done) / rate), 60)
    return f"{minutes} min {seconds:02} s left" if minutes else f"{seconds} s left"


class PlainProgress:
    """Lines for a log: the phases, and some of the steps of a long one."""

    def __init__(self) -> None:
        """Nothing is under way."""
        self._phase = _Phase()
        self._said_at = time.monotonic()

    def phase(self, name: str, total: int | None = None) -> None:
        """See `auditor.gather.Progress`."""
        self._phase = _Phase(total)
        self.note(f"{name} ({total:,})" if total else name)

    def advance(self, step: str = "") -> None:
        """See `auditor.gather.Progress`."""
        phase = self._phase
        phase.done += 1
        if not phase.total:
            return
        is_short = phase.total <= PLAIN_STEPS
        if is_short or phase.done % (phase.total // PLAIN_STEPS) == 0 or phase.done == phase.total:
            self._tell(step if is_short else "")

    def status(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._phase.status = text
        if time.monotonic() - self._said_at > SILENCE:
            self._tell()

    def _tell(self, step: str = "") -> None:
        phase = self._phase
        how_far = f"{phase.done:,} of {phase.total:,}" if phase.total else ""
        told = ", ".join(part for part in (step, str(phase)) if part)
        self.note("  " + "  ".join(part for part in (how_far, told) if part))

    def note(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._said_at = time.monotonic()
        with suppress(OSError):  # nobody reads the progress any more; the run goes on
            sys.stderr.write(printable(text) + "\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Nothing to put away."""


class SilentProgress(PlainProgress):
    """Says nothing (`-q`)."""

    def note(self, text: str) -> None:
        """Nothing."""


class BarProgress:
    """A bar per phase, on a terminal."""

    def __init__(self) -> None:
        """Start drawing on stderr."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<18}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[step]}", style="dim", markup=False),
        )
        self._bars = RichProgress(*columns, console=Console(stderr=True))
        self._task: TaskID | None = None
        self._phase = _Phase()
        self._bars.start()

    def phase(self, name: str, total: int | None = None) -> None:
        """See `auditor.gather.Progress`."""
        self._finish()
        self._phase = _Phase(total)
        self._task = self._bars.add_task(name, total=total, step="")

    def advance(self, step: str = "") -> None:
        """See `auditor.gather.Progress`."""
        self._phase.done += 1
        if self._task is not None:
            told = ", ".join(part for part in (str(self._phase), step) if part)
            self._bars.update(self._task, advance=1, step=printable(told))

    def status(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._phase.status = text
        if self._task is not None:
            self._bars.update(self._task, step=printable(str(self._phase)))

    def note(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._bars.console.print(printable(text), markup=False, highlight=False)

    def close(self) -> None:
        """Leave the finished bars on the screen and stop drawing."""
        self._finish()
        self._bars.stop()

    def _finish(self) -> None:
        if self._task is not None:
            total = self._bars.tasks[self._task].total or 1
            self._bars.update(self._task, total=total, completed=total, step="")


def progress_for(*, quiet: bool) -> PlainProgress | BarProgress:
    """A bar on a terminal, lines elsewhere, nothing with -q."""
    if quiet:
        return SilentProgress()
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
