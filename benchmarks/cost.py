"""What a command costs with every process below it: wall, CPU, and its largest process."""

import ctypes
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
"""Linux: processes whose parent has ended become this process's children (prctl(2))."""

ORPHANS_END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall and CPU, the largest process in MiB, and the seconds after which each phase began."""

    wall: float
    cpu: float
    peak: float
    phases: Mapping[str, float]


def adopt_orphans() -> None:
    """Be the parent of what a command leaves behind: its fork server, which takes its processes' CPU with it."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def measured(command: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[Cost, bytes]:
    """What a command cost, and what it printed; `adopt_orphans` first.

    The peak is of the largest process since the start of this one: measure what is small first.
    """
    before, began = _used(), time.monotonic()
    phases: dict[str, float] = {}
    with tempfile.TemporaryFile() as printed:
        with subprocess.Popen(command, env=environment, stdout=printed, stderr=subprocess.PIPE, text=True) as running:  # noqa: S603 - our own
            assert running.stderr
            for line in running.stderr:
                if line[:1].isalpha():
                    phases[line.partition("(")[0].strip()] = time.monotonic() - began
        wall = time.monotonic() - began
        printed.seek(0)
        out = printed.read()
    deadline = time.monotonic() + ORPHANS_END_SECONDS
    while _has_orphans() and time.monotonic() < deadline:
        time.sleep(0.05)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, _used() - before, usage.ru_maxrss / 1024, phases), out


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _has_orphans() -> bool:
    """Take leave of orphans that have ended; whether any but an endpoint are left."""
    own = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    others = 0
    for child in own.read_text().split():
        if b"benchmarks.endpoint" not in Path(f"/proc/{child}/cmdline").read_bytes():
            ended, _ = os.waitpid(int(child), os.WNOHANG)
            others += not ended
    return others > 0
