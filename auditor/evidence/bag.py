"""A bag: a folder whose manifests say what is in it (BagIt 1.0, RFC 8493), in the form that `sha256sum -c` reads.

Its form has no freedom: the same content always has the same bytes, so that no byte can be changed unseen.
"""

import errno
import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from auditor.errors import OutputError

DECLARATION, INFO, README = "bagit.txt", "bag-info.txt", "README.txt"
MANIFEST, TAG_MANIFEST, PAYLOAD = "manifest-sha256.txt", "tagmanifest-sha256.txt", "data"

ATTESTATION, TIME_STAMP = "attestation.intoto.json", "attestation.tsr"
"""The signature of the bag, and the time stamp of the signature: made when all else is there."""

SMALL_TAGS = (README, INFO, DECLARATION)
"""Those that are small whatever a bag holds."""

TAGS = (*SMALL_TAGS, MANIFEST)
"""What the tag manifest lists."""

DECLARED = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*){0,8}", re.ASCII)
"""What a file in a bag may be called: nothing that leads out of it, hides, or reads otherwise on another system."""

LONGEST_NAME = 200

LINE = re.compile(r"([0-9a-f]{64})  (.*)", re.ASCII)

MOST_TEXT = 1 << 20
"""Bytes of a tag file but the manifest, which grows with the files."""

MOST_MANIFEST = 1 << 28


class BagError(Exception):
    """What does not hold of a bag, as a sentence."""


HERE = frozenset(
    {
        *(errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC),
        *(errno.EPERM, errno.EROFS),
    }
)
"""What the system says of itself, and not of what is read."""


def confirm_room(bundle: Path) -> None:
    """Raise OutputError where this machine has no folder for temporary files at all."""
    try:
        tempfile.gettempdir()
    except OSError as error:
        step = "Name a folder that can be written in TMPDIR. Nothing is known of the bundle yet."
        raise OutputError(f"It cannot be looked at here: {error}.", where=str(bundle), next_step=step) from error


def raise_if_here(error: BaseException, bundle: Path) -> None:
    """Raise OutputError where what failed is the machine that looks at a bundle, of which nothing is known then."""
    cause: BaseException | None = error
    while cause is not None:
        is_here = isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in HERE)
        is_duckdbs = type(cause).__module__.startswith(("_duckdb", "duckdb"))  # which has no numbers, but the words
        if is_here or (is_duckdbs and any(os.strerror(number) in str(cause) for number in HERE)):
            step = (
                "Make room, also for temporary files (TMPDIR), or let it be read. Nothing is known of the bundle yet."
            )
            raise OutputError(f"It cannot be looked at here: {cause}.", where=str(bundle), next_step=step) from error
        cause = cause.__cause__ or cause.__context__


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits; the file may be larger than memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode_manifest(digests: Mapping[str, str]) -> bytes:
    """A manifest: a line a file, digest and name, with two spaces between them, in the order of names."""
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()


