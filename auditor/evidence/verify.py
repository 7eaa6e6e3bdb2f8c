"""A bundle, checked as an external auditor does who trusts nobody: every check a plain sentence, in this order.

1. It is a folder or an archive of plain files, with nothing hidden, doubled or leading out of it.
2. What is there is what the manifests list, no more and no less.
3. Every file has the digest that the manifest says.
4. A key that came another way signed it; and, where it has one, a time stamp says when.
5. It names the bundle before, which is that one.
6. Every number adds up over all files that tell of it.
7. What was looked up live is what AWS answered, and what the policy asks for.
8. The raw answers, judged again under the stored policy, give what the bundle says, byte for byte.

The first that does not hold ends it: what stands on it means nothing any more.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from auditor import __version__
from auditor.errors import AuditorError
from auditor.evidence.answered import confirm_answered
from auditor.evidence.attestation import check_signature, read_statement
from auditor.evidence.bag import (
    ATTESTATION,
    INFO,
    PAYLOAD,
    TIME_STAMP,
    BagError,
    bundle_digest,
    check_complete,
    check_fixity,
    confirm_room,
    decode_info,
    raise_if_here,
    read_tag,
)
from auditor.evidence.container import opened
from auditor.evidence.description import are_different, check_description, check_statement
from auditor.evidence.keys import PublicKey, fingerprint
from auditor.evidence.layout import About, check_names, read_about
from auditor.evidence.reconciliation import FILE as TOTALS
from auditor.evidence.reconciliation import check_totals
from auditor.evidence.replay import replay
from auditor.evidence.time_stamp import check_time_stamp
from auditor.formats.words import counted, instant
from auditor.gather import Progress
from auditor.history import JOURNAL, load_manifest
from auditor.model import RunManifest

CLOCKS_DIFFER = timedelta(minutes=5)
"""By how much the authority's clock may be behind that of the run's machine, or before this one's."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at: what was found, or what does not hold; or why it could not be looked at."""

    name: str
    told: str
    holds: bool = True
    was_made: bool = True
    not_compared: tuple[str, ...] = ()
    """Files that only another version, or other libraries, can make again."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found of a bundle; it holds if every check that was made does."""

    bundle: Path
    checks: tuple[Check, ...]
    about: About | None = None
    manifest: RunManifest | None = None
    sha256: str = ""

    @property
    def not_compared(self) -> tuple[str, ...]:
        """Files that hold whatever they say: only what made them can make them again."""
        return tuple(name for check in self.checks for name in check.not_compared)

    @property
    def problem(self) -> Check | None:
        """The first check that does not hold."""
        return next((check for check in self.checks if not check.holds), None)


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Trust:
    """What came another way than the bundle."""

    keys: Sequence[PublicKey] = ()
    """Of whom its signature is believed; without any, it is not checked, which is said."""
    previous: Path | None = None
    """The bundle before."""
    authorities: Sequence[x509.Certificate] = ()
    """Whose time stamps are believed."""
    replays: bool = True
    """Whether the verdicts are made again."""
    now: Callable[[], datetime] = _now
    """The instant: nothing was stamped later."""


def verify(bundle: Path, trust: Trust, progress: Progress) -> Verification:
    """Check a bundle. It may be anything at all: whatever is wrong with it is the answer, not an error.

    Raises:
        OutputError: this machine cannot check it: no room, or it may not be read.
    """
    checks: list[Check] = []
    confirm_room(bundle)
    with ExitStack() as stack:
        looked = _Looked(bundle, trust, progress, stack)
        for name, check in looked.steps():
            try:
                told = check()
            except Exception as error:  # noqa: BLE001 - made to break what reads it, perhaps
                raise_if_here(error, bundle)
                checks.append(Check(name, _why(error), holds=False))
                break
            if told is not None:
                checks.append(told if isinstance(told, Check) else Check(name, told))
        return Verification(bundle, tuple(checks), looked.about, looked.manifest, looked.sha256)


