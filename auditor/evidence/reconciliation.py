"""What the numbers of a run must add up to: the same thing, counted in every file that tells of it.

Whoever audits the evidence asks of every list whether it is complete (AT-C 205.36); these are the answers, and they can
be counted again from the files alone.
"""

import csv
import io
import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auditor.answers import ACCOUNT, LISTING, OBSERVED, REPORT, REQUEST_TYPES, REQUESTS, RESPONSE, decode_requests
from auditor.evidence.bag import BagError
from auditor.gather.scope import NARROWED_TO
from auditor.history import JOURNAL, POPULATION, RAW, TERMS, counted_rows, summed
from auditor.history.population import SCHEMA as POPULATION_SCHEMA
from auditor.model import ANSWERED, Source

FILE = "reconciliation.json"
SCHEMA = "auditor.reconciliation/1"

NOT_DELETED = "key_status IS DISTINCT FROM 'Deleted'"
"""Keys that the report had and that were gone when they were looked up are rows of the table, and no keys."""

Numbers = Mapping[str, int]

OTHER_TOOLS: Mapping[str, Callable[[str], bool]] = {
    "findings.ocsf.jsonl": lambda line: line.startswith("{"),
    "findings.asff.json": lambda line: line.startswith("  {"),
    "findings.oscal.json": lambda line: '"types": ["finding"]' in line,  # an observation; text has its quotes escaped
}
"""Whether a line is of a finding, or of an account that was not audited, in the forms for other tools."""


@dataclass(frozen=True, slots=True)
class Total:
    """A thing, and how many there are of it by each file that tells; what is added up is named with a plus."""

    what: str
    counted: Numbers

    @property
    def holds(self) -> bool:
        """Whether all say the same."""
        return len(set(self.counted.values())) <= 1


def totals(run: Path) -> list[Total]:
    """Every total of a run's folder.

    Raises:
        BagError: a file cannot be counted.
    """
    try:
        return list(_totals(run))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error) as error:
        raise BagError(f"what there is cannot be counted ({type(error).__name__}: {error})") from error


def encode_totals(found: list[Total]) -> bytes:
    """The totals as a file."""
    told = [{"what": total.what, "counted": dict(total.counted), "holds": total.holds} for total in found]
    return json.dumps({"schema": SCHEMA, "totals": told}, indent=2, ensure_ascii=False).encode() + b"\n"


def check_totals(run: Path, *, is_other_version: bool = False) -> tuple[int, bool]:
    """Count everything again; how many totals there are, and whether the run has exactly these.

    Args:
        run: the run's folder.
        is_other_version: another version of auditor counted what is stored, which may be other things; of what is the
            same, the numbers have to be.

    Raises:
        BagError: one does not hold, or the run says something else.
    """
    found, stored = totals(run), (run / FILE).read_bytes()
    for total in found:
        _confirm(total)
    is_same = stored == encode_totals(found)
    if not (is_same or (is_other_version and _agree(_decoded(stored), found))):
        raise BagError(f"{FILE} has other numbers than there are")
    return len(found), is_same


def _confirm(total: Total) -> None:
    if not total.holds:
        counts = ", ".join(f"{where} {count:,}" for where, count in total.counted.items())
        raise BagError(f"{total.what} do not add up: {counts}")


def _decoded(stored: bytes) -> list[Total]:
    """The totals of a file; raises BagError where it is not exactly what `encode_totals` writes."""
    try:
        found = [Total(one["what"], one["counted"]) for one in json.loads(stored)["totals"]]
        are_numbers = all(type(count) is int for total in found for count in total.counted.values())
        is_ours = are_numbers and encode_totals(found) == stored
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BagError(f"{FILE} has no totals that can be read") from error
    if not is_ours:
        raise BagError(f"{FILE} is not written as totals are")
    return found


