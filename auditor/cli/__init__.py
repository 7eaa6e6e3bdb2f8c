"""The command line: parse, call, print, exit. No rule lives here, and nothing heavy is loaded before it is needed."""

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit with the contract's code; Ctrl-C is heard from the first moment on."""
    try:
        from auditor.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("Error: Interrupted.\n")
        sys.stderr.flush()
        os._exit(4)


__all__ = ["main"]
