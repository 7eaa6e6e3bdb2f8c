"""`python -m benchmarks.endpoint`: serve until stdin closes, SIGINT or SIGTERM; the first line of stdout is the URL."""

import argparse
import asyncio
import gc
import os
import signal
import sys
from threading import Thread

from benchmarks.endpoint.server import Server
from benchmarks.endpoint.settings import Settings


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endpoint", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0 is any that is free")
    parser.add_argument("--settings", default="{}", metavar="JSON", help="see benchmarks/endpoint/settings.py")
    given = parser.parse_args()
    try:
        settings = Settings.from_json(given.settings)
    except (TypeError, ValueError) as error:
        parser.error(f"--settings: {error}")
    asyncio.run(_serve(settings, given.port))


async def _serve(settings: Settings, port: int) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    Thread(target=_wait_for_end_of_input, args=(loop, ended), daemon=True).start()
    listening = await Server(settings).listen(port)
    host, bound = listening.sockets[0].getsockname()
    sys.stdout.write(f"http://{host}:{bound}\n")
    sys.stdout.flush()
    gc.freeze()  # the company never goes away; looking it through again and again would be counted as calls' CPU
    await ended.wait()
    listening.close()


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """Ends the server with whoever holds the other end of stdin, even where that was killed.

    By `os.read`: a thread inside sys.stdin would hold its lock when the interpreter ends.
    """
    while os.read(sys.stdin.fileno(), 4096):
        pass
    loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    main()
