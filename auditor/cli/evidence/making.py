"""`auditor evidence export|keygen`: bundles, and the keys that sign them."""

import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.options import ConfigPath, EndpointUrl, Json, Output, Profile, Quiet, RunName, Verbose, config_file
from auditor.cli.output import print_json, say, set_up_logging
from auditor.cli.progress import progress_for
from auditor.errors import UsageError

if TYPE_CHECKING:
    from datetime import timedelta

    from auditor.config import Config
    from auditor.evidence.export import Exported
    from auditor.evidence.keys import KeyKind, PublicKey

KMS = "kms:"

SignWith = Annotated[
    str | None, typer.Option("--sign", metavar="KEY", help="A private key's file, or `kms:` and a key of AWS KMS.")
]
Zip = Annotated[bool, typer.Option("--zip", help="One file instead of a folder.")]
To = Annotated[
    str | None, typer.Option("--to", metavar="s3://BUCKET/PREFIX", help="Put the bundle there as well, locked.")
]
WithoutLock = Annotated[
    bool, typer.Option("--without-lock", help="Accept a bucket without Object Lock: who owns it can delete.")
]
Previous = Annotated[
    Path | None,
    typer.Option("--previous", metavar="BUNDLE", help="The bundle before; the latest one beside this by default."),
]
Bundles = Annotated[
    Path | None, typer.Option("--bundles", metavar="DIR", help="Folder of the bundles; evidence/ by default.")
]
TimeStamp = Annotated[
    str | None,
    typer.Option("--timestamp", metavar="URL", help="Have the signature stamped by this authority (RFC 3161)."),
]


