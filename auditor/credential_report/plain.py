"""The plain form, in which AWS sends its reports, all rows at once.

Plain is ASCII without quotes, lines of as many cells as the header has, and cells in AWS's own spelling. A report that
is not plainly right in every cell is not read here at all: the row parser reads it, or says what is wrong with it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from auditor.credential_report.layout import (
    ARN,
    NO_INFORMATION,
    NOT_AVAILABLE,
    NOT_SUPPORTED,
    Layout,
    layout_of,
    not_told,
)
from auditor.errors import ReportFormatError
from auditor.model import ROOT_USER, CredentialReport
from auditor.report_columns import Answers, Flags, Instants, ReportColumns, Texts

Positions = npt.NDArray[np.intp]
Codes = npt.NDArray[np.int8]
"""Which of `_MARKERS` a cell holds; -1 for none of them."""

_MARKERS = (NOT_AVAILABLE, NO_INFORMATION, NOT_SUPPORTED)
_WHY_UNKNOWN = np.array([None, not_told(NO_INFORMATION), not_told(NOT_SUPPORTED), None], np.object_)
_WHY_PASSWORD_UNKNOWN = np.array([None, None, not_told(NOT_SUPPORTED), None], np.object_)
"""By `Codes`, whose -1 is the last: what a marker says of a last use, or None where it says never."""

_HEADER_START = b"user,arn,"
"""These two come first; the others may stand in any order, and columns that are not known between them."""
_LONGEST_HEADER = 2_000
"""Bytes; those of some headers are kept with what they mean."""
_LONGEST_CELL = 100_000
"""Bytes; the row parser refuses fields of more than 131,072, as the csv module does."""

_COMMA, _NEWLINE, _SLASH, _SPACE = b",\n/ "
_LOWEST = b"0000-00-00T00:00:00Z"
_HIGHEST = b"9999-19-39T29:59:59Z"
"""An instant, byte by byte; numpy refuses the months, days and hours between these that do not exist."""
_FIRST_INSTANT = np.datetime64("0001-01-01T00:00:00", "us")


class _NotPlainError(Exception):
    """Something in the report is not plainly right."""


def read_plain(content: bytes) -> CredentialReport | None:
    """The report, or None where it is not plainly right; then what the row parser says counts."""
    try:
        return _report(content.removesuffix(b"\n"))
    except _NotPlainError:
        return None


def _report(content: bytes) -> CredentialReport:
    end = content.find(b"\n")
    _require(0 < end <= _LONGEST_HEADER)
    layout = _layout(content[:end])
    cells = _cells(content, layout)
    columns = _columns(cells, layout)
    partition, account_id = _confirmed_owner(cells, layout, columns)
    return CredentialReport(account_id, partition, columns, has_additional_column=layout.additional is not None)


@lru_cache(maxsize=8)
def _layout(header: bytes) -> Layout:
    _require(header.isascii() and header.startswith(_HEADER_START))
    try:
        return layout_of(header.decode().split(","), "", 1)
    except ReportFormatError:
        raise _NotPlainError from None


def _require(plain: bool | np.bool_) -> None:  # noqa: FBT001 - it reads as a sentence
    if not plain:
        raise _NotPlainError


# ------------------------------------------------------------------------------------------------- bytes to cells


@dataclass(frozen=True, slots=True)
class _Cells:
    """Where the cells of some columns begin and how long they are, one row for each line below the header."""

    content: bytes
    text: str
    starts: Positions
    lengths: Positions

    def take(self, *columns: int) -> "_Cells":
        """These columns alone, in this order."""
        return _Cells(self.content, self.text, self.starts[:, columns], self.lengths[:, columns])

    def are(self, word: str) -> Flags:
        """Which cells hold just this word."""
        found: Flags = self.lengths == len(word)
        found[found] = self._beginnings(self.starts[found], len(word)) == word.encode()
        return found

    def begin(self, word: str) -> Flags:
        """Which cells begin with this word."""
        found: Flags = self.lengths >= len(word)
        found[found] = self._beginnings(self.starts[found], len(word)) == word.encode()
        return found

    def markers(self) -> Codes:
        """Which of AWS's words for no value each cell holds."""
        codes = np.full(self.lengths.shape, -1, np.int8)
        for code, word in enumerate(_MARKERS):
            codes[self.are(word)] = code
        return codes

    def answers(self) -> Answers:
        """The cells as booleans."""
        yes, no = self.are("true"), self.are("false")
        said = yes | no
        if not said.all():
            _require((self.markers() >= 0)[~said].all())
        return yes.astype(np.int8) - ~said

    def instants(self) -> tuple[Instants, Codes]:
        """The cells as instants, and what stands where there is none."""
        markers = self.markers()
        told = markers < 0
        _require((self.lengths[told] == len(_LOWEST)).all())
        texts = self._beginnings(self.starts[told], len(_LOWEST))
        digits = texts.view(np.uint8).reshape(-1, len(_LOWEST))
        lowest, highest = (np.frombuffer(form, np.uint8) for form in (_LOWEST, _HIGHEST))
        _require(((digits >= lowest) & (digits <= highest)).all())
        try:
            values = texts.astype(f"S{len(_LOWEST) - 1}").astype("datetime64[us]")
        except ValueError:
            raise _NotPlainError from None
        _require((values >= _FIRST_INSTANT).all())
        instants = np.full(told.shape, "NaT", "datetime64[us]")
        instants[told] = values
        return instants, markers

    def texts(self, where: Flags) -> Texts:
        """The cells as they are; None but where they are asked for."""
        starts = self.starts[where]
        slices = map(slice, starts.tolist(), (starts + self.lengths[where]).tolist())
        texts = np.full(where.shape, None)
        texts[where] = np.fromiter(map(self.text.__getitem__, slices), np.object_, len(starts))
        return texts

    def _beginnings(self, starts: Positions, length: int) -> npt.NDArray[np.bytes_]:
        """So many bytes from each of these positions on; they lie within cells."""
        everywhere = np.ndarray((len(self.content) - length + 1,), f"S{length}", self.content, strides=(1,))
        return everywhere[starts]


