"""The archive of runs: written once, atomically, and read back without AWS."""

from auditor.history.archive import TABLES, RunWriter, write_part, write_report, write_tables
from auditor.history.library import RunEntry, find_resumable, find_run, holder_of, list_runs, load_manifest, load_run
from auditor.history.observations import Observed, last_seen_active, observed_inactive, write_observations
from auditor.history.parquet import counted_rows, differing_rows, summed
from auditor.history.population import POPULATION, encode_population
from auditor.history.raw import JOURNAL, RAW, TERMS, done_accounts, read_observations, read_result, take_over
from auditor.history.uses import User, longest_pauses

__all__ = [
    "JOURNAL",
    "POPULATION",
    "RAW",
    "TABLES",
    "TERMS",
    "Observed",
    "RunEntry",
    "RunWriter",
    "User",
    "counted_rows",
    "differing_rows",
    "done_accounts",
    "encode_population",
    "find_resumable",
    "find_run",
    "holder_of",
    "last_seen_active",
    "list_runs",
    "load_manifest",
    "load_run",
    "longest_pauses",
    "observed_inactive",
    "read_observations",
    "read_result",
    "summed",
    "take_over",
    "write_observations",
    "write_part",
    "write_report",
    "write_tables",
]
