"""A bundle that was changed anywhere is found out, whatever was changed, by whomever, and the verifier never breaks.

Hundreds of changes are made of the bundle itself, one at a time: to each file, each class of bytes, each structural
element; then by an insider who has the key, makes the manifests anew and signs again. `pytest -s` prints how many.
"""

import hashlib
import io
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import OutputError
from auditor.evidence.attestation import sign_by_key, statement
from auditor.evidence.bag import ATTESTATION, MANIFEST, TAG_MANIFEST, BagError, close_bag, decode_info
from auditor.evidence.container import EARLIEST, PLAIN_FILE, pack
from auditor.evidence.description import info, readme, statement_of
from auditor.evidence.keys import KeyKind, load_private_key, make_key
from auditor.evidence.layout import read_about
from auditor.evidence.reconciliation import FILE, encode_totals, totals
from auditor.evidence.verify import Trust, Verification, verify
from auditor.history import load_manifest
from tests.conftest import NoProgress

Change = Callable[[Path], object]
Sign = Callable[[bytes], bytes]


def verified(bundle: Path, trust: Trust) -> Verification:
    """Whatever it is, it is checked to its end without an error."""
    return verify(bundle, trust, NoProgress())


def names_of(bundle: Path) -> list[str]:
    """All files of a bundle."""
    return sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())


def flipped(place: float, bit: int) -> Callable[[bytes], bytes]:
    """One bit of the content is another."""

    def change(content: bytes) -> bytes:
        at = min(int(place * len(content)), len(content) - 1)
        return content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :]

    return change


CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "first bit": flipped(0, 0x80),
    "a bit in the middle": flipped(0.5, 0x01),
    "last bit": flipped(1, 0x01),
    "cut off": lambda content: content[:-1],
    "longer": lambda content: content + b"\n",
    "empty": lambda _: b"",
    "other line ends": lambda content: content.replace(b"\n", b"\r\n"),
    "twice": lambda content: content * 2,
    "binary": lambda content: b"\x00\xff\xfe" + content,
}


def content_changes(name: str) -> Iterator[tuple[str, Change]]:
    """Every change of a file's content, where it is one."""
    for what, change in CONTENTS.items():

        def apply(bundle: Path, change: Callable[[bytes], bytes] = change) -> bool:
            before = (bundle / name).read_bytes()
            (bundle / name).write_bytes(change(before))
            return change(before) != before

        yield f"{name}: {what}", apply


def moves(name: str) -> Iterator[tuple[str, Change]]:
    """The file is gone, elsewhere, or something else."""

    def linked(bundle: Path) -> None:
        outside = bundle.parent / f"outside-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        shutil.copyfile(bundle / name, outside)
        (bundle / name).unlink()
        (bundle / name).symlink_to(outside)

    yield f"{name}: gone", lambda bundle: (bundle / name).unlink()
    yield f"{name}: renamed", lambda bundle: (bundle / name).rename(bundle / f"{name}.old")
    yield f"{name}: a link to the same", linked

    def a_folder(bundle: Path) -> None:
        (bundle / name).unlink()
        (bundle / name).mkdir()

    yield f"{name}: a folder", a_folder


