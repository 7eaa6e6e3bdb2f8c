"""`auditor evidence verify|replay|sample`: what an external auditor does with a bundle, without AWS and without us."""

import csv
import io
import json as json_
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli.options import AsOf, Frameworks, Json, Quiet, Verbose, parse_instant
from auditor.cli.output import print_json, say, set_up_logging
from auditor.cli.progress import progress_for
from auditor.errors import EvidenceError, OutputError, UsageError

if TYPE_CHECKING:
    from auditor.evidence.sampling import Drawn, Sample
    from auditor.evidence.verify import Check, Trust, Verification

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: its folder, or its .zip.")]
Keys = Annotated[
    list[Path] | None,
    typer.Option("--key", metavar="FILE", help="A public key that may have signed, from elsewhere than the bundle."),
]

UNASKED = "Who signed this bundle was not checked: `auditor evidence verify` does that."


def verify(
    bundle: BundlePath,
    key: Keys = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Do not ask who signed it: it only has to agree with itself.")
    ] = False,
    previous: Annotated[
        Path | None, typer.Option("--previous", metavar="BUNDLE", help="The bundle before, which this one names.")
    ] = None,
    authority: Annotated[
        Path | None, typer.Option("--authority", metavar="FILE", help="Certificates (PEM) whose time stamps you trust.")
    ] = None,
    no_replay: Annotated[bool, typer.Option("--no-replay", help="Do not judge the raw answers again.")] = False,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Verify a bundle: nothing missing, added or changed; signed by a key you know; and its verdicts made again.

    Needs no AWS account, no network, and nothing that the bundle says of itself. Exits with 9 at the first thing that
    does not hold.

    **Examples**

    - `auditor evidence verify auditor-evidence-20261122T190000Z-5a1e0c2b.zip --key evidence.pub`
    - `auditor evidence verify BUNDLE --key evidence.pub --previous BUNDLE-OF-OCTOBER`
    """
    set_up_logging(verbose)
    from auditor.evidence.verify import verify as check

    trust = _trust(key, unsigned=unsigned, previous=previous, authority=authority, replays=not no_replay)
    progress = progress_for(quiet=quiet)
    try:
        found = check(bundle, trust, progress)
    finally:
        progress.close()
    if json:
        print_json(_verification_document(found))
    else:
        _say_verification(found)
    if found.problem is not None:
        raise typer.Exit(EvidenceError.exit_code)


def _trust(
    keys: list[Path] | None, *, unsigned: bool, previous: Path | None, authority: Path | None, replays: bool
) -> "Trust":
    from auditor.evidence.keys import load_public_key
    from auditor.evidence.time_stamp import load_roots
    from auditor.evidence.verify import Trust

    if bool(keys) == unsigned:
        step = "Name the signer's public key with --key, or say --unsigned where it is not to be asked who signed it."
        raise UsageError("Whose signature you trust is not said.", where="--key", next_step=step)
    if previous is not None and not previous.exists():
        step = "Name the bundle's folder, or its .zip."
        raise UsageError("There is no bundle.", where=str(previous), next_step=step)
    roots = load_roots(authority) if authority else []
    return Trust([load_public_key(path) for path in keys or ()], previous, roots, replays)


def _say_verification(found: "Verification") -> None:
    problem = found.problem
    if found.manifest is not None and found.about is not None:
        say(f"Run {found.about.run_id}, as of {found.about.as_of}, kept until {found.about.retained_until}", "bold")
    for check in found.checks:
        mark = "ok" if check.holds and check.was_made else "not checked" if check.holds else "DOES NOT HOLD"
        say(f"{mark:>13}  {check.name}", "" if check.holds else "bold red")
        say(check.told, indent=15)
    say("")
    if problem is not None:
        say(
            f"This bundle is not evidence: {problem.name} does not hold. What comes after it was not looked at.", "bold"
        )
        return
    left = [check.name for check in found.checks if not check.was_made]
    said = f" Not checked, as told above: {', '.join(left)}." if left else ""
    if found.not_compared:
        said += f" These may say anything, for the reasons told above: {', '.join(found.not_compared)}."
    say(f"Everything that was checked holds.{said}", "bold")
    manifest = found.manifest
    if manifest is not None and not manifest.is_complete:
        from auditor.formats import words

        say(f"The run itself says what it could not see: {words.headline(manifest)}")


def _verification_document(found: "Verification") -> dict[str, Any]:
    about, problem = found.about, found.problem
    return {
        "bundle": str(found.bundle),
        "holds": problem is None,
        "problem": {"check": problem.name, "told": problem.told} if problem else None,
        "run": about.run_id if about else None,
        "as_of": about.as_of if about else None,
        "sha256": found.sha256 or None,
        "not_compared": list(found.not_compared),
        "checks": [_check_document(check) for check in found.checks],
    }


def _check_document(check: "Check") -> dict[str, Any]:
    told = {"check": check.name, "holds": check.holds if check.was_made else None, "told": check.told}
    return told | ({"not_compared": list(check.not_compared)} if check.not_compared else {})


@contextmanager
def _sound(bundle: Path) -> Iterator[Path]:
    """The run of a bundle whose files are what its manifests say; EvidenceError where they are not."""
    from auditor.evidence.bag import PAYLOAD, BagError, check_complete, check_fixity, confirm_room, raise_if_here
    from auditor.evidence.container import opened
    from auditor.evidence.layout import check_names

    confirm_room(bundle)
    try:
        with opened(bundle) as bag:
            listed = check_complete(bag)
            check_names(listed)
            check_fixity(bag, listed)
            with suppress(OSError):
                sys.stderr.write(f"{UNASKED}\n")
            yield bag / PAYLOAD
    except (UsageError, EvidenceError):  # of the options
        raise
    except (BagError, OutputError, OSError, ValueError, MemoryError, RecursionError) as error:
        raise_if_here(error, bundle)
        why = error.what.removesuffix(".") if isinstance(error, OutputError) else error
        step = "`auditor evidence verify` checks it from the beginning."
        raise EvidenceError(f"This is no sound bundle: {why}.", where=str(bundle), next_step=step) from error


def replay(
    bundle: BundlePath,
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="A configuration, whose policy is judged by.")
    ] = None,
    max_age: Annotated[str | None, typer.Option(metavar="DAYS", help="Another limit on age, such as 60d.")] = None,
    max_unused: Annotated[
        str | None, typer.Option(metavar="DAYS", help="Another limit without use, such as 30d.")
    ] = None,
    framework: Frameworks = None,
    as_of: AsOf = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Judge a bundle's raw answers by another policy: what would 45 days, or CIS 7.0, have said?

    Nothing is written, and AWS is not asked. Without --policy it is the bundle's own policy, changed by the options.

    **Examples**

    - `auditor evidence replay BUNDLE --policy other.toml`
    - `auditor evidence replay BUNDLE --max-age 45d --framework cis-aws-7.0`
    """
    set_up_logging(verbose)
    from auditor.cli.controls import limits_given, say_simulation, simulation_document
    from auditor.config import load_config
    from auditor.history import load_manifest
    from auditor.inquiry import load_judged, other_policy
    from auditor.model import ASKED_OF_AWS
    from auditor.simulation import simulate

    given = limits_given(max_age, max_unused, framework)
    progress = progress_for(quiet=quiet)
    with _sound(bundle) as run:
        judged = load_judged(str(run), run)
        settings = load_config(policy, given) if policy else None
        if settings and judged.policy.switched_off >= ASKED_OF_AWS:  # the run has no such facts
            settings = settings.without_aws()
        other = settings.to_policy() if settings else other_policy(judged, given)
        at = parse_instant(as_of) or judged.as_of
        try:
            found = simulate(run, judged.policy, judged.as_of, other, at, progress)
        finally:
            progress.close()
        name = load_manifest(run).id
    if json:
        print_json(simulation_document(found, name, other))
    else:
        say_simulation(found, name, other)


