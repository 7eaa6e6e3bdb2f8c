"""A process that has imported the program once, and forks into each command that is asked of it.

A command is a process of its own all the same, with its own environment, folder, streams and exit code; what it does
not do again is a second of imports.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NoReturn

IMPORTED = (
    *("auditor.cli.app", "auditor.demo", "auditor.formats", "auditor.gather", "auditor.history", "auditor.judging"),
    *("auditor.pipeline", "auditor.simulation", "rich.progress", "weasyprint"),
    *("auditor.evidence.export", "auditor.evidence.verify", "auditor.evidence.sampling"),
    *("auditor.remedy.asking", "auditor.remedy.by_hand", "auditor.remedy.of_run", "auditor.remedy.of_user"),
)
LONGEST = 1 << 20


class Forks:
    """Started when the first command is run; ends with this process, which alone holds the other end of its socket."""

    def __init__(self) -> None:
        """Imports nothing yet."""
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, streams: Sequence[IO[bytes]]
    ) -> int:
        """Run the command to its end, with these as stdout and stderr; its exit code, negative for a signal."""
        if self._process is None:
            self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-W", "error::ResourceWarning", "-m", "tests.forking", str(theirs.fileno())]
            root = Path(__file__).parent.parent
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=root)
            theirs.close()
        asked = json.dumps([list(arguments), dict(environment), str(folder)]).encode()
        self._ours.settimeout(120)
        socket.send_fds(self._ours, [asked], [stream.fileno() for stream in streams])
        pid = int(self._ours.recv(100))
        try:
            return int(self._ours.recv(100))
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            self.stop()
            raise

    def stop(self) -> None:
        """End the process that forks."""
        if self._process is not None:
            self._ours.close()
            self._process.wait(10)
            self._process = None


def serve(asking: socket.socket) -> list[str] | None:
    """Fork for each command that is asked for; in the command's own process its arguments, at the end None."""
    while True:
        asked, streams, _, _ = socket.recv_fds(asking, LONGEST, 2)
        if not asked:
            return None
        pid = os.fork()
        if not pid:
            asking.close()
            arguments, environment, folder = json.loads(asked)
            _become(environment, folder, streams)
            return list(arguments)
        for stream in streams:
            os.close(stream)
        asking.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        asking.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(environment: Mapping[str, str], folder: str, streams: Sequence[int]) -> None:
    for number, stream in enumerate([os.open(os.devnull, os.O_RDONLY), *streams]):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(code: int = 0) -> NoReturn:
    """As the interpreter ends, but for taking every module apart: that is a third of a second of nothing."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()  # what was left open is found out
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in IMPORTED:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # as `load_weasyprint` has it
            importlib.import_module(module)
    gc.collect()
    gc.freeze()  # no command looks through all of it again
    wanted = serve(socket.socket(fileno=int(sys.argv[1])))
    if wanted is None:
        os._exit(0)
    sys.argv = ["auditor", *wanted]
    try:
        runpy.run_module("auditor", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if not isinstance(end.code, str):
            _end(end.code or 0)
        raise
    _end()
