"""A bag as one file: a ZIP archive of one form, and its opening, which believes nothing that an archive says of itself.

Files are stored, not compressed: then the same bag gives the same bytes whatever made them, an archive cannot unpack to
more than it is, and one that was touched anywhere is not what packing its own content again gives.
"""

import filecmp
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from errno import EINVAL
from pathlib import Path

from auditor.evidence.bag import MOST_TEXT, PAYLOAD, BagError, files_of, is_name
from auditor.evidence.layout import check_form

EARLIEST = (1980, 1, 1, 0, 0, 0)
"""The time of every entry: when it was packed is no evidence, and would make the same content differ."""

PLAIN_FILE = 0o100644 << 16
"""What Unix knows an entry as; the upper half of its external attributes (APPNOTE 4.4.15)."""

LOCAL_FILE = b"PK\x03\x04"
"""How an archive begins (APPNOTE 4.3.7)."""

PACKED_BY_OTHERS = "it is no bundle, or was packed by something else: what `evidence export --zip` makes is as it was"

CHUNK = 1 << 20

MOST_FILES = 2_000_000


def pack(bag: Path, target: Path) -> None:
    """Write a bag as a ZIP archive, its folder's name before each name; OSError where the disk refuses."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in files_of(bag):
            entry = zipfile.ZipInfo(f"{bag.name}/{name}", EARLIEST)
            entry.create_system, entry.external_attr = 3, PLAIN_FILE
            entry.file_size = (bag / name).stat().st_size
            with (bag / name).open("rb") as source, archive.open(entry, "w") as packed:
                while chunk := source.read(CHUNK):
                    packed.write(chunk)


@contextmanager
def opened(bundle: Path) -> Iterator[Path]:
    """The folder of a bundle: itself, or what an archive holds, unpacked for as long as it is looked at.

    Raises:
        BagError: there is none, it is something else's, or the archive is not what packing its own content gives: names
            that lead out of it, names twice, links, sizes that are not as they say, anything beside its files.
    """
    if bundle.is_dir():
        if (bundle / PAYLOAD).is_symlink():  # before anything is read through it
            raise BagError(f"{PAYLOAD} is a link: links are not evidence")
        check_form(bundle)
        yield bundle
        return
    if not bundle.is_file():
        raise BagError("there is no such folder or file")
    with tempfile.TemporaryDirectory(prefix="auditor-evidence-") as folder:
        unpacked = _unpack(bundle, Path(folder))
        check_form(unpacked)
        again = Path(folder) / "again.zip"
        pack(unpacked, again)
        if not filecmp.cmp(bundle, again, shallow=False):
            raise BagError("the archive is not what its own files give when they are packed")
        again.unlink()
        yield unpacked


@contextmanager
def glimpsed(bundle: Path, names: Sequence[str]) -> Iterator[Path]:
    """The folder of a bundle, of which only these small files are there for sure; of an archive no more is unpacked.

    Raises:
        BagError: there is none, it lacks one of them, or one is larger than any such file is.
    """
    if not bundle.is_dir() and not bundle.is_file():
        raise BagError("there is no such folder or file")
    with tempfile.TemporaryDirectory(prefix="auditor-evidence-") as folder:
        bag = bundle if bundle.is_dir() else _unpack(bundle, Path(folder), names)
        for name in names:
            if not (bag / name).is_file():
                raise BagError(f"{name} is missing")
            if (bag / name).stat().st_size > MOST_TEXT:
                raise BagError(f"{name} is larger than any such file is")
        yield bag


def _unpack(bundle: Path, folder: Path, names: Sequence[str] | None = None) -> Path:
    """Unpack an archive, or these of its files, where they are small; its folder."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            entries = archive.infolist()
            root = _checked(entries, bundle.stat().st_size)
            for entry in entries:
                if names is None or (entry.filename.partition("/")[2] in names and entry.file_size <= MOST_TEXT):
                    _extract(archive, entry, folder / "bag" / entry.filename)
            return folder / "bag" / root
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
        if zipfile.is_zipfile(bundle) or not _begins_as_one(bundle):
            raise BagError(f"it is no archive that can be read; {PACKED_BY_OTHERS}") from error
        raise BagError("it is an archive that is cut off: fetch it again, and compare its size") from error
    except OSError as error:
        if error.errno == EINVAL:  # of a place in it that cannot be
            raise BagError(f"it is no archive that can be read; {PACKED_BY_OTHERS}") from error
        raise BagError(f"it cannot be unpacked: {error.strerror or error}") from error


def _begins_as_one(bundle: Path) -> bool:
    with bundle.open("rb") as file:
        return file.read(len(LOCAL_FILE)) == LOCAL_FILE


def _checked(entries: list[zipfile.ZipInfo], size: int) -> str:
    """The name of the folder that the archive holds; raises BagError."""
    names = [entry.filename for entry in entries]
    roots = {name.partition("/")[0] for name in names}
    if len(roots) != 1 or len(entries) > MOST_FILES:
        raise BagError(f"the archive does not hold one folder of files; {PACKED_BY_OTHERS}")
    if len({name.casefold() for name in names}) != len(names):
        raise BagError("the archive has two files of one name")
    for entry in entries:
        root, _, name = entry.orig_filename.partition("/")
        if not (is_name(root) and is_name(name)):
            raise BagError(f"no file in a bag is called {entry.orig_filename!r}; {PACKED_BY_OTHERS}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.external_attr != PLAIN_FILE:
            raise BagError(f"{name} is no plain file that is stored as it is; {PACKED_BY_OTHERS}")
    if sum(entry.file_size for entry in entries) > size:
        raise BagError("the archive says that it holds more than it is large")
    return roots.pop()


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    """Unpack a file, no further than it says that it is large; raises BagError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as source, target.open("xb") as file:
        while left >= 0 and (chunk := source.read(CHUNK)):
            left -= len(chunk)
            file.write(chunk)
    if left:
        raise BagError(f"{entry.filename} is of another size than it says")
