"""How far a long run is: bars on a terminal, lines in a log. On stderr."""

import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from auditor.cli.output import printable

if TYPE_CHECKING:
    from rich.progress import TaskID

SETTLED = 2.0
"""Seconds after which a rate says something."""

SILENCE = 30.0
"""Seconds after which a log is told how far a phase is, whether or not anything has happened."""

TELLING = 20
"""Of the first and the last of so many parts of a phase no rate is told: accounts that failed, and stragglers."""

FEW_STEPS = 20
"""Steps that are told one by one; a longer phase is so many lines where there is no terminal."""


class _Phase:
    """How far a phase is: its steps, how it stands, and how long the rest will take at this rate."""

    def __init__(self, total: int | None = None) -> None:
        self.total = total or 0
        self.done = 0
        self.status = ""
        self._began = time.monotonic()

    @property
    def is_short(self) -> bool:
        """Whether its steps are told one by one."""
        return self.total <= FEW_STEPS

    @property
    def seconds(self) -> int:
        """Since it began."""
        return round(time.monotonic() - self._began)

    def told(self, step: str = "") -> str:
        """The step, status, rate and time left; the latter two once there is something to go by."""
        elapsed = time.monotonic() - self._began
        parts = [step if self.is_short else "", self.status]
        if self.done and elapsed > SETTLED and self.total <= self.done * TELLING <= self.total * (TELLING - 1):
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
    """Lines for a log: the phases, some of the steps of a long one, and that it still goes on."""

    def __init__(self, silence: float = SILENCE) -> None:
        """Nothing is under way; after so many seconds of silence it is told how far it is."""
        self._phase = _Phase()
        self._silence = silence
        self._said_at = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._break_silence, name="progress", daemon=True).start()

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
        if phase.is_short or phase.done % (phase.total // FEW_STEPS) == 0 or phase.done == phase.total:
            self._tell(step)

    def status(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._phase.status = text

    def _tell(self, step: str = "") -> None:
        phase = self._phase
        how_far = f"{phase.done:,} of {phase.total:,}" if phase.total else ""
        told = [part for part in (how_far, phase.told(step)) if part]
        self.note("  " + ("  ".join(told) or f"goes on, {phase.seconds} s so far"))

    def _break_silence(self) -> None:
        while not self._over.wait(max(0.0, self._said_at + self._silence - time.monotonic())):
            if time.monotonic() >= self._said_at + self._silence:
                self._said_at = time.monotonic()
                self._tell()

    def note(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._said_at = time.monotonic()
        with suppress(OSError):  # nobody reads the progress any more; the run goes on
            sys.stderr.write(printable(text) + "\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Say no more."""
        self._over.set()


class SilentProgress(PlainProgress):
    """Says nothing (`-q`)."""

    def note(self, text: str) -> None:
        """Nothing."""

    def _break_silence(self) -> None:
        pass


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
            self._bars.update(self._task, advance=1, step=printable(self._phase.told(step)))

    def status(self, text: str) -> None:
        """See `auditor.gather.Progress`."""
        self._phase.status = text
        if self._task is not None:
            self._bars.update(self._task, step=printable(self._phase.told()))

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