def decode_manifest(content: bytes, name: str) -> dict[str, str]:
    """The digests of a manifest by file.

    Raises:
        BagError: it is none, or not in the form that `encode_manifest` gives it.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(_text(content, name).split("\n")[:-1], 1):
        matched = LINE.fullmatch(line)
        if matched is None or not is_name(matched[2]):
            raise BagError(f"line {number} of {name} is no digest and name of a file")
        found[matched[2]] = matched[1]
    if encode_manifest(found) != content:
        raise BagError(f"{name} has lines twice, out of order, or something beside its lines")
    return found


def is_name(name: str) -> bool:
    """Whether a file in a bag may be called so."""
    return len(name) <= LONGEST_NAME and NAME.fullmatch(name) is not None


def encode_info(info: Iterable[tuple[str, str]]) -> bytes:
    """`bag-info.txt`: a line an element; what would break a line is a space."""
    return "".join(f"{label}: {' '.join(value.split())}\n" for label, value in info).encode()


def decode_info(content: bytes) -> dict[str, str]:
    """The elements of `bag-info.txt`, each of which is there once; raises BagError."""
    pairs = [line.partition(": ")[::2] for line in _text(content, INFO).split("\n")[:-1]]
    if encode_info(pairs) != content:
        raise BagError(f"{INFO} is not made of lines `label: value`")
    if len({label for label, _ in pairs}) != len(pairs):
        raise BagError(f"{INFO} says something twice")
    return dict(pairs)


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BagError(f"{name} is not UTF-8") from error


def payload_oxum(digests: Mapping[str, str], bag: Path) -> str:
    """Bytes and files of the payload, as `Payload-Oxum` has them."""
    return f"{sum((bag / name).stat().st_size for name in digests)}.{len(digests)}"


def close_bag(bag: Path, readme: bytes, info: Iterable[tuple[str, str]]) -> None:
    """Make a bag of a folder that has its payload: the tag files and both manifests; OSError where it cannot."""
    digests = {name: digest_of(bag / name) for name in files_of(bag, PAYLOAD)}
    written = {
        README: readme,
        DECLARATION: DECLARED,
        INFO: encode_info([*info, ("Payload-Oxum", payload_oxum(digests, bag))]),
        MANIFEST: encode_manifest(digests),
    }
    for name, content in written.items():
        (bag / name).write_bytes(content)
    tags = {name: hashlib.sha256(content).hexdigest() for name, content in written.items()}
    (bag / TAG_MANIFEST).write_bytes(encode_manifest(tags))


def files_of(bag: Path, below: str = "") -> Iterator[str]:
    """The names of all files in a bag, or in one of its folders.

    Raises:
        BagError: something in it is no plain file or folder, has a name that none may have, or is a folder with nothing
            in it.
    """
    with os.scandir(bag / below) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    if not found:
        raise BagError(f"{below or 'the bag'} is an empty folder")
    for entry in found:
        name = f"{below}/{entry.name}" if below else entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if not is_name(name):
            raise BagError(f"no file may be called {name!r}")
        if stat.S_ISDIR(mode):
            yield from files_of(bag, name)
        elif stat.S_ISREG(mode):
            yield name
        else:
            raise BagError(f"{name} is no plain file: links and devices are not evidence")


def read_tag(bag: Path, name: str) -> bytes:
    """A file beside the payload; raises BagError where it is missing or larger than any is."""
    most = MOST_MANIFEST if name == MANIFEST else MOST_TEXT
    path = bag / name
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            raise BagError(f"{name} is no plain file, or larger than any such file is")
        return path.read_bytes()
    except OSError as error:
        raise BagError(f"{name} cannot be read: {error.strerror}") from error


def bundle_digest(bag: Path) -> str:
    """What stands for all of a bag but its signature: the SHA-256 of its tag manifest; raises BagError."""
    return hashlib.sha256(read_tag(bag, TAG_MANIFEST)).hexdigest()


def check_tags(bag: Path) -> None:
    """Whether a bag's small files are what its tag manifest says; raises BagError."""
    tags = _tags_of(bag)
    _confirm_unchanged(bag, {name: tags[name] for name in SMALL_TAGS})


def _tags_of(bag: Path) -> dict[str, str]:
    """The digests of the tag files; raises BagError where others are listed."""
    tags = decode_manifest(read_tag(bag, TAG_MANIFEST), TAG_MANIFEST)
    if set(tags) != set(TAGS):
        raise BagError(f"{TAG_MANIFEST} does not list {', '.join(TAGS)} and nothing else")
    return tags


def _confirm_unchanged(bag: Path, listed: Mapping[str, str]) -> None:
    changed = [name for name, digest in listed.items() if digest_of(bag / name) != digest]
    if changed:
        raise BagError(f"{_named(changed)} not what the manifest says")


def check_complete(bag: Path) -> dict[str, str]:
    """The digests of the payload.

    Raises:
        BagError: what is there is not what the manifests list, no more and no less.
    """
    listed = decode_manifest(read_tag(bag, MANIFEST), MANIFEST)
    tags = _tags_of(bag)
    present = set(files_of(bag))
    expected = {*listed, *tags, TAG_MANIFEST}
    missing, stray = sorted(expected - present), sorted(present - expected - {ATTESTATION, TIME_STAMP})
    if missing:
        raise BagError(f"{_named(missing)} listed and missing")
    if stray:
        raise BagError(f"{_named(stray)} there and not listed")
    wrong = sorted(name for name in listed if not name.startswith(f"{PAYLOAD}/"))
    if wrong:
        raise BagError(f"{_named(wrong)} listed as payload and beside it")
    return listed


def check_fixity(bag: Path, listed: Mapping[str, str]) -> int:
    """Compare every file with its digest; the number of files.

    Raises:
        BagError: one differs, or the tag files are not what a bag has.
    """
    tags = decode_manifest(read_tag(bag, TAG_MANIFEST), TAG_MANIFEST)
    _confirm_unchanged(bag, {**tags, **listed})
    if read_tag(bag, DECLARATION) != DECLARED:
        raise BagError(f"{DECLARATION} does not declare BagIt 1.0 in UTF-8")
    info = decode_info(read_tag(bag, INFO))
    if info.get("Payload-Oxum") != payload_oxum(listed, bag):
        raise BagError(f"{INFO} tells another size or number of files than there is")
    return len(tags) + len(listed)


def _named(names: list[str]) -> str:
    """The first of them, with the verb."""
    if len(names) == 1:
        return f"{names[0]} is"
    return f"{names[0]} and {len(names) - 1} more are"
