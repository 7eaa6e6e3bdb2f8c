"""A reproducible sample of a run's access keys, for an auditor who checks them in AWS himself.

Which keys are drawn follows from the auditor's own number alone: each key's line of the population, with the number
before it, is hashed (SHA-256), and those with the smallest digests are the sample. Anybody can draw it again.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import quote as quoted

from auditor import answers
from auditor.evidence.reconciliation import NOT_DELETED
from auditor.formats.words import instant
from auditor.history import RAW, counted_rows, load_manifest
from auditor.history.parquet import read_parquet
from auditor.tables import FINDINGS, KEYS, records_of

CONSOLES: Mapping[str, str] = {
    "aws": "https://console.aws.amazon.com",
    "aws-cn": "https://console.amazonaws.cn",
    "aws-us-gov": "https://console.amazonaws-us-gov.com",
}
"""Where the console of each partition is (AWS: sign-in endpoints)."""

ROOT_PAGE = "/iam/home#/security_credentials"

WANTED = {
    name: KEYS[name]
    for name in (
        *("account_id", "account_name", "user", "user_arn", "is_root", "slot", "access_key_id", "key_status"),
        *("created_at", "last_used_at", "last_used_service"),
    )
}
"""The columns of the population that are read."""

SUBJECT = ("account_id", "user_arn", "slot", "access_key_id", "created_at")

JUDGED = {name: FINDINGS[name] for name in (*SUBJECT, "control", "outcome")}

KEYS_OF_A_USER, MORE_KEYS = 8, 1000
"""No run has more keys for its users and accounts; IAM allows two at a time."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A key of the sample: what the run says of it, and how to look at it in AWS."""

    number: int
    """Its place in the sample."""
    account_id: str
    account_name: str | None
    user: str
    user_arn: str
    slot: int | None
    access_key_id: str | None
    key_status: str | None
    created_at: str | None
    last_used_at: str | None
    last_used_service: str | None
    verdicts: tuple[str, ...]
    """Of the policy's own controls, as "key-age: non_compliant"."""
    evidence: str
    """The files of the bundle that AWS's answers about it stand in."""
    console: str
    commands: tuple[str, ...]
    """Of the AWS CLI, one after the other."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Keys that were drawn, out of how many."""

    seed: str
    population: int
    drawn: tuple[Drawn, ...]


def draw(run: Path, number: int, seed: str) -> Sample:
    """Draw keys out of a stored run; raises ValueError where its tables cannot be read, or hold more than it says.

    Args:
        run: the run's folder.
        number: how many; all where there are fewer.
        seed: the auditor's number or word.
    """
    population = run / "tables" / "keys.parquet"
    coverage = load_manifest(run).coverage
    if counted_rows(population) > (coverage.users + coverage.accounts_in_scope) * KEYS_OF_A_USER + MORE_KEYS:
        raise ValueError(f"it has more keys than {coverage.users:,} users can have")
    query = f"SELECT {_listed(WANTED)} FROM rows WHERE {NOT_DELETED}"  # noqa: S608 - names of our own
    keys = list(records_of(read_parquet(population, WANTED, query)))
    chosen = nsmallest(number, keys, key=lambda key: _digest(seed, key))
    verdicts = _verdicts(run, chosen)
    drawn = tuple(_drawn(run, place, key, verdicts) for place, key in enumerate(chosen, 1))
    return Sample(seed, len(keys), drawn)


def identity(key: Mapping[str, Any]) -> str:
    """What names a key in the population: account, user's ARN, slot, id and creation, with a bar between them."""
    created = instant(key["created_at"]) if key["created_at"] else ""
    parts = (key["account_id"], key["user_arn"], key["slot"] or "", key["access_key_id"] or "", created)
    return "|".join(str(part) for part in parts)


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _digest(seed: str, key: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{seed}|{identity(key)}".encode()).hexdigest()


def _verdicts(run: Path, keys: list[dict[str, Any]]) -> dict[tuple[object, ...], list[str]]:
    """The policy's verdicts on these keys."""
    accounts = ", ".join(
        f"'{account}'" for account in sorted({str(key["account_id"]) for key in keys}) if account.isdigit()
    )
    where = f"account_id IN ({accounts or 'NULL'}) AND by_policy IS NOT FALSE AND key_status IS NOT NULL"
    query = f"SELECT {_listed(JUDGED)} FROM rows WHERE {where} ORDER BY control"  # noqa: S608 - digits of our own
    found: dict[tuple[object, ...], list[str]] = {}
    for row in records_of(read_parquet(run / "tables" / "findings.parquet", JUDGED, query)):
        found.setdefault(_subject(row), []).append(f"{row['control']}: {row['outcome']}")
    return found


def _subject(row: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(row[name] for name in SUBJECT)


def _drawn(run: Path, number: int, key: Mapping[str, Any], verdicts: Mapping[tuple[object, ...], list[str]]) -> Drawn:
    console, commands = _look(key)
    return Drawn(
        number,
        str(key["account_id"]),
        key["account_name"],
        str(key["user"]),
        str(key["user_arn"]),
        key["slot"],
        key["access_key_id"],
        key["key_status"],
        instant(key["created_at"]) if key["created_at"] else None,
        instant(key["last_used_at"]) if key["last_used_at"] else None,
        key["last_used_service"],
        tuple(verdicts.get(_subject(key), ())),
        _evidence(run, str(key["account_id"]), key["access_key_id"]),
        console,
        commands,
    )


def _evidence(run: Path, account: str, key_id: str | None) -> str:
    """The files that tell of a key: the account's report, which has no ids, or its listing; and what was looked up."""
    place = run / RAW / account
    names = [name for name in (answers.REPORT, answers.LISTING) if (place / name).is_file()]
    if (
        key_id is not None
        and (place / answers.KEYS).is_file()
        and key_id.encode() in (place / answers.KEYS).read_bytes()
    ):
        names.append(answers.KEYS)
    return ", ".join(f"data/{RAW}/{account}/{name}" for name in names)


def _look(key: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """Where the console shows the key, and what the AWS CLI is asked."""
    partition = str(key["user_arn"]).split(":")[1] if ":" in str(key["user_arn"]) else "aws"
    home = CONSOLES.get(partition, CONSOLES["aws"])
    if key["is_root"]:
        return f"{home}{ROOT_PAGE}", ("aws iam get-account-summary",)
    user = str(key["user"])
    page = f"{home}/iam/home#/users/details/{quoted(user, safe='')}?section=security_credentials"
    return page, tuple(_commands(user, key["access_key_id"]))


def _commands(user: str, key_id: str | None) -> Iterator[str]:
    yield f"aws iam list-access-keys --user-name={quote(user)}"
    if key_id:
        yield f"aws iam get-access-key-last-used --access-key-id={quote(key_id)}"