def sample(
    bundle: BundlePath,
    seed: Annotated[str, typer.Option("--seed", help="Your own number or word: the sample follows from it alone.")],
    n: Annotated[int, typer.Option("--n", min=1, help="How many keys.")] = 25,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV on stdout, for a working paper.")] = False,
    json: Json = False,
) -> None:
    """Draw a reproducible sample of the bundle's access keys, with what it takes to look at each in AWS.

    **Examples**

    - `auditor evidence sample BUNDLE --n 25 --seed 20261201`
    - `auditor evidence sample BUNDLE --n 25 --seed 20261201 --csv > sample.csv`
    """
    from auditor.evidence.sampling import draw

    if not seed or not seed.isprintable():
        step = "Take a number or a word that you can write down in a working paper."
        raise UsageError(
            "The seed is empty, or has characters that cannot be written down.", where="--seed", next_step=step
        )
    with _sound(bundle) as run:
        try:
            found = draw(run, n, seed)
        except (ValueError, OutputError) as error:
            raise EvidenceError(f"The population cannot be read: {error}", where=str(bundle)) from error
    if json:
        print_json(asdict(found))
    elif as_csv:
        sys.stdout.write(_as_csv(found))
    else:
        _say_sample(found)


def _as_csv(found: "Sample") -> str:
    from auditor.formats.findings_csv import safe_cell

    target = io.StringIO(newline="")
    writer = csv.writer(target, lineterminator="\r\n")
    rows = [_row(one) for one in found.drawn]
    writer.writerow([*(rows[0] if rows else {}), "checked_by", "checked_at", "result"])
    for row in rows:
        writer.writerow([*(safe_cell(value) for value in row.values()), "", "", ""])
    return target.getvalue()


def _row(one: "Drawn") -> dict[str, str]:
    told = {**asdict(one), "verdicts": "; ".join(one.verdicts), "commands": " && ".join(one.commands)}
    return {name: "" if value is None else str(value) for name, value in told.items()}


def _say_sample(found: "Sample") -> None:
    say(f"{len(found.drawn)} of {found.population:,} access keys, drawn with {json_.dumps(found.seed)}", "bold")
    for one in found.drawn:
        account = f"{one.account_name} ({one.account_id})" if one.account_name else one.account_id
        key = one.access_key_id or f"slot {one.slot}"
        say("")
        say(f"{one.number:>3}  {account}  {one.user}  {key}  {one.key_status}", "bold")
        used = f"last used {one.last_used_at} by {one.last_used_service or 'a service'}" if one.last_used_at else ""
        say("; ".join(filter(None, [f"created {one.created_at}", used or "no use known"])), indent=5)
        say(", ".join(one.verdicts) or "not judged", indent=5)
        say(one.evidence, indent=5)
        say(one.console, indent=5)
        for command in one.commands:
            say(command, indent=5)
