"""The archive of runs: written once, atomically, and read back without AWS."""

from auditor.history.archive import RunWriter, write_report
from auditor.history.library import RunEntry, find_run, list_runs, load_run
from auditor.history.raw import read_results

__all__ = ["RunEntry", "RunWriter", "find_run", "list_runs", "load_run", "read_results", "write_report"]
