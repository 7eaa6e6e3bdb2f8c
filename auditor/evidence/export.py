"""A stored run → a bundle: collected, counted, described, signed; there whole, or not there at all."""

import errno
import filecmp
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from auditor import __version__
from auditor.errors import OutputError, UsageError
from auditor.evidence import dictionary, reconciliation
from auditor.evidence.answered import confirm_answered
from auditor.evidence.attestation import check_signature
from auditor.evidence.bag import (
    ATTESTATION,
    INFO,
    PAYLOAD,
    SMALL_TAGS,
    TAG_MANIFEST,
    TIME_STAMP,
    BagError,
    bundle_digest,
    check_tags,
    close_bag,
    decode_info,
    files_of,
    raise_if_here,
    read_tag,
)
from auditor.evidence.container import glimpsed, opened, pack
from auditor.evidence.description import are_different, info, readme, statement_of
from auditor.evidence.keys import PublicKey
from auditor.evidence.layout import (
    ACCOUNT_FOLDER,
    BUNDLE,
    KNOWN,
    PREFIX,
    TABLE_FILES,
    About,
    Link,
    check_form,
    encode_about,
    read_about,
)
from auditor.evidence.reconciliation import counting_files, encode_totals, totals
from auditor.evidence.replay import confirm_judged, render_reports, report_files, versions
from auditor.evidence.time_stamp import check_time_stamp
from auditor.formats.words import instant
from auditor.gather import Progress
from auditor.history import RAW, load_manifest
from auditor.history.disk import writing
from auditor.model import RunManifest

Sign = Callable[[bytes], bytes]
"""From a statement to its signed envelope."""

Stamp = Callable[[bytes], bytes]
"""From a signature's file to its time stamp."""

LEFT_AFTER = timedelta(days=1)

RESTORE = "Restore the run from its archive, or audit again."
NAME_IT = "Name the bundle of the run before with --previous."


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a bundle is made."""

    output: Path
    """The folder of the bundles."""
    retention: timedelta
    """How long after the run's instant it is to be kept."""
    is_packed: bool = False
    previous: Path | None = None
    """The bundle before; None for the latest of an earlier run in `output`."""
    sign: Sign | None = None
    signed_by: PublicKey | None = None
    """The public half of what signs: a signature that takes random numbers is known again by nothing else."""
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """A bundle that was made, or was there already with the same content."""

    path: Path
    about: About
    sha256: str
    """The digest that stands for all of it but the signature."""
    files: int
    size: int
    is_new: bool
    is_signed: bool


def export(run: Path, wanted: Wanted, progress: Progress) -> Exported:
    """Make the bundle of a stored run; the same run and the bundle before it always give the same one.

    A signature by an algorithm that takes random numbers, and a time stamp, differ each time.

    Raises:
        UsageError: there is another bundle of that name, or it is not clear which one is before.
        OutputError: the run cannot be read, its numbers do not add up, or the disk is full.
    """
    manifest = load_manifest(run)
    name = f"{PREFIX}{manifest.id}"
    target = wanted.output / (f"{name}.zip" if wanted.is_packed else name)
    about = About(
        manifest.id,
        instant(manifest.as_of),
        versions(),
        (manifest.as_of + wanted.retention).date(),
        _link(wanted, manifest),
    )
    with _making(wanted.output, name) as bag:
        _collect(run, bag, about, progress)
        close_bag(bag, readme(manifest, about), info(manifest, about))
        if wanted.sign is not None:
            progress.phase("Signing")
            (bag / ATTESTATION).write_bytes(wanted.sign(statement_of(bag, manifest)))
            if wanted.stamp is not None:
                (bag / TIME_STAMP).write_bytes(wanted.stamp((bag / ATTESTATION).read_bytes()))
        digest = bundle_digest(bag)
        made = _sizes(bag)
        is_new = _place(bag, target, wanted)
        if not is_new:  # it may have a time stamp that was not asked for now
            made = _sizes(target)
    return Exported(target, about, digest, len(made), sum(made), is_new, wanted.sign is not None)


def _sizes(bundle: Path) -> list[int]:
    """The bytes of each file of a folder or an archive."""
    if bundle.is_dir():
        return [(bundle / one).stat().st_size for one in files_of(bundle)]
    with zipfile.ZipFile(bundle) as archive:
        return [entry.file_size for entry in archive.infolist()]