def _agree(stored: Sequence[Total], found: Iterable[Total]) -> bool:
    """Whether what was counted then holds by itself, and is what is counted now wherever the same is."""
    now = {(total.what, where): count for total in found for where, count in total.counted.items()}
    then = [(total.what, where, count) for total in stored for where, count in total.counted.items()]
    is_once = len({(what, where) for what, where, _ in then}) == len(then)
    is_so = all(now.get((what, where), count) == count for what, where, count in then)
    return is_once and is_so and all(total.holds for total in stored)


def _totals(run: Path) -> Iterator[Total]:
    told = json.loads((run / "run.json").read_bytes())
    findings = _outlined(run / "findings.json")
    coverage, summary = told["coverage"], told["summary"]
    tables, raw = run / "tables", _counted_raw(run)
    yield from _accounts(run, told, findings, raw)
    yield Total(
        "users",
        {
            "raw answers": raw["users"],
            "tables/users.parquet": counted_rows(tables / "users.parquet"),
            "run.json": coverage["users"],
            "findings.json": findings["coverage"]["users"],
        },
    )
    outcomes = ("compliant", "non_compliant", "exempt", "not_applicable", "unknown")
    yield Total(
        "access keys",
        {
            "tables/users.parquet, known_keys": summed(tables / "users.parquet", "known_keys"),
            "run.json": coverage["keys"],
            "findings.json": findings["coverage"]["keys"],
        },
    )
    yield Total(  # one of the report that may be another of the list, or gone since, is judged as well
        "access keys that were judged",
        {
            "tables/keys.parquet, without deleted ones": counted_rows(tables / "keys.parquet", NOT_DELETED),
            f"run.json, {' + '.join(outcomes)}": sum(summary[name] for name in outcomes),
            f"findings.json, {' + '.join(outcomes)}": sum(findings["summary"][name] for name in outcomes),
        },
    )
    for outcome in outcomes:
        where = f"outcome = '{outcome}' AND by_policy IS NOT FALSE"
        yield Total(
            f"verdicts that are {outcome}",
            {
                "tables/findings.parquet": counted_rows(tables / "findings.parquet", where),
                "run.json": sum(counts.get(outcome, 0) for counts in summary["verdicts"].values()),
            },
        )
    yield from _listed(run, findings)
    yield from _requests(run, told)
    if told.get("journal") and told["journal"]["problem"] is None:
        lines = (run / JOURNAL).read_bytes().count(b"\n")
        yield Total(
            "rows of the journal",
            {JOURNAL: lines, "run.json": told["journal"]["rows"], "findings.json": _journal_rows(findings)},
        )


def _accounts(run: Path, told: Mapping[str, Any], findings: Mapping[str, Any], raw: Numbers) -> Iterator[Total]:
    coverage, table = told["coverage"], run / "tables" / "accounts.parquet"
    if (run / POPULATION).exists() or coverage["organisation_accounts"] is not None:
        yield from _organisation(run, coverage)
    if told["caller_arn"] is not None or any(map(_is_of_aws, sorted((run / RAW).iterdir()))):
        yield from _listed_accounts(run, told["scope"])
    yield Total(
        "accounts in scope",
        {
            "raw answers": raw["accounts"],
            "tables/accounts.parquet": counted_rows(table),
            "run.json": coverage["accounts_in_scope"],
            "run.json, audited + not audited": coverage["accounts_audited"] + len(coverage["not_audited"]),
            "findings.json": findings["coverage"]["accounts_in_scope"],
        },
    )
    yield Total(
        "accounts that were not audited",
        {
            "raw answers": raw["not audited"],
            "tables/accounts.parquet": counted_rows(table, "NOT audited"),
            "run.json": len(coverage["not_audited"]),
            "findings.json": len(findings["coverage"]["not_audited"]),
        },
    )


def _is_of_aws(place: Path) -> bool:
    said = json.loads((place / ACCOUNT).read_bytes())
    return bool(said["audited"]) and said["source"] != Source.FILE.value


