"""The command line: parse, call, print, exit. No rule lives here, and nothing heavy is loaded before it is needed."""

from auditor.cli.app import main

__all__ = ["main"]