@contextmanager
def _making(output: Path, name: str) -> Iterator[Path]:
    """A folder of this name in another that nobody sees, which is gone afterwards."""
    hidden = output / f".{name}.{os.urandom(4).hex()}.partial"
    try:
        with writing(output, "--bundles"):
            output.mkdir(parents=True, exist_ok=True)
            _clear(output)
            (hidden / name / PAYLOAD).mkdir(parents=True)
            yield hidden / name
    except BagError as error:
        raise OutputError(f"The bundle cannot be made: {error}.", where=str(output)) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _clear(output: Path) -> None:
    """Remove what killed exports left; one that was at work within the day may be so still, or end just now."""
    for left in output.glob(f".{PREFIX}*.partial"):
        with suppress(OSError):
            latest = max(path.lstat().st_mtime for path in (left, *left.rglob("*")))
            if latest < time.time() - LEFT_AFTER.total_seconds():
                shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _reading(run: Path) -> Iterator[None]:
    """What fails in this block is told of the run, not of what is made of it."""
    try:
        yield
    except OSError as error:
        what = f"The run cannot be read ({error.strerror or error})."
        raise OutputError(what, where=str(run), next_step=RESTORE) from error


def _copy(run: Path, name: str, data: Path) -> None:
    """Copy a file of the run into the payload."""
    with _reading(run), (run / name).open("rb"):
        pass  # what fails from here on is the target's disk
    shutil.copyfile(run / name, data / name)


def _place(bag: Path, target: Path, wanted: Wanted) -> bool:
    """Give the bundle its name, unless it has it already; whether it is new.

    Of two exports at once one comes second, and finds the other's bundle there: nothing is ever written over.
    """
    made = bag
    if wanted.is_packed and not target.exists():
        made = bag.with_name(target.name)
        pack(bag, made)
    if not target.exists() and _is_named(made, target):
        return True
    try:
        with opened(target) as there:
            same = _is_same(there, bag, wanted.signed_by)
    except BagError as error:
        raise_if_here(error, target)
        same = False
    if not same:
        step = "Name another folder with --bundles, or move the one that is there out of the way."
        raise UsageError("There is another bundle of this run already.", where=str(target), next_step=step)
    return False


def _is_named(made: Path, target: Path) -> bool:
    """Give a file or a folder this name; False where something got it meanwhile."""
    try:
        if made.is_dir():
            made.rename(target)  # which never replaces a folder with something in it
        else:
            os.link(made, target)
    except OSError as error:
        if error.errno in {errno.EEXIST, errno.ENOTEMPTY}:
            return False
        if made.is_dir():
            raise
        made.rename(target)  # a disk where no file has two names
    return True


def _is_same(there: Path, bag: Path, signed_by: PublicKey | None) -> bool:
    """Whether a bundle is the one that was just made, signed by the same signer and stamped where that was wanted.

    Raises:
        BagError: it is none.
    """
    names = [set(files_of(one)) - {ATTESTATION, TIME_STAMP} for one in (there, bag)]
    if names[0] != names[1] or not all(filecmp.cmp(there / name, bag / name, shallow=False) for name in names[1]):
        return False
    if not (bag / ATTESTATION).exists():
        return not (there / ATTESTATION).exists()
    signed = read_tag(there, ATTESTATION)
    if signed != read_tag(bag, ATTESTATION):
        if signed_by is None:
            return False
        check_signature(there, [signed_by])
    if any((one / TIME_STAMP).exists() for one in (there, bag)):
        check_time_stamp(there, signed, ())
    return True