def _listed_accounts(run: Path, scope: str) -> Iterator[Total]:
    """Every account that the configuration lists, but where somebody narrowed the run to some, as its scope says."""
    accounts = _terms_of_accounts(run)
    ids = {entry["id"] for entry in accounts.get("list", ())}
    if ids and accounts["source"] != "caller" and NARROWED_TO not in scope:
        there = sum((run / RAW / one).exists() for one in ids)
        yield Total("accounts that the configuration lists", {TERMS: len(ids), "raw answers": there})


def _organisation(run: Path, coverage: Mapping[str, Any]) -> Iterator[Total]:
    """Every account that AWS Organizations named is audited, refused, or left out by somebody's decision."""
    told = json.loads((run / POPULATION).read_bytes()) if (run / POPULATION).exists() else {"accounts": []}
    if told.get("schema", POPULATION_SCHEMA) != POPULATION_SCHEMA:
        raise ValueError(f"{POPULATION} is of the form {told['schema']!r}")
    population = told["accounts"]
    in_scope = [account for account in population if account["in_scope"]]
    named = _named(run)
    left_out = [account for account in population if not account["in_scope"]]
    yield Total(
        "accounts of the organisation",
        {POPULATION: len({account["id"] for account in population}), "run.json": coverage["organisation_accounts"]},
    )
    yield Total(
        "accounts of the organisation in scope",
        {
            POPULATION: len(in_scope),
            "raw answers, by id, name, state and units": sum(_is_there(run, one, named) for one in in_scope),
        },
    )
    yield Total(
        "accounts that filters left out",
        {
            POPULATION: len(left_out),
            "run.json": coverage["left_out"],
            "without raw answers": sum(not (run / RAW / one["id"]).exists() for one in left_out),
        },
    )


def _named(run: Path) -> Mapping[str, str]:
    """Names that the configuration gives to accounts of the organisation, by id."""
    entries = _terms_of_accounts(run).get("override", ())
    return {entry["id"]: entry["name"] for entry in entries if entry.get("name")}


def _terms_of_accounts(run: Path) -> Mapping[str, Any]:
    terms: Mapping[str, Any] = tomllib.loads((run / TERMS).read_text(encoding="utf-8"))
    return terms.get("accounts") or {}


def _is_there(run: Path, account: Mapping[str, Any], named: Mapping[str, str]) -> bool:
    place = run / RAW / account["id"] / ACCOUNT
    said = json.loads(place.read_bytes())["account"] if place.exists() else {}
    name = named.get(account["id"], account["name"])
    expected = {"unit_names": None, **account, "name": name, "units": account["units"] or None}
    return all(said.get(one) == expected[one] for one in ("id", "name", "state", "units", "unit_names"))


def _listed(run: Path, findings: Mapping[str, Any]) -> Iterator[Total]:
    """Findings that are listed one by one, in every form that lists them."""
    listed = "outcome IN ('non_compliant', 'exempt', 'unknown')"
    number = findings["findings"]
    counted = {
        "tables/findings.parquet": counted_rows(run / "tables" / "findings.parquet", listed),
        "findings.json": number,
    }
    if (run / "findings.csv").exists():
        with (run / "findings.csv").open(encoding="utf-8-sig", newline="") as file:
            counted["findings.csv"] = sum(1 for _ in csv.reader(file)) - 1
    yield Total("findings", counted)
    others = {name: is_one for name, is_one in OTHER_TOOLS.items() if (run / name).exists()}
    if others:
        both = number + len(findings["coverage"]["not_audited"])
        told = {name: _lines(run / name, is_one) for name, is_one in others.items()}
        yield Total("findings and accounts that were not audited", {"findings.json": both, **told})


def _lines(path: Path, is_one: Callable[[str], bool]) -> int:
    """How many lines of a file are so."""
    with path.open(encoding="utf-8") as file:
        return sum(map(is_one, file))


