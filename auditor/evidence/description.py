"""What a bundle says of itself to people: `README.txt`, how anybody checks it, and `bag-info.txt`."""

import hashlib
import textwrap
from pathlib import Path

from auditor import __version__
from auditor.evidence import dictionary
from auditor.evidence.attestation import decode_statement, statement
from auditor.evidence.bag import INFO, PAYLOAD, README, BagError, decode_info, read_tag
from auditor.evidence.layout import About
from auditor.formats import words
from auditor.history import TERMS
from auditor.model import Outcome, RunManifest

WIDTH = 104

TEXT = """\
Evidence about AWS IAM access keys
==================================

Organisation  {organisation}
Run           {run}
As of         {as_of}
Scope         {scope}
{headline}

What this is
------------
A BagIt 1.0 bag (RFC 8493): everything that one run of auditor {version} was told by AWS, what it was
judged by, what came of it, and what makes sure that none of it was changed since.

  data/raw/<account>/       what AWS answered: credential-report.csv as it was sent, byte for byte, with
                            response.json (request id, when it was made and received); live look-ups of
                            single users (keys.json) and what else was asked for; account.json tells how
                            the account ended, also where it refused; requests.jsonl has every request
                            with its id, as CloudTrail knows it, and AWS's very answers to look-ups
  data/requests.jsonl       the requests that found the accounts, each with its id
  data/population.json      every account of the organisation, in scope or left out, and why
  data/policy.toml          what was judged by, with standards and exemptions
  data/run.json             who ran it, when, with which version, on which scope; coverage and counts
  data/tables/              every account, user, key and verdict, compliant ones too (Parquet)
  data/findings.*           what fails, is exempt or unknown, for people's and programs' use
  data/due.ics              when keys fall due, as a calendar
  data/report.html, .pdf    the report
  data/journal.jsonl        what auditor itself changed, if it ever did: rows that prove each other
  data/reconciliation.json  the same things counted in each file that tells of them
  data/data-dictionary.csv  every column: where it comes from, and what it means
  data/bundle.json          the bundle before this one, and how long this one is kept
  attestation.intoto.json   the signature, where it is signed: DSSE envelope, in-toto statement
  attestation.tsr           where it was asked for, an authority's time stamp of the signature (RFC 3161)

How to check it without auditor
-------------------------------
In this folder:

  sha256sum -c manifest-sha256.txt        every file is what the manifest says
  sha256sum -c tagmanifest-sha256.txt     and so are the manifest and this text

That does not show a file that was added: no other than these, and those of the signature, belongs here. The
signature is over README.txt, bag-info.txt, bagit.txt and both manifests, so over everything. A program of
fifty lines that checks all of it with a public key comes with auditor's source, as docs/verify_evidence.py.
Have it, and the public key, from somebody else than who gave you this bundle.

How to check it with auditor
----------------------------
  auditor evidence verify BUNDLE --key PUBLIC-KEY [--previous BUNDLE-OF-THE-MONTH-BEFORE]

checks all of this, that every total adds up, and then judges the raw answers again: verdicts, numbers and
reports must come out the same, byte for byte. It needs no AWS account and no network.

  auditor evidence sample BUNDLE --n 25 --seed YOUR-NUMBER    a sample to check in AWS yourself
  auditor evidence replay BUNDLE --policy OTHER.toml          what another policy would have said

Kept until {retained_until}. The bundle before: {previous}.
"""


NOT_NAMED = "not named"
"""What stands where a run knows no organisation."""


def are_different(one: str | None, other: str | None) -> bool:
    """Whether two bundles are of two organisations, as far as both name one; blanks are as bag-info.txt has them."""
    names = {" ".join((name or NOT_NAMED).split()) or NOT_NAMED for name in (one, other)}
    return len(names - {NOT_NAMED}) > 1