def _why(error: Exception) -> str:
    """Why something does not hold; what to do about a run of one's own is nothing to whoever checks it."""
    if isinstance(error, AuditorError):
        return error.what.removesuffix(".")
    return f"{error}" if isinstance(error, BagError) else f"it cannot be read ({type(error).__name__}: {error})"


@dataclass
class _Looked:
    """A bundle that is being looked at, and what is known of it so far."""

    bundle: Path
    trust: Trust
    progress: Progress
    stack: ExitStack
    bag: Path = Path()
    listed: dict[str, str] | None = None
    about: About | None = None
    manifest: RunManifest | None = None
    sha256: str = ""

    def steps(self) -> Sequence[tuple[str, Callable[[], "str | Check | None"]]]:
        """The checks in their order."""
        return (
            ("container", self._container),
            ("completeness", self._completeness),
            ("fixity", self._fixity),
            ("signature", self._signature),
            ("time stamp", self._time_stamp),
            ("chain", self._chain),
            ("reconciliation", self._reconciliation),
            ("answers", self._answers),
            ("replay", self._replay),
        )

    def _container(self) -> str:
        self.progress.phase("Opening the bundle")
        self.bag = self.stack.enter_context(opened(self.bundle))
        is_folder = self.bundle.is_dir()
        return "It is a folder." if is_folder else "It is an archive, which holds its files and nothing else."

    def _completeness(self) -> str:
        self.listed = check_complete(self.bag)
        check_names(self.listed)
        return f"All {counted(len(self.listed), 'file')} that the manifest lists are there, and no other."

    def _fixity(self) -> str:
        self.progress.phase("Reading every file")
        assert self.listed is not None
        number = check_fixity(self.bag, self.listed)
        self.sha256 = bundle_digest(self.bag)
        self.about = read_about(self.bag)
        self.manifest = load_manifest(self.bag / PAYLOAD)
        if (self.about.run_id, self.about.as_of) != (self.manifest.id, instant(self.manifest.as_of)):
            raise BagError("the bundle says that it is of another run than the run in it")
        if self.about.retained_until < self.manifest.as_of.date():
            raise BagError("the bundle says that it is not to be kept even until the day of its run")
        return f"All {counted(number, 'file')} have the SHA-256 that the manifests say; the bundle is {self.sha256}."

    def _signature(self) -> Check | str:
        there = (self.bag / ATTESTATION).exists()
        if not self.trust.keys:
            if there:
                self._confirm_said(read_statement(self.bag))
            why = "It is signed, and no key was given to check it with." if there else "It is not signed."
            return Check("signature", f"{why} Whoever had it in hand could have made it anew.", was_made=False)
        if not there:
            raise BagError("it is not signed")
        signer, said = check_signature(self.bag, self.trust.keys)
        self._confirm_said(said)
        return f"It was signed as it is by the key {fingerprint(signer)}."

    def _confirm_said(self, statement: bytes) -> None:
        assert self.manifest is not None
        assert self.about is not None
        check_statement(self.bag, statement, self.manifest, self.about)

    def _time_stamp(self) -> Check | str | None:
        if not (self.bag / TIME_STAMP).exists():
            if self.trust.authorities:
                raise BagError("it has no time stamp")
            return None
        if not (self.bag / ATTESTATION).exists():
            raise BagError("it has a time stamp and no signature that it could be of")
        assert self.manifest is not None
        earliest = self.manifest.finished_at - CLOCKS_DIFFER
        latest = self.trust.now() + CLOCKS_DIFFER
        said = read_tag(self.bag, ATTESTATION)
        stamped = check_time_stamp(self.bag, said, self.trust.authorities, (earliest, latest))
        at = f"{stamped.at:%Y-%m-%d %H:%M:%S}Z"
        if not stamped.is_trusted:
            told = f"A time stamp says that the signature was there at {at}; no authority was given to check it with."
            return Check("time stamp", told, was_made=False)
        return f"The authority confirms that the signature was there at {at}."

    def _chain(self) -> Check | str:
        assert self.about is not None
        named = self.about.previous
        info = decode_info(read_tag(self.bag, INFO)).get("Previous-Bundle")
        if info != (f"{named.run_id} sha256:{named.sha256}" if named else "none"):
            raise BagError(f"{INFO} names another bundle before this one than bundle.json")
        if self.trust.previous is None:
            told = f"It names {named.run_id} ({named.sha256})" if named else "It names none"
            return Check("chain", f"{told} as the bundle before; none was given to compare.", was_made=False)
        if named is None:
            raise BagError("it names no bundle before it, and one was given")
        try:
            with opened(self.trust.previous) as before:
                check_fixity(before, check_complete(before))
                there = read_about(before)
                found = (there.run_id, bundle_digest(before))
                whose = decode_info(read_tag(before, INFO)).get("Source-Organization")
                journal = self._goes_on(before / PAYLOAD / JOURNAL)
        except (BagError, OSError) as error:
            raise_if_here(error, self.trust.previous)
            raise BagError(
                f"what was given as the bundle before ({self.trust.previous}) is no sound one: {error}"
            ) from error
        if not journal:
            raise BagError(f"its {JOURNAL} does not go on with that of the bundle before")
        if there.as_of >= self.about.as_of:
            raise BagError(f"what it names as the bundle before is of {there.as_of}, and so not before it")
        if are_different(whose, decode_info(read_tag(self.bag, INFO)).get("Source-Organization")):
            raise BagError(f"the bundle before it is of another organisation, {whose}")
        if found != (named.run_id, named.sha256):
            raise BagError(f"the bundle before it was {named.run_id} with {named.sha256}, and not the one given")
        return f"The bundle before it is {named.run_id}, as it was then."

    def _goes_on(self, before: Path) -> bool:
        """Whether what auditor had written down of its changes by then is how its journal begins."""
        now = self.bag / PAYLOAD / JOURNAL
        return not before.exists() or (now.exists() and now.read_bytes().startswith(before.read_bytes()))

    def _reconciliation(self) -> Check | str:
        self.progress.phase("Counting")
        assert self.about is not None
        is_other = self.about.made_with.get("auditor") != __version__
        number, is_same = check_totals(self.bag / PAYLOAD, is_other_version=is_other)
        told = f"All {counted(number, 'total')} add up over every file that tells of them."
        if is_same:
            return told
        told += f" Another version counted other things for {TOTALS}: of what is the same, so are the numbers."
        return Check("reconciliation", told, not_compared=(TOTALS,))

    def _answers(self) -> Check | str:
        if not self.trust.replays:
            return Check("answers", "Look-ups were not held against AWS's answers, as was asked for.", was_made=False)
        found = confirm_answered(self.bag / PAYLOAD, self.progress)
        if found.of_files:
            what = "report was" if found.of_files == 1 else "reports were"
            told = f"{found.of_files:,} {what} downloaded, and AWS was not asked: NOTHING shows that AWS wrote them so."
            return Check("answers", told, was_made=False)
        told = f"The look-ups of {counted(found.accounts, 'account')}, made again of AWS's own answers, are the same."
        if not found.not_kept:
            return told
        told += f" Of {counted(len(found.not_kept), 'file')} no answers were kept, so that NOTHING shows what AWS said."
        return Check("answers", told, not_compared=found.not_kept)

    def _replay(self) -> Check | str:
        assert self.about is not None
        if not self.trust.replays:
            return Check("replay", "The verdicts were not made again, as was asked for.", was_made=False)
        assert self.manifest is not None
        by_others = check_description(self.bag, self.manifest, self.about)
        done = replay(self.bag / PAYLOAD, self.about.made_with, self.progress)
        told = (
            f"The raw answers of {counted(done.accounts, 'account')}, judged again, give the same "
            f"{counted(done.verdicts, 'verdict')} and numbers, and byte for byte {', '.join(done.reports)}."
        )
        if done.within:
            told += (
                f" Another version made {', '.join(done.within)}, which says less than this one does, and nothing else."
            )
        not_compared = (*by_others, *done.not_compared)
        if not_compared:
            told += f" Made by other versions, and so NOT compared: {', '.join(not_compared)}."
        return Check("replay", told, not_compared=not_compared)
