"""What a bundle holds: the names of its files, and what it says of itself."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from auditor.answers import (
    ACCOUNT,
    KEYS,
    LISTING,
    OBSERVED,
    QUARANTINE,
    REPORT,
    REQUESTS,
    RESPONSE,
    SERVICE_CREDENTIALS,
)
from auditor.evidence import dictionary, reconciliation
from auditor.evidence.bag import PAYLOAD, BagError, read_tag
from auditor.evidence.replay import report_files
from auditor.history import JOURNAL, POPULATION, RAW, TABLES, TERMS

PREFIX = "auditor-evidence-"
"""How a bundle's name begins; the run's id follows."""

BUNDLE, SCHEMA = "bundle.json", "auditor.bundle/1"

RAW_FILES = frozenset({REPORT, RESPONSE, LISTING, KEYS, QUARANTINE, SERVICE_CREDENTIALS, ACCOUNT, OBSERVED, REQUESTS})
ACCOUNT_FOLDER = re.compile(r"[0-9]{12}|unknown-[0-9a-f]{12}")
"""An account's id, or what stands for it where a downloaded report cannot be read."""

NEEDED = frozenset({"run.json", TERMS, BUNDLE, reconciliation.FILE, dictionary.FILE, "findings.json"})
KNOWN = NEEDED | {POPULATION, JOURNAL, REQUESTS}

TABLE_FILES = frozenset(f"{name}.parquet" for name in (*TABLES, "actions", "pending"))


@dataclass(frozen=True, slots=True)
class Link:
    """The bundle before this one: its run, and the digest that stands for all of it."""

    run_id: str
    sha256: str


@dataclass(frozen=True, slots=True)
class About:
    """What a bundle says of itself."""

    run_id: str
    as_of: str
    made_with: Mapping[str, str]
    retained_until: date
    previous: Link | None = None


def encode_about(about: About) -> bytes:
    """`bundle.json`."""
    told = {
        "schema": SCHEMA,
        "run": {"id": about.run_id, "as_of": about.as_of},
        "made_with": dict(about.made_with),
        "retained_until": about.retained_until.isoformat(),
        "previous": asdict(about.previous) if about.previous else None,
    }
    return json.dumps(told, indent=2).encode() + b"\n"


def read_about(bag: Path) -> About:
    """What a bag says of itself; BagError where it says nothing that can be read."""
    try:
        content = read_tag(bag, f"{PAYLOAD}/{BUNDLE}")
        told: Mapping[str, Any] = json.loads(content)
        previous = told["previous"]
        about = About(
            str(told["run"]["id"]),
            str(told["run"]["as_of"]),
            {str(name): str(version) for name, version in told["made_with"].items()},
            date.fromisoformat(told["retained_until"]),
            Link(str(previous["run_id"]), str(previous["sha256"])) if previous else None,
        )
        is_ours = encode_about(about) == content
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BagError(f"{PAYLOAD}/{BUNDLE} cannot be read ({type(error).__name__}: {error})") from error
    if not is_ours:
        raise BagError(f"{PAYLOAD}/{BUNDLE} is not written as a bundle's is")
    return about


def check_form(bag: Path) -> None:
    """Whether it looks like a bundle of a version that can be read here; raises BagError, with what it is instead."""
    try:
        content = read_tag(bag, f"{PAYLOAD}/{BUNDLE}")
    except BagError:
        raise BagError(f"it is no bundle of auditor: it has no {PAYLOAD}/{BUNDLE} that can be read") from None
    try:
        schema = json.loads(content)["schema"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise BagError(f"it is no bundle of auditor: {PAYLOAD}/{BUNDLE} says nothing") from None
    if schema != SCHEMA:
        raise BagError(
            f"it is of the form {schema!r:.60}, and this version of auditor reads {SCHEMA}: take a newer one"
        )


def check_names(payload: Iterable[str]) -> None:
    """Whether the files of a payload are those of a run and no others; raises BagError."""
    names = {name.removeprefix(f"{PAYLOAD}/") for name in payload}
    missing = sorted(NEEDED - names)
    if missing:
        raise BagError(f"{PAYLOAD}/{missing[0]} is missing, which every bundle has")
    strangers = sorted(name for name in names if not _is_known(name))
    if strangers:
        raise BagError(f"{PAYLOAD}/{strangers[0]} is nothing that a bundle holds")


def _is_known(name: str) -> bool:
    match name.split("/"):
        case [single]:
            return single in KNOWN or single in report_files()
        case ["tables", table]:
            return table in TABLE_FILES
        case [folder, account, file]:
            return folder == RAW and ACCOUNT_FOLDER.fullmatch(account) is not None and file in RAW_FILES
        case _:
            return False