def readme(manifest: RunManifest, about: About) -> bytes:
    """The text for a run."""
    previous = f"{about.previous.run_id}, sha256 {about.previous.sha256}" if about.previous else "none is named"
    return TEXT.format(
        organisation=_line(manifest.organisation or NOT_NAMED),
        run=manifest.id,
        as_of=about.as_of,
        scope=_line(manifest.scope),
        headline=textwrap.fill(
            _line(words.headline(manifest)), WIDTH, initial_indent="Result        ", subsequent_indent=" " * 14
        ),
        version=manifest.tool_version,
        retained_until=about.retained_until.isoformat(),
        previous=previous,
    ).encode("utf-8", "backslashreplace")


def info(manifest: RunManifest, about: About) -> list[tuple[str, str]]:
    """`bag-info.txt`: the elements that RFC 8493 names, and two of our own."""
    coverage = manifest.coverage
    scope = f"{coverage.accounts_audited} of {coverage.accounts_in_scope} accounts"
    previous = f"{about.previous.run_id} sha256:{about.previous.sha256}" if about.previous else "none"
    return [
        ("Source-Organization", _line(manifest.organisation or NOT_NAMED)),
        ("External-Identifier", manifest.id),
        ("External-Description", f"AWS IAM access keys as of {about.as_of}: {scope}, {manifest.scope}"),
        ("Bagging-Date", about.as_of[:10]),
        ("Bag-Software-Agent", f"auditor {about.made_with['auditor']}"),
        ("Sensitivity", "Confidential: names of users, accounts and access key ids; no secrets"),
        ("Retention-Until", about.retained_until.isoformat()),
        ("Previous-Bundle", previous),
    ]


def _line(text: str) -> str:
    """A text of somebody's as one line that obeys nobody."""
    return "".join(character if character.isprintable() else " " for character in text)


def statement_of(bag: Path, manifest: RunManifest) -> bytes:
    """What is signed about the bag: the tests are the controls, and the result is the run's own."""
    verdicts = manifest.summary.verdicts
    failed = [control for control, counts in verdicts.items() if counts.get(Outcome.NON_COMPLIANT)]
    unknown = [control for control, counts in verdicts.items() if counts.get(Outcome.UNKNOWN)]
    result = "FAILED" if failed else "PASSED" if manifest.is_complete else "WARNED"
    policy = hashlib.sha256((bag / PAYLOAD / TERMS).read_bytes()).hexdigest()
    return statement(bag, result, policy, failed, unknown)


def check_description(bag: Path, manifest: RunManifest, about: About) -> tuple[str, ...]:
    """Whether a bag tells people what this version tells them of such a run; what cannot be compared.

    What another version wrote cannot be, but for which run it is of, and until when it is kept.

    Raises:
        BagError: it tells something else.
    """
    told = decode_info(read_tag(bag, INFO))
    told.pop("Payload-Oxum")
    expected = {label: " ".join(value.split()) for label, value in info(manifest, about)}
    lasting = ("External-Identifier", "Bagging-Date", "Retention-Until", "Previous-Bundle")
    if any(told.get(label) != expected[label] for label in lasting):
        raise BagError(f"{INFO} is of another run, or of another bundle before it, than {PAYLOAD}/bundle.json")
    if about.made_with.get("auditor") != __version__:
        return README, INFO, dictionary.FILE
    if read_tag(bag, README) != readme(manifest, about) or told != expected:
        raise BagError(f"{README} or {INFO} says something else of the run than the run itself")
    if (bag / PAYLOAD / dictionary.FILE).read_bytes() != dictionary.content():
        raise BagError(f"{dictionary.FILE} is not the dictionary of this version")
    return ()


def check_statement(bag: Path, payload: bytes, manifest: RunManifest, about: About) -> None:
    """Whether what was signed says of the run what the run says; raises BagError.

    Of another version it may say more: what it says of the result, the failing controls and the policy is compared.
    """
    expected = statement_of(bag, manifest)
    is_ours = about.made_with.get("auditor") == __version__
    is_so = payload == expected if is_ours else _told_by(payload) == _told_by(expected)
    if not is_so:
        raise BagError("what was signed says something else of the run than the run itself")


def _told_by(payload: bytes) -> list[object]:
    predicate = decode_statement(payload).get("predicate")
    told = predicate if isinstance(predicate, dict) else {}
    return [told.get(name) for name in ("result", "configuration", "failedTests", "warnedTests")]