def _cells(content: bytes, layout: Layout) -> _Cells:
    """Where the cells stand, if there is no quote, no control character and no line of another length."""
    width = len(layout.columns)
    codes = np.frombuffer(content, np.uint8)
    separators = np.flatnonzero((codes == _COMMA) | (codes == _NEWLINE))
    _require(len(separators) % width == width - 1)
    ends = np.append(separators, len(codes)).reshape(-1, width)
    lines = len(ends)
    _require(lines > 1 and content.isascii() and b'"' not in content and b"\x7f" not in content)
    _require(np.count_nonzero(codes < _SPACE) == lines - 1 and (codes[ends[:-1, -1]] == _NEWLINE).all())
    starts = separators[width - 1 :] + 1
    starts = np.append(starts, 0)[: (lines - 1) * width].reshape(-1, width)
    lengths = ends[1:] - starts
    _require(lengths.max() <= _LONGEST_CELL)
    return _Cells(content, content.decode(), starts, lengths)


# ------------------------------------------------------------------------------------------------- cells to columns


def _columns(cells: _Cells, layout: Layout) -> ReportColumns:
    one, two = layout.slots
    answers = cells.take(
        *(layout.password_enabled, layout.mfa_active, one.active, two.active), *layout.certificates
    ).answers()
    instants, markers = cells.take(
        *(layout.created_at, layout.password_last_used, layout.password_last_changed),
        *(one.last_rotated, two.last_rotated, one.last_used_date, two.last_used_date),
        *layout.dates_only_checked,
    ).instants()
    active, created, used = answers[:, 2:4], instants[:, 3:5], instants[:, 5:7]
    _require((active >= 0).all())
    has_key = (active == 1) | ~np.isnat(created) | ~np.isnat(used)
    _require((has_key | (markers[:, 3:5] == _MARKERS.index(NOT_AVAILABLE))).all())
    places = cells.take(one.last_used_service, two.last_used_service, one.last_used_region, two.last_used_region)
    services_and_regions = _known(places, np.tile(~np.isnat(used), 2))
    names = _names(cells)
    additional = (
        np.full((len(used), 1), None) if layout.additional is None else _known_more(cells.take(layout.additional))
    )
    return ReportColumns(
        name=names[:, 0],
        arn=names[:, 1],
        created_at=instants[:, 0],
        password_enabled=answers[:, 0],
        password_used_at=instants[:, 1],
        password_use_unknown=_WHY_PASSWORD_UNKNOWN[markers[:, 1]],
        password_changed_at=instants[:, 2],
        mfa_active=answers[:, 1],
        active_certificates=np.count_nonzero(answers[:, 4:] == 1, axis=1),
        additional=additional[:, 0],
        has_key=has_key,
        key_active=active == 1,
        key_created_at=created,
        key_used_at=used,
        key_service=services_and_regions[:, :2],
        key_region=services_and_regions[:, 2:],
        key_use_unknown=_WHY_UNKNOWN[markers[:, 5:7]],
    )


def _names(cells: _Cells) -> Texts:
    """The users' names and ARNs, which stand side by side."""
    ends = cells.starts[:, 1] + cells.lengths[:, 1]
    pairs = map(cells.text.__getitem__, map(slice, cells.starts[:, 0].tolist(), ends.tolist()))
    return np.array(",".join(pairs).split(","), np.object_).reshape(-1, 2)


def _known(places: _Cells, used: Flags) -> Texts:
    """Services or Regions of keys that were used; None where AWS names none."""
    return places.texts(used & (places.lengths > 0) & (places.markers() < 0))


def _known_more(cells: _Cells) -> Texts:
    """What the report tells of further credentials; None where it tells nothing."""
    return cells.texts((cells.lengths > 0) & ~cells.are(NOT_AVAILABLE) & ~cells.are(NOT_SUPPORTED))


# ------------------------------------------------------------------------------------------------- whose report it is


def _confirmed_owner(cells: _Cells, layout: Layout, columns: ReportColumns) -> tuple[str, str]:
    """Partition and account of the first ARN, if every ARN is of that account and names the user of its row."""
    match = ARN.fullmatch(columns.arn[0])
    if match is None:
        raise _NotPlainError
    partition, account_id = match[1], match[2]
    users, arns = cells.take(layout.user), cells.take(layout.arn)
    account = f"arn:{partition}:iam::{account_id}:"
    path = f"{account}user/"
    root = arns.are(f"{account}root") & users.are(ROOT_USER)
    named = arns.begin(path) & (users.lengths > 0) & (arns.lengths >= users.lengths + len(path))
    _require((root | named).all())
    _confirm_named(
        users.starts[~root], (arns.starts + arns.lengths - users.lengths)[~root], users.lengths[~root], cells.content
    )
    _require(len(set(",".join(columns.name.tolist()).lower().split(","))) == len(columns))
    return partition, account_id


def _confirm_named(in_user: Positions, in_arn: Positions, lengths: Positions, content: bytes) -> None:
    """Each ARN must end with a slash and the name, byte by byte, and the name must hold no slash."""
    codes = np.frombuffer(content, np.uint8)
    _require((codes[in_arn - 1] == _SLASH).all())
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    names = codes[np.repeat(in_user, lengths) + within]
    _require((names != _SLASH).all() and (names == codes[np.repeat(in_arn, lengths) + within]).all())