def export(
    run: RunName = "latest",
    sign: SignWith = None,
    zip_: Zip = False,
    to: To = None,
    without_lock: WithoutLock = False,
    previous: Previous = None,
    bundles: Bundles = None,
    timestamp: TimeStamp = None,
    output: Output = None,
    config: ConfigPath = None,
    profile: Profile = None,
    endpoint_url: EndpointUrl = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Bundle a run: raw answers, policy, tables, findings in every form, reports, journal; with what proves them.

    The same run always gives the same bundle, whoever makes it. `README.txt` in it says how to check it, with auditor
    and without.

    **Examples**

    - `auditor evidence export latest --sign keys/evidence` - signed by a key of `auditor evidence keygen`
    - `auditor evidence export latest --sign kms:alias/evidence --zip`
    - `auditor evidence export latest --sign keys/evidence --to s3://evidence-bucket/iam` - locked until it may go
    """
    set_up_logging(verbose)
    from auditor.config import load_config
    from auditor.evidence.export import Wanted
    from auditor.evidence.export import export as make
    from auditor.history import find_run

    given = {
        "aws": {"profile": profile, "endpoint_url": endpoint_url},
        "output": {"folder": str(output) if output else None},
        "evidence": {"folder": str(bundles) if bundles else None},
    }
    settings = load_config(config_file(config), given)
    if to is not None:
        _confirm_place(to)
    evidence = settings.evidence
    signer, signed_by = _signer(evidence.sign_with if sign is None else sign, settings)
    stamper = _stamper(evidence.timestamp_url if timestamp is None else timestamp, is_signed=signer is not None)
    is_packed = zip_ or to is not None
    wanted = Wanted(Path(evidence.folder), evidence.retention, is_packed, previous, signer, signed_by, stamper)
    folder = find_run(run, Path(settings.output.folder))
    if to is not None and not without_lock:
        _confirm_time(folder, evidence.retention)
    progress = progress_for(quiet=quiet)
    try:
        made = make(folder, wanted, progress)
        stored = _put(made, to, settings, is_locked=not without_lock) if to is not None else None
    finally:
        progress.close()
    _tell(made, stored, json=json)


def _confirm_place(to: str) -> None:
    from auditor.aws.evidence_store import place_of

    place_of(to)


def _confirm_time(folder: Path, retention: "timedelta") -> None:
    from auditor.aws.evidence_store import locked_until
    from auditor.history import load_manifest

    locked_until((load_manifest(folder).as_of + retention).date(), str(folder))


def _signer(sign: str | None, config: "Config") -> "tuple[Callable[[bytes], bytes], PublicKey] | tuple[None, None]":
    """What signs, by what was named, and its public half; None where nothing was."""
    if sign is None:
        return None, None
    if not sign.removeprefix(KMS).strip():
        step = "Name one, or leave --sign out; a variable that it comes from may not be set."
        raise UsageError("No key is named to sign with.", where="--sign", next_step=step)
    from auditor.evidence.attestation import sign_by_key, sign_by_other
    from auditor.evidence.keys import load_private_key, public_key_of

    if not sign.startswith(KMS):
        key = load_private_key(Path(sign), _passphrase)
        return (lambda payload: sign_by_key(payload, key)), key.public_key()
    from auditor.aws import kms
    from auditor.aws.loop import run
    from auditor.cli.remediate.shared import telling_aws
    from auditor.gather import connection_for
    from auditor.remedy.means import Means

    name = sign.removeprefix(KMS)
    with telling_aws():
        caller = Means(config, connection_for(config), Path()).own_caller()
        public = public_key_of(run(kms.public_key(caller, name)), name)

    def by_kms(payload: bytes) -> bytes:
        with telling_aws():
            return sign_by_other(
                payload, public, lambda message, algorithm: run(kms.sign(caller, name, message, algorithm))
            )

    return by_kms, public


def _passphrase() -> str:
    if not sys.stdin.isatty():
        step = "Use a key without one where nobody is there to type it, or a key of AWS KMS."
        raise UsageError("The key needs a passphrase, and this is no terminal.", where="--sign", next_step=step)
    return getpass.getpass("Passphrase of the key: ")


def _stamper(url: str | None, *, is_signed: bool) -> Callable[[bytes], bytes] | None:
    """What has a signature stamped; None where no authority was named."""
    if url is None:
        return None
    if not is_signed:
        step = "Sign with --sign KEY, or leave --timestamp out."
        raise UsageError("What is not signed has nothing to be stamped.", where="--timestamp", next_step=step)
    from auditor.evidence.time_stamp import ask_for_time_stamp

    return lambda message: ask_for_time_stamp(url, message)


def _put(made: "Exported", to: str, config: "Config", *, is_locked: bool) -> str:
    from auditor.aws.evidence_store import put_bundle
    from auditor.cli.remediate.shared import telling_aws
    from auditor.gather import connection_for

    with telling_aws():
        return put_bundle(connection_for(config), made.path, to, made.about.retained_until if is_locked else None)


def _tell(made: "Exported", stored: str | None, *, json: bool) -> None:
    about = made.about
    if json:
        print_json(
            {
                "bundle": str(made.path),
                "run": about.run_id,
                "sha256": made.sha256,
                "files": made.files,
                "bytes": made.size,
                "signed": made.is_signed,
                "new": made.is_new,
                "previous": about.previous.run_id if about.previous else None,
                "retained_until": about.retained_until.isoformat(),
                "stored": stored,
            }
        )
        return
    was = "" if made.is_new else " (it was there already, the same)"
    say(f"Bundle  {made.path}{was}", "bold")
    say(f"SHA-256  {made.sha256}: note it down somewhere else, it stands for all of it.", indent=2)
    before = f"after {about.previous.run_id}" if about.previous else "the first of its chain"
    kept = f"to be kept until {about.retained_until.isoformat()}"
    say(f"{made.files} files, {made.size:,} bytes; {before}; {kept}.", indent=2)
    if stored:
        say(f"Stored as {stored}, read back and the same.", indent=2)
    if made.is_signed:
        say(f"Next: auditor evidence verify {made.path} --key PUBLIC-KEY")
    else:
        say("It is not signed: --sign KEY proves that it is yours. `auditor evidence keygen` makes a key.")


def keygen(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The private key's file; the public one gets .pub.")],
    kind: Annotated[str, typer.Option("--type", help="ed25519 or ecdsa.")] = "ed25519",
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for a passphrase to seal it with.")] = False,
    json: Json = False,
) -> None:
    """Make a key that signs bundles. Give the public half to your auditors yourself, never with a bundle.

    **Examples**

    - `auditor evidence keygen keys/evidence`
    - `auditor evidence keygen keys/evidence --type ecdsa --passphrase`
    """
    from auditor.evidence.keys import fingerprint, load_public_key, make_key

    sealed = _typed() if passphrase else ""
    public = make_key(path, _kind(kind), sealed)
    print_of = fingerprint(load_public_key(public))
    if json:
        print_json({"private_key": str(path), "public_key": str(public), "fingerprint": print_of})
        return
    say(f"Private key  {path}", "bold")
    say("Nobody else can read it; keep a copy where it is safe. It is in no bundle.", indent=2)
    say(f"Public key   {public}", "bold")
    say(f"{print_of}: auditors compare this with what you tell them.", indent=2)


def _typed() -> str:
    """A new passphrase, typed twice; UsageError where there is none."""
    try:
        sealed, again = getpass.getpass("Passphrase: "), getpass.getpass("Again: ")
    except EOFError:
        sealed = again = ""
    if not sealed or sealed != again:
        what = (
            "The two are not the same." if sealed != again else "There is no passphrase, and the key was to be sealed."
        )
        raise UsageError(what, where="--passphrase", next_step="Type one, or leave --passphrase out. No key was made.")
    return sealed


def _kind(name: str) -> "KeyKind":
    from auditor.evidence.keys import KeyKind

    try:
        return KeyKind(name)
    except ValueError:
        step = f"Choose from {', '.join(KeyKind)}."
        raise UsageError(f"There is no type {name!r}.", where="--type", next_step=step) from None