def structural_changes() -> Iterator[tuple[str, Change]]:
    """What a bundle consists of, changed as a whole."""

    def edit(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Change:
        return lambda bundle: (bundle / name).write_bytes(
            b"".join(change((bundle / name).read_bytes().splitlines(keepends=True)))
        )

    for name in (MANIFEST, TAG_MANIFEST, "bag-info.txt"):
        yield f"{name}: a line less", edit(name, lambda lines: lines[1:])
        yield f"{name}: a line twice", edit(name, lambda lines: [*lines, lines[0]])
        yield f"{name}: another order", edit(name, lambda lines: lines[::-1])
        yield f"{name}: capitals", edit(name, lambda lines: [line.upper() for line in lines])
        yield f"{name}: one space", edit(name, lambda lines: [line.replace(b"  ", b" ", 1) + b" " for line in lines])
        yield f"{name}: an empty line", edit(name, lambda lines: [*lines, b"\n"])
    for stranger in ("../../etc/passwd", "/etc/passwd", "data/../bagit.txt", "data//x", "./bagit.txt", "data/\u202ex"):
        yield f"{MANIFEST}: names {stranger!r}", edit(MANIFEST, partial(listing, stranger))
    for place in ("stray.txt", "data/stray.txt", "data/raw/stray.txt", "data/tables/x.parquet", ".hidden", "data/.x"):
        yield f"another file {place}", partial(added, place)
    yield "an empty folder", lambda bundle: (bundle / "data" / "more").mkdir()
    yield "a pipe", lambda bundle: os.mkfifo(bundle / "data" / "pipe")
    yield "a link to a folder", lambda bundle: (bundle / "data" / "more").symlink_to("/etc")
    yield "no payload", lambda bundle: shutil.rmtree(bundle / "data")
    yield "two files exchanged", exchange
    yield "a name twice but for its case", lambda bundle: (bundle / "data" / "RUN.JSON").write_text("{}")


def listing(stranger: str, lines: list[bytes]) -> list[bytes]:
    """One more line of a manifest."""
    return [*lines, f"{'0' * 64}  {stranger}\n".encode()]


def added(place: str, bundle: Path) -> None:
    """One more file."""
    (bundle / place).write_text("x")


def exchange(bundle: Path) -> None:
    """Two files of the payload have each other's name."""
    one, other = bundle / "data" / "run.json", bundle / "data" / "policy.toml"
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def envelope_changes() -> Iterator[tuple[str, Change]]:
    """Every part of the signature's envelope."""

    def edit(change: Callable[[dict[str, object]], object]) -> Change:
        def apply(bundle: Path) -> None:
            document = json.loads((bundle / ATTESTATION).read_bytes())
            change(document)
            (bundle / ATTESTATION).write_text(json.dumps(document, sort_keys=True, indent=1) + "\n")

        return apply

    yield "envelope: other payload", edit(lambda it: it.update(payload="e30="))
    yield "envelope: other type", edit(lambda it: it.update(payloadType="text/plain"))
    yield "envelope: no signature", edit(lambda it: it.update(signatures=[]))
    yield "envelope: the signature twice", edit(lambda it: it.update(signatures=it["signatures"] * 2))  # type: ignore[operator]
    yield "envelope: other key id", edit(lambda it: it["signatures"][0].update(keyid="0" * 64))  # type: ignore[index]
    yield "envelope: no key id", edit(lambda it: it["signatures"][0].pop("keyid"))  # type: ignore[index]
    yield "envelope: signature of nothing", edit(lambda it: it["signatures"][0].update(sig=""))  # type: ignore[index]
    yield "envelope: more in it", edit(lambda it: it.update(more=1))
    yield "envelope: deep", lambda bundle: (bundle / ATTESTATION).write_text("[" * 100_000)
    yield "envelope: a number", lambda bundle: (bundle / ATTESTATION).write_text("7")


def changes_to(bundle: Path) -> Iterator[tuple[str, Change]]:
    """All of them."""
    for name in names_of(bundle):
        yield from content_changes(name)
        yield from moves(name)
    yield from structural_changes()
    yield from envelope_changes()


def test_a_change_anywhere_is_found(bundle: Path, trust: Trust, tmp_path: Path) -> None:
    """Hundreds of them, each on a copy; what was not changed still verifies."""
    untouched = tmp_path / "untouched"
    shutil.copytree(bundle, untouched)
    assert verified(untouched, trust).problem is None
    made, missed = 0, []
    for what, change in changes_to(bundle):
        copy = tmp_path / "copy"
        shutil.copytree(bundle, copy, copy_function=os.link)
        named = (what.partition(":")[0], ATTESTATION, "data/run.json", "data/policy.toml")
        for name in (name for name in named if (copy / name).is_file()):  # may be changed, so it is no link
            content = (copy / name).read_bytes()
            (copy / name).unlink()
            (copy / name).write_bytes(content)
        if change(copy) is not False:
            made += 1
            if verified(copy, trust).problem is None:
                missed.append(what)
        shutil.rmtree(copy)
    sys.stdout.write(f"{made} changes, {len(missed)} missed\n")
    assert missed == []
    assert made > 250
    assert verified(bundle, trust).problem is None


# ------------------------------------------------------------------------------------------------- an insider


def replaced(name: str, old: bytes, new: bytes) -> Change:
    """Another text in a file of the payload, which has it."""

    def change(bundle: Path) -> None:
        content = (bundle / "data" / name).read_bytes()
        assert old in content, name
        (bundle / "data" / name).write_bytes(content.replace(old, new, 1))

    return change


def sql(name: str, statement_: str) -> Change:
    """A table changed by SQL."""

    def change(bundle: Path) -> None:
        path = bundle / "data" / "tables" / name
        with duckdb.connect(":memory:") as connection:
            connection.execute("SET TimeZone='UTC'")
            connection.execute(f"CREATE TABLE rows AS SELECT * FROM read_parquet('{path}')")
            connection.execute(statement_)
            connection.execute(f"COPY rows TO '{path}' (FORMAT parquet)")

    return change


def without_account(bundle: Path) -> None:
    """The account with the violations was never there."""
    shutil.rmtree(bundle / "data" / "raw" / "222222222222")


INSIDE: dict[str, Change] = {
    "a violation is compliant, in the table": sql(
        "findings.parquet", "UPDATE rows SET outcome = 'compliant' WHERE outcome = 'non_compliant'"
    ),
    "a verdict less": sql("findings.parquet", "DELETE FROM rows WHERE control = 'quarantined-key'"),
    "another reason": sql("findings.parquet", "UPDATE rows SET reason = 'Fine.'"),
    "a user less": sql("users.parquet", "DELETE FROM rows WHERE \"user\" = 'old'"),
    "a younger key": sql("keys.parquet", "UPDATE rows SET created_at = created_at + INTERVAL 1 YEAR"),
    "another approver": sql("actions.parquet", "UPDATE rows SET approved_by = 'eve@example.com'"),
    "a younger key, in AWS's answer": replaced("raw/222222222222/credential-report.csv", b"2025-", b"2026-"),
    "another answer about a key": replaced("raw/222222222222/keys.json", b'"Active"', b'"Inactive"'),
    "a refused account is a clean one": replaced(
        "raw/333333333333/account.json", b'"audited": false', b'"audited": true'
    ),
    "an account less": without_account,
    "a milder policy": replaced("policy.toml", b"max_age_days = 90", b"max_age_days = 900"),
    "a better rate": replaced("run.json", b'"non_compliant": 2', b'"non_compliant": 1'),
    "another instant": replaced("run.json", b"2026-11-22T19:00:00Z", b"2026-11-21T19:00:00Z"),
    "an account that is not said to be refused": replaced("run.json", b"333333333333", b"444444444444"),
    "a finding less in CSV": lambda bundle: (bundle / "data" / "findings.csv").write_bytes(
        b"".join((bundle / "data" / "findings.csv").read_bytes().splitlines(keepends=True)[:-1])
    ),
    "another word in JSON": replaced("findings.json", b"non_compliant", b"compliant"),
    "another word for Security Hub": replaced("findings.asff.json", b"FAILED", b"PASSED"),
    "another word in OCSF": replaced("findings.ocsf.jsonl", b"333333333333", b"444444444444"),
    "another word in OSCAL": replaced("findings.oscal.json", b"not-satisfied", b"satisfied"),
    "another word in the page": replaced("report.html", b"of 3 accounts", b"of 2 accounts"),
    "another PDF": lambda bundle: (bundle / "data" / "report.pdf").write_bytes(b"%PDF-1.7\nfine"),
    "no PDF": lambda bundle: (bundle / "data" / "report.pdf").unlink(),
    "another calendar": lambda bundle: (bundle / "data" / "due.ics").write_bytes(b"BEGIN:VCALENDAR\r\n"),
    "an account of the organisation less": replaced("population.json", b'"in_scope": true', b'"in_scope": false'),
    "another total": replaced("reconciliation.json", b'"holds": true', b'"holds": false'),
    "another meaning of a column": replaced("data-dictionary.csv", b"Whether", b"If"),
    "another approver in the journal": replaced("journal.jsonl", b"bob@example.com", b"eve@example.com"),
    "no journal": lambda bundle: (bundle / "data" / "journal.jsonl").unlink(),
    "a file that no bundle has": lambda bundle: (bundle / "data" / "extra.pdf").write_bytes(b"%PDF"),
    "another bundle before": replaced(
        "bundle.json", b'"previous": null', b'"previous": {"run_id": "x", "sha256": "y"}'
    ),
    "a program": lambda bundle: (bundle / "data" / "raw" / "111111111111" / "run.sh").write_text("rm -rf /"),
}


def sealed(bundle: Path, sign: Sign, readme: bytes | None = None, **info: str) -> None:
    """The manifests made anew, and signed by the right key: nothing but what it is about gives it away."""
    told = decode_info((bundle / "bag-info.txt").read_bytes()) | info
    told.pop("Payload-Oxum")
    close_bag(bundle, readme or (bundle / "README.txt").read_bytes(), told.items())
    try:
        said = statement_of(bundle, load_manifest(bundle / "data"))
    except OutputError:  # what was changed can be no run
        said = statement(bundle, "PASSED", "0" * 64, [], [])
    (bundle / ATTESTATION).write_bytes(sign(said))


@pytest.mark.parametrize("what", INSIDE)
def test_who_signs_cannot_change_what_aws_said_nor_what_follows(
    bundle: Path, trust: Trust, sign: Sign, tmp_path: Path, what: str
) -> None:
    """Manifests and signature are good; the numbers, or judging once more, say that it is not."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    INSIDE[what](copy)
    sealed(copy, sign)
    found = verified(copy, trust)
    assert found.problem is not None
    assert [check.name for check in found.checks if check.holds][:1] == ["container"]


def made_again(bundle: Path, sign: Sign) -> None:
    """As whoever has all of auditor makes the rest anew: totals, README.txt, bag-info.txt, manifests and signature."""
    data = bundle / "data"
    (data / FILE).write_bytes(encode_totals(totals(data)))
    manifest, about = load_manifest(data), read_about(bundle)
    close_bag(bundle, readme(manifest, about), info(manifest, about))
    (bundle / ATTESTATION).write_bytes(sign(statement_of(bundle, manifest)))


def counted_otherwise(bundle: Path, sign: Sign, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Another version made the bundle, and counted otherwise."""
    replaced("bundle.json", b'"auditor": "', b'"auditor": "9')(bundle)
    document = json.loads((bundle / "data" / FILE).read_bytes())
    change(document["totals"])
    (bundle / "data" / FILE).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    manifest, about = load_manifest(bundle / "data"), read_about(bundle)
    close_bag(bundle, readme(manifest, about), info(manifest, about))
    (bundle / ATTESTATION).write_bytes(sign(statement_of(bundle, manifest)))


COUNTED: dict[str, tuple[Callable[[list[dict[str, Any]]], object], bool]] = {
    "fewer things": (lambda told: told.pop(), True),
    "fewer files": (lambda told: told[-1]["counted"].popitem(), True),
    "nothing": (lambda told: told.clear(), True),
    "other numbers": (lambda told: told[-1].update(counted=dict.fromkeys(told[-1]["counted"], 77)), False),
    "numbers that do not add up": (lambda told: told.append({"what": "x", "counted": {"a": 1, "b": 2}}), False),
    "no numbers": (lambda told: told.append({"what": "x", "counted": {"a": "many"}, "holds": True}), False),
    "a fraction": (lambda told: told.append({"what": "x", "counted": {"a": 3.9}, "holds": True}), False),
    "endless numbers": (lambda told: told.append({"what": "x", "counted": {"a": float("inf")}, "holds": True}), False),
    "that one does not hold": (lambda told: told[-1].update(holds=False), False),
    "more than that": (lambda told: told[-1].update(note="all is well"), False),
    "one thing twice": (
        lambda told: told.insert(0, {**told[-1], "counted": dict.fromkeys(told[-1]["counted"], 9999)}),
        False,
    ),
}


@pytest.mark.parametrize("what", COUNTED)
def test_what_another_version_counted_is_the_same_as_far_as_it_goes(
    bundle: Path, trust: Trust, sign: Sign, tmp_path: Path, what: str
) -> None:
    """A bundle stays evidence when auditor learns to count more; what it says that is not so is found all the same."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    change, holds = COUNTED[what]
    counted_otherwise(copy, sign, change)
    found = verified(copy, trust)
    told = {check.name: check for check in found.checks}["reconciliation"]
    assert (told.holds, FILE in found.not_compared) == (holds, holds), told.told


def test_a_signature_of_another_bundle_is_none_of_this_one(bundle: Path, sign: Sign, tmp_path: Path) -> None:
    """Whoever signed it: its time stamp would say that this one was there."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / "data" / "report.html").write_bytes(b"<p>All is well.</p>")
    before = (copy / ATTESTATION).read_bytes()
    sealed(copy, sign)
    (copy / ATTESTATION).write_bytes(before)
    problem = verified(copy, Trust()).problem
    assert problem is not None
    assert (problem.name, problem.told) == ("signature", "what was signed are other files than these")


def test_a_signature_that_says_otherwise_of_the_run_is_none_of_it(bundle: Path, sign: Sign, tmp_path: Path) -> None:
    """Nobody asks whose it is; that the run passed it did not say."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    told = json.loads(statement_of(copy, load_manifest(copy / "data")))
    told["predicate"].update(result="PASSED", failedTests=[])
    (copy / ATTESTATION).write_bytes(sign(json.dumps(told).encode()))
    problem = verified(copy, Trust()).problem
    assert problem is not None
    assert (problem.name, "something else of the run" in problem.told) == ("signature", True)


def exchanged(name: str, one: str, other: str) -> Change:
    """Two columns of a table have each other's name."""
    return sql(
        name,
        f'ALTER TABLE rows RENAME "{one}" TO "_"; ALTER TABLE rows RENAME "{other}" TO "{one}"; '
        f'ALTER TABLE rows RENAME "_" TO "{other}"',
    )


def as_another_version(bundle: Path) -> None:
    """It says that another version made it, and has a page that says something else."""
    replaced("bundle.json", b'"auditor": "', b'"auditor": "9')(bundle)
    (bundle / "data" / "report.html").write_bytes(b"<p>All is well.</p>")


def report_of_another_request(bundle: Path) -> None:
    """The report's id is that of another call."""
    place = bundle / "data" / "raw" / "222222222222"
    lines = [json.loads(line) for line in (place / "requests.jsonl").read_text().splitlines()]
    other = next(line["request_id"] for line in lines if line["operation"] == "iam:ListUserTags")
    told = json.loads((place / "response.json").read_bytes())
    (place / "response.json").write_text(json.dumps({**told, "request_id": other}, indent=2) + "\n")


HIDDEN: dict[str, tuple[Change, str]] = {
    "columns exchanged": (exchanged("keys.parquet", "created_at", "last_used_at"), "replay"),
    "all is text": (sql("findings.parquet", 'ALTER TABLE rows ALTER "slot" TYPE VARCHAR'), "replay"),
    "another order": (
        sql("findings.parquet", "CREATE OR REPLACE TABLE rows AS SELECT * FROM rows ORDER BY reason DESC"),
        "replay",
    ),
    "another report than was received": (
        replaced("raw/222222222222/credential-report.csv", b",false,", b",true,"),
        "answers",
    ),
    "a key that is not active any more": (
        replaced("raw/222222222222/keys.json", b'"status": "Active"', b'"status": "Inactive"'),
        "answers",
    ),
    "a report of another request": (report_of_another_request, "reconciliation"),
    "another instant of the bundle": (replaced("bundle.json", b"2026-11-22", b"2024-01-01"), "fixity"),
    "not kept until its day": (replaced("bundle.json", b"2027-12-27", b"2026-11-21"), "fixity"),
    "requests of nothing": (
        lambda bundle: (bundle / "data" / "raw" / "111111111111" / "requests.jsonl").write_text("{}\n"),
        "reconciliation",
    ),
    "another request id": (
        replaced("raw/111111111111/response.json", b'"request_id": "', b'"request_id": "x'),
        "reconciliation",
    ),
    "an account of the organisation that is not there": (
        replaced("population.json", b"222222222222", b"555555555555"),
        "reconciliation",
    ),
    "no population": (lambda bundle: (bundle / "data" / "population.json").unlink(), "reconciliation"),
    "an answer that does not count": (
        lambda bundle: (bundle / "data" / "raw" / "333333333333" / "keys.json").write_text("{}"),
        "reconciliation",
    ),
}


@pytest.mark.parametrize("what", HIDDEN)
def test_who_makes_everything_anew_is_found_as_well(
    bundle: Path, trust: Trust, sign: Sign, tmp_path: Path, what: str
) -> None:
    """As far as anything else in the bundle tells of it; and by the check that is there for it."""
    change, check = HIDDEN[what]
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    change(copy)
    try:
        made_again(copy, sign)
    except BagError:
        sealed(copy, sign)
    problem = verified(copy, trust).problem
    assert problem is not None
    assert problem.name == check, problem.told


def test_a_run_that_kept_no_answers_says_so(bundle: Path, trust: Trust, sign: Sign, tmp_path: Path) -> None:
    """As those of earlier versions; what nothing shows is named, also to programs."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    for path in copy.glob("data/raw/*/requests.jsonl"):
        said = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [{name: one[name] for name in ("at", "operation", "request_id", "outcome")} for one in said]
        path.write_text("".join(f"{json.dumps(one)}\n" for one in kept))
    made_again(copy, sign)
    found = verified(copy, trust)
    assert found.problem is None
    (check,) = (check for check in found.checks if check.name == "answers")
    looked_up = [path.relative_to(copy / "data").as_posix() for path in copy.glob("data/raw/*/*.json")]
    told = [name for name in looked_up if name.rpartition("/")[2] not in {"account.json", "response.json"}]
    told += ["raw/333333333333/account.json"]  # of one that refused, that it did
    assert sorted(check.not_compared) == sorted(told)
    assert "NOTHING shows what AWS said" in check.told
    assert set(check.not_compared) <= set(found.not_compared)


def test_what_another_version_made_is_named_as_not_compared(
    bundle: Path, trust: Trust, sign: Sign, tmp_path: Path
) -> None:
    """It may be so; that nobody compared the page, README.txt and the rest is told, also to programs."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    as_another_version(copy)
    made_again(copy, sign)
    found = verified(copy, trust)
    assert found.problem is None
    (replay,) = (check for check in found.checks if check.name == "replay")
    assert {"report.html", "README.txt", "bag-info.txt", "data-dictionary.csv"} <= set(replay.not_compared)
    assert "NOT compared" in replay.told
    assert found.not_compared == replay.not_compared
    assert "byte for byte" in replay.told
    assert "findings.json" in replay.told


def test_a_signature_says_what_the_run_says_whatever_version_made_it(
    bundle: Path, trust: Trust, sign: Sign, tmp_path: Path
) -> None:
    """PASSED over a run with violations is what other people's programs read; another version may only say more."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    as_another_version(copy)
    made_again(copy, sign)
    truly = statement_of(copy, load_manifest(copy / "data"))
    policy = hashlib.sha256((copy / "data" / "policy.toml").read_bytes()).hexdigest()
    more = json.dumps(json.loads(truly) | {"more": 1}).encode()
    for said, holds in ((truly, True), (more, True), (statement(copy, "PASSED", policy, [], []), False)):
        (copy / ATTESTATION).write_bytes(sign(said))
        problem = verified(copy, replace(trust, replays=False)).problem
        assert (problem is None) is holds, problem


def test_what_another_version_says_less_of_is_not_byte_for_byte(
    bundle: Path, trust: Trust, sign: Sign, tmp_path: Path
) -> None:
    """It is told as what it is."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    replaced("bundle.json", b'"auditor": "', b'"auditor": "9')(copy)
    path = copy / "data" / "findings.json"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"account_name": ' not in line))
    made_again(copy, sign)
    found = verified(copy, trust)
    assert found.problem is None, found.problem
    told = found.checks[-1].told
    assert "findings.json, which says less than this one does" in told
    assert "findings.json" not in told.partition("byte for byte")[2].partition(".oscal")[0]


def test_a_statement_that_says_more_than_the_run_is_found(
    bundle: Path, trust: Trust, sign: Sign, tmp_path: Path
) -> None:
    """PASSED over a run with violations: it is what other people's programs read."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    policy = hashlib.sha256((copy / "data" / "policy.toml").read_bytes()).hexdigest()
    (copy / ATTESTATION).write_bytes(sign(statement(copy, "PASSED", policy, [], [])))
    problem = verified(copy, trust).problem
    assert problem is not None
    assert problem.told == "what was signed says something else of the run than the run itself"


def test_what_a_bundle_says_is_not_what_this_machine_says(bundle: Path, trust: Trust, tmp_path: Path) -> None:
    """Whatever its files are called, and wherever its links lead: that is its own fault."""
    words = "No space left on device"
    named, told, linked, mine = (tmp_path / name for name in ("named", "told", "linked", "mine"))
    for copy in (named, told, linked):
        shutil.copytree(bundle, copy)
    (named / words).write_text("x")
    replaced("bundle.json", b"auditor.bundle/1", words.encode())(told)
    (linked / "data").rename(tmp_path / "data")
    (linked / "data").symlink_to(tmp_path / "data")
    for copy in (named, told, linked):
        assert verified(copy, trust).problem is not None, copy
    mine.symlink_to(bundle)
    assert verified(mine, replace(trust, replays=False)).problem is None, "by which name it is reached is not its fault"


def test_a_pipe_in_place_of_a_manifest_keeps_nobody_waiting(bundle: Path, trust: Trust, tmp_path: Path) -> None:
    """Nor any other file that is no plain one."""
    for name in (MANIFEST, "data/bundle.json"):
        copy = tmp_path / name.replace("/", "-")
        shutil.copytree(bundle, copy)
        (copy / name).unlink()
        os.mkfifo(copy / name)
        assert verified(copy, trust).problem is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced("bundle.json", b"auditor.bundle/1", b"auditor.bundle/2"), "take a newer one"),
        (lambda bundle: (bundle / "data" / "bundle.json").unlink(), "no bundle of auditor"),
    ],
)
def test_what_is_of_another_kind_is_told_as_that(
    bundle: Path, trust: Trust, tmp_path: Path, change: Change, words: str
) -> None:
    """A form of a later version, or somebody else's bag."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    change(copy)
    problem = verified(copy, trust).problem
    assert problem is not None
    assert words in problem.told


@pytest.mark.parametrize("what", ["readme", "info", "nothing"])
def test_what_people_are_told_of_a_bundle_is_what_is_in_it(
    bundle: Path, trust: Trust, sign: Sign, tmp_path: Path, what: str
) -> None:
    """README.txt and bag-info.txt, signed anew: only the very same is what the run says."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    readme = (copy / "README.txt").read_bytes()
    if what == "readme":
        assert b" % of " in readme
        readme = readme.replace(b" % of ", b"9 % of ", 1)
    sealed(copy, sign, readme, **({"Source-Organization": "Somebody else"} if what == "info" else {}))
    problem = verified(copy, trust).problem
    assert (problem is None) == (what == "nothing")


def test_another_key_signs_nothing(bundle: Path, trust: Trust, tmp_path: Path) -> None:
    """A signature that is good in itself, by somebody whom the auditor does not know."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    make_key(tmp_path / "eve", KeyKind.ED25519)
    private = load_private_key(tmp_path / "eve", lambda: "")
    sealed(copy, lambda payload: sign_by_key(payload, private))
    problem = verified(copy, trust).problem
    assert problem is not None
    assert problem.name == "signature"


# ------------------------------------------------------------------------------------------------- archives


def archive_of(bundle: Path, folder: Path) -> bytes:
    """The bundle, packed."""
    pack(bundle, folder / "bundle.zip")
    return (folder / "bundle.zip").read_bytes()


def with_entry(content: bytes, name: str, text: bytes = b"x", **changes: object) -> bytes:
    """The archive with one more entry."""
    target = io.BytesIO(content)
    with catch_warnings(action="ignore"), zipfile.ZipFile(target, "a") as archive:  # of two files of one name
        entry = zipfile.ZipInfo(name, EARLIEST)
        entry.create_system, entry.external_attr = 3, PLAIN_FILE
        for field, value in changes.items():
            setattr(entry, field, value)
        archive.writestr(entry, text)
    return target.getvalue()


def recompressed(content: bytes) -> bytes:
    """The same files, compressed."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in source.infolist():
            packed.writestr(entry, source.read(entry), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def commented(content: bytes) -> bytes:
    """The archive with a comment."""
    target = io.BytesIO(content)
    with zipfile.ZipFile(target, "a") as archive:
        archive.comment = b"hello"
    return target.getvalue()


def test_an_archive_is_its_own_files_and_nothing_else(bundle: Path, trust: Trust, tmp_path: Path) -> None:
    """Paths, bombs, doubles, links, comments, what stands before and behind: one way to pack a bundle, and no other."""
    good = archive_of(bundle, tmp_path)
    root = bundle.name
    assert verified(tmp_path / "bundle.zip", trust).problem is None
    tricks = {
        "a path up": with_entry(good, f"{root}/../../evil.txt"),
        "an absolute path": with_entry(good, "/etc/evil.txt"),
        "another root": with_entry(good, "other/evil.txt"),
        "a backslash": with_entry(good, f"{root}\\evil.txt"),
        "a file twice": with_entry(good, f"{root}/README.txt"),
        "a file twice but for its case": with_entry(good, f"{root}/readme.txt"),
        "a link": with_entry(good, f"{root}/link", b"/etc/passwd", external_attr=0o120777 << 16),
        "a folder": with_entry(good, f"{root}/data/", b""),
        "a bomb": with_entry(good, f"{root}/bomb", b"\0" * 50_000_000, compress_type=zipfile.ZIP_DEFLATED),
        "a stray file": with_entry(good, f"{root}/zzz.txt"),
        "compressed": recompressed(good),
        "a comment": commented(good),
        "something before": b"MZ" + good,
        "something behind": good + b"PK",
        "cut off": good[:-30],
        "half": good[: len(good) // 2],
        "not an archive": b"PK\x03\x04",
        "nothing": b"",
    }
    for what, content in tricks.items():
        (tmp_path / "tricky.zip").write_bytes(content)
        problem = verified(tmp_path / "tricky.zip", trust).problem
        assert problem is not None, what
        words = {"half": "cut off: fetch it again", "a folder": "packed by something else", "compressed": "no bundle"}
        assert words.get(what, "") in problem.told, problem.told
    assert not (tmp_path / "evil.txt").exists()
    assert verified(tmp_path / "nowhere", trust).problem is not None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_an_answer_and_never_an_error(
    bundle: Path, trust: Trust, tmp_path: Path, data: st.DataObject
) -> None:
    """Pieces of the archive changed, cut, doubled or invented: it holds only where it is what it was."""
    good = archive_of(bundle, tmp_path)
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 40))
        content[at : at + length] = data.draw(st.binary(max_size=40))
    (tmp_path / "fuzzed.zip").write_bytes(content)
    problem = verified(tmp_path / "fuzzed.zip", trust).problem if bytes(content) != good else "the same"
    assert problem is not None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_text_in_what_is_read_first_is_an_answer(
    bundle: Path, trust: Trust, tmp_path: Path, data: st.DataObject
) -> None:
    """Manifests, bag-info.txt, bagit.txt and envelope of any content, in a folder."""
    copy = tmp_path / "copy"
    if not copy.exists():
        shutil.copytree(bundle, copy)
    name = data.draw(st.sampled_from([MANIFEST, TAG_MANIFEST, "bag-info.txt", ATTESTATION, "bagit.txt"]))
    before = (bundle / name).read_bytes()
    lines = before.splitlines(keepends=True)
    made = data.draw(st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(lines), max_size=6).map(b"".join)))
    (copy / name).write_bytes(made)
    try:
        assert (verified(copy, trust).problem is None) == (made == before)
    finally:
        (copy / name).write_bytes(before)


FOLLOWING = frozenset(
    f"data/{name}"
    for name in (
        *(
            "findings.json",
            "findings.csv",
            "findings.ocsf.jsonl",
            "findings.asff.json",
            "findings.oscal.json",
            "due.ics",
        ),
        *("reconciliation.json", "data-dictionary.csv"),
    )
)
"""What follows from the rest to the byte; in other files something may be the run's own word."""


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_content_that_is_sealed_anew_is_an_answer(
    bundle: Path, trust: Trust, sign: Sign, tmp_path: Path, data: st.DataObject
) -> None:
    """Whoever signs may put anything into the files that are counted and judged: that is told, and is no error."""
    copy = tmp_path / "copy"
    if not copy.exists():
        shutil.copytree(bundle, copy)
    names = [name for name in names_of(bundle) if name.startswith("data/") and not name.endswith((".html", ".pdf"))]
    name = data.draw(st.sampled_from(names))
    before = (bundle / name).read_bytes()
    lines = before.splitlines(keepends=True) or [b""]
    content = bytearray(before)
    for _ in range(data.draw(st.integers(1, 3))):
        at, length = data.draw(st.integers(0, max(0, len(content) - 1))), data.draw(st.integers(0, 40))
        content[at : at + length] = data.draw(st.one_of(st.binary(max_size=40), st.sampled_from(lines)))
    (copy / name).write_bytes(content)
    try:
        sealed(copy, sign)
        found = verified(copy, trust)
        if name in FOLLOWING or bytes(content) == before:
            assert (found.problem is None) == (bytes(content) == before), name
    finally:
        (copy / name).write_bytes(before)
