"""The archive of runs: written once, atomically, and read back without AWS."""

from auditor.history.archive import RunWriter, write_report
from auditor.history.library import RunEntry, find_resumable, find_run, list_runs, load_run
from auditor.history.population import POPULATION, encode_population
from auditor.history.raw import TERMS, read_results, take_over

__all__ = [
    "POPULATION",
    "TERMS",
    "RunEntry",
    "RunWriter",
    "encode_population",
    "find_resumable",
    "find_run",
    "list_runs",
    "load_run",
    "read_results",
    "take_over",
    "write_report",
]