def _outlined(path: Path) -> dict[str, Any]:
    """findings.json with the number of findings instead of the findings: there may be hundreds of thousands.

    It is read as it is written, a bracket a line; what is written otherwise is found out when it is made again.
    """
    kept: list[str] = []
    number, is_within = 0, False
    with path.open(encoding="utf-8") as file:
        for line in file:
            if is_within:
                number += line.startswith("    {")
                is_within = line.rstrip() not in {"  ],", "  ]"}
            elif line.rstrip() == '  "findings": [':
                kept.append('  "findings": [],\n')
                is_within = True
            else:
                kept.append(line)
    outline: dict[str, Any] = json.loads("".join(kept))
    return {**outline, "findings": number}


def _requests(run: Path, told: Mapping[str, Any]) -> Iterator[Total]:
    """Requests to AWS, where they were kept: of an account whose process died nobody knows them."""
    places = sorted((run / RAW).iterdir())
    kept = [place for place in places if (place / REQUESTS).exists()]
    if not kept and not (run / REQUESTS).exists():
        return
    agreeing = sum(_are_counted(place) for place in kept)
    yield Total("accounts with their requests", {REQUESTS: len(kept), f"as {ACCOUNT} and {RESPONSE} say": agreeing})
    if len(kept) == len(places) and (run / REQUESTS).exists():
        lines = sum(_operations(path / REQUESTS).total() for path in (run, *kept))
        yield Total("requests", {f"{REQUESTS}, {RAW}/*/{REQUESTS}": lines, "run.json": sum(told["calls"].values())})


FIRST_FIELDS = frozenset({"at", "operation", "request_id", "outcome"})

REQUEST_FIELDS = (FIRST_FIELDS, frozenset(REQUEST_TYPES))
"""What a line of requests has: by the first versions, and since answers are kept with them."""


def _operations(path: Path) -> Counter[str]:
    """Requests of a file that were sent, by operation; each has one, and an id, or none where no answer came."""
    found: Counter[str] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        if set(said) not in REQUEST_FIELDS or not isinstance(said["request_id"], str | None):
            raise ValueError(f"{path.name} has a line that is no request")
        found[str(said["operation"])] += said.get("failed_in") is None
    return +found


def _are_counted(place: Path) -> bool:
    """Whether an account's requests are as many as it says, and its report is the answer to one of them."""
    said = json.loads((place / ACCOUNT).read_bytes())
    kept = list(decode_requests((place / REQUESTS).read_bytes()))
    answer = json.loads((place / RESPONSE).read_bytes()) if (place / RESPONSE).exists() else {}
    request_id = answer.get("request_id")
    asked = ((one.operation, one.request_id, one.outcome) for one in kept)
    is_asked = request_id is None or ("iam:GetCredentialReport", request_id, ANSWERED) in asked
    return is_asked and _operations(place / REQUESTS) == Counter(said["calls"])


def counting_files(place: Path) -> list[str]:
    """The names of an account's files that count: an attempt that was cut off may have left others beside them."""
    said = json.loads((place / ACCOUNT).read_bytes())
    beside = (name for name in (OBSERVED, REQUESTS) if (place / name).exists())
    return [ACCOUNT, *said.get("files", ()), *beside]


def _journal_rows(findings: Mapping[str, Any]) -> int:
    return int(findings["remediation"]["journal"]["rows"])


def _counted_raw(run: Path) -> Numbers:
    """Accounts, those that were not audited, and users, as AWS's answers have them."""
    accounts = refused = users = 0
    for place in sorted((run / RAW).iterdir()):
        said = json.loads((place / ACCOUNT).read_bytes())
        strangers = {path.name for path in place.iterdir()} - set(counting_files(place))
        if strangers:
            raise ValueError(f"{RAW}/{place.name} has {min(strangers)}, which {ACCOUNT} does not name")
        accounts += 1
        if not said["audited"]:
            refused += 1
        elif REPORT in said["files"]:
            text = io.StringIO((place / REPORT).read_text(encoding="utf-8"), newline="")
            users += sum(1 for row in csv.reader(text) if row) - 1
        else:
            users += len(json.loads((place / LISTING).read_bytes())["users"])
    return {"accounts": accounts, "not audited": refused, "users": users}