def _link(wanted: Wanted, manifest: RunManifest) -> Link | None:
    """What names the bundle before this one; UsageError where it is not clear which one that is."""
    if wanted.previous is not None:
        try:
            link, as_of, whose = _link_to(wanted.previous)
        except BagError as error:
            raise UsageError(f"This is no bundle: {error}.", where=str(wanted.previous), next_step=NAME_IT) from error
        if as_of >= instant(manifest.as_of):
            what = f"This bundle is of {as_of}, and so not before this run, which is of {instant(manifest.as_of)}."
            raise UsageError(what, where=str(wanted.previous), next_step=NAME_IT)
        if are_different(whose, manifest.organisation):
            what = f"This bundle is of another organisation, {whose}."
            raise UsageError(what, where=str(wanted.previous), next_step=NAME_IT)
        return link
    beside: dict[str, list[Path]] = {}
    for path in sorted(wanted.output.glob(f"{PREFIX}*")) if wanted.output.is_dir() else ():
        name = path.stem if path.suffix == ".zip" else path.name if path.is_dir() else ""
        if name and name < f"{PREFIX}{manifest.id}":  # names begin with the run's instant
            beside.setdefault(name, []).append(path)
    for name in sorted(beside, reverse=True):
        links = [_link_beside(path, name) for path in beside[name]]
        if any(link != links[0] for link in links):
            what = "Two bundles of this run differ, so it is not known which of them is the one before."
            raise UsageError(what, where=str(beside[name][0]), next_step=NAME_IT)
        link, as_of, whose = links[0]
        if as_of < instant(manifest.as_of) and not are_different(whose, manifest.organisation):
            return link
    return None


def _link_beside(path: Path, name: str) -> tuple[Link, str, str | None]:
    """As `_link_to`, of a bundle of this folder; UsageError where it is damaged."""
    try:
        return _link_to(path, name)
    except BagError as error:
        what = f"This may be the bundle before, and cannot be read: {error}."
        raise UsageError(what, where=str(path), next_step=NAME_IT) from error


def _link_to(bundle: Path, name: str = "") -> tuple[Link, str, str | None]:
    """What names a bundle, its run's instant and organisation; BagError where it is none, or not of a name's run."""
    with glimpsed(bundle, (f"{PAYLOAD}/{BUNDLE}", TAG_MANIFEST, *SMALL_TAGS)) as bag:
        check_form(bag)
        check_tags(bag)
        about = read_about(bag)
        if name and f"{PREFIX}{about.run_id}" != name:
            raise BagError(f"it is of the run {about.run_id}, which its name does not say")
        whose = decode_info(read_tag(bag, INFO)).get("Source-Organization")
        return Link(about.run_id, bundle_digest(bag)), about.as_of, whose


def _collect(run: Path, bag: Path, about: About, progress: Progress) -> None:
    """The payload: the run as it is archived, its reports made anew, and what explains and counts them."""
    data = bag / PAYLOAD
    with _reading(run):
        folders = [path.name for path in (run / RAW).iterdir() if path.is_dir()]
        tables = sorted(path.name for path in (run / "tables").iterdir() if path.name in TABLE_FILES)
    accounts = sorted(name for name in folders if ACCOUNT_FOLDER.fullmatch(name))
    progress.phase("Collecting answers", len(accounts))
    for account in accounts:
        (data / RAW / account).mkdir(parents=True)
        for name in counting_files(run / RAW / account):
            _copy(run, f"{RAW}/{account}/{name}", data)
        progress.advance(account)
    (data / "tables").mkdir()
    for name in tables:
        _copy(run, f"tables/{name}", data)
    for name in KNOWN - set(report_files()):
        if (run / name).exists():
            _copy(run, name, data)
    try:
        confirm_answered(data, progress)
        confirm_judged(data, progress)
    except (BagError, OutputError) as error:
        raise_if_here(error, run)
        why = error.what.removesuffix(".") if isinstance(error, OutputError) else error
        what = f"The run does not follow from its own raw answers, so it is evidence of nothing: {why}."
        made = load_manifest(run).tool_version
        other = f"It was made by auditor {made}, which may have written it otherwise: export it with that version."
        raise OutputError(what, where=str(run), next_step=RESTORE if made == __version__ else other) from error
    for name, content in render_reports(data, progress):
        if content is None:
            step = "Install the libraries that `auditor doctor` names: the bundle holds the PDF as well."
            raise OutputError("The report cannot be made here.", where=name, next_step=step)
        (data / name).write_bytes(content)
    (data / BUNDLE).write_bytes(encode_about(about))
    (data / dictionary.FILE).write_bytes(dictionary.content())
    found = totals(data)
    wrong = next((total for total in found if not total.holds), None)
    if wrong is not None:
        counts = ", ".join(f"{where} {count:,}" for where, count in wrong.counted.items())
        what = f"The run's {wrong.what} do not add up ({counts}), so it is evidence of nothing."
        raise OutputError(what, where=str(run), next_step=RESTORE)
    (data / reconciliation.FILE).write_bytes(encode_totals(found))
