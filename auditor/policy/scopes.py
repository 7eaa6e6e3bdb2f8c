"""Which keys and users a scope means: surely, or possibly where what it asks for could not be read.

Nothing matches by a part of its name: a user name is given whole, or as a pattern in which only * and ? stand for
others; a path ends at a slash; a tag is a key, or key=value.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd

from auditor.model import Scope, UserKind
from auditor.report_columns import Flags, Texts
from auditor.tables import plain_texts

Rank = tuple[int, ...]
"""How specific a scope is; the greater, the more."""

WILD = re.compile(r"[*?]")

Tags = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an account stands in its organisation; None where that is not known."""

    units: tuple[str, ...] | None = None
    unit_names: tuple[str, ...] | None = None

    def depth_of(self, unit: str) -> int | None:
        """How far down a unit above the account is, 0 for the root; None where it is not above it."""
        if unit.startswith("/"):
            names = tuple(unit.split("/")[1:])
            return len(names) if (self.unit_names or ())[: len(names)] == names else None
        return self.units.index(unit) if self.units and unit in self.units else None

    def knows(self, unit: str) -> bool:
        """Whether it can be told that this unit is, or is not, above the account."""
        return (self.unit_names if unit.startswith("/") else self.units) is not None


def places_of(accounts: pd.DataFrame) -> Mapping[str, Place]:
    """The places in a table of `auditor.tables.ACCOUNTS`, by account id."""

    def split(text: object, *, leading: bool) -> tuple[str, ...] | None:
        if not isinstance(text, str):
            return None
        return tuple(text.split("/")[1:] if leading and text else text.split("/") if text else ())

    columns = (accounts[name].astype(object) for name in ("account_id", "units", "unit_names"))
    return {
        account: Place(split(units, leading=False), split(names, leading=True))
        for account, units, names in zip(*columns, strict=True)
    }


@dataclass(frozen=True)
class Subjects:
    """What scopes ask of keys and users: columns of the same length.

    `human` gives 1 for a user with a console password, 0 for one without, -1 where that is not known; `tags` the user's
    tags, or None where they were not read. They are called only where a scope asks for them.
    """

    account: Texts
    user: Texts
    arn: Texts
    is_root: Flags
    human: Callable[[], npt.NDArray[np.int8]]
    tags: Callable[[], Sequence[Tags | None]]
    places: Mapping[str, Place]
    key: Texts | None = None

    @cached_property
    def _tags(self) -> Sequence[Tags | None]:
        return self.tags()

    @cached_property
    def _accounts(self) -> tuple[npt.NDArray[np.intp], Sequence[str]]:
        codes, ids = pd.factorize(self.account)
        return codes, [str(account) for account in ids]

    def matching(self, scope: Scope) -> tuple[Flags, Flags]:
        """Which rows the scope surely means, and which it may mean; these are the same where all is known."""
        sure = np.full(len(self.account), fill_value=True)
        possible = sure.copy()
        for surely, perhaps in self._answers(scope):
            sure &= surely
            possible &= perhaps
        return sure, possible

    def _answers(self, scope: Scope) -> Iterable[tuple[Flags, Flags]]:
        """What each kind of entry that the scope has says of the rows."""
        of_users = ~self.is_root
        if scope.keys:
            known = np.zeros(len(self.account), np.bool_) if self.key is None else _is_in(self.key, scope.keys)
            yield known, known if self.key is None else known | pd.isna(self.key)
        if scope.accounts:
            inside = _is_in(self.account, scope.accounts)
            yield inside, inside
        if scope.units:
            yield self._by_unit(scope.units)
        if scope.paths:
            below = "|".join(re.escape(path) for path in scope.paths)
            matches = pd.Series(self.arn, dtype=object).str.match(rf"arn:[^:]*:iam::[0-9]*:user(?:{below})", na=False)
            inside = matches.to_numpy(np.bool_)
            yield inside, inside
        if scope.users:
            inside = self._named(scope.users) & of_users
            yield inside, inside
        if scope.kind is not None:
            wanted = 1 if scope.kind is UserKind.HUMAN else 0
            human = self.human()
            inside = np.equal(human, wanted) & of_users
            yield inside, inside | ((human < 0) & of_users)
        if scope.tags:
            yield self._tagged(frozenset(scope.tags))

    def _by_unit(self, units: Sequence[str]) -> tuple[Flags, Flags]:
        codes, ids = self._accounts
        places = [self.places.get(account, Place()) for account in ids]
        sure = np.array([any(place.depth_of(unit) is not None for unit in units) for place in places], np.bool_)
        open_ = np.array([not all(place.knows(unit) for unit in units) for place in places], np.bool_)
        return sure[codes], (sure | open_)[codes]

    def _named(self, names: Sequence[str]) -> Flags:
        inside = _is_in(self.user, [name for name in names if not WILD.search(name)])
        patterns = [_as_regex(name) for name in names if WILD.search(name)]
        if patterns:
            found = pd.Series(self.user, dtype=object).str.fullmatch("|".join(patterns), na=False)
            inside = inside | found.to_numpy(np.bool_)
        return inside

    def _tagged(self, wanted: frozenset[str]) -> tuple[Flags, Flags]:
        def has(tags: Tags | None) -> bool:
            return bool(tags) and not wanted.isdisjoint(_spellings(tags or {}))

        inside = np.fromiter((has(tags) for tags in self._tags), np.bool_, len(self.account)) & ~self.is_root
        unread = np.fromiter((tags is None for tags in self._tags), np.bool_, len(self.account)) & ~self.is_root
        return inside, inside | unread


def of_table(frame: pd.DataFrame, users: pd.DataFrame, places: Mapping[str, Place]) -> Subjects:
    """The rows of a table of keys, users, credentials or findings, with what the users' table knows of their users."""
    user_arn = plain_texts(frame["user_arn"])

    @cache
    def rows() -> npt.NDArray[np.intp]:
        found: npt.NDArray[np.intp] = pd.Index(plain_texts(users["user_arn"])).get_indexer(pd.Index(user_arn))
        return found

    def tags() -> Sequence[Tags | None]:
        known = plain_texts(users["tags"])
        read = {number: json.loads(text) for number, text in enumerate(known) if text is not None}
        return [read.get(number) for number in rows().tolist()]

    def human() -> npt.NDArray[np.int8]:
        enabled = users["password_enabled"].to_numpy(object, na_value=-1).astype(np.int8)
        found: npt.NDArray[np.int8] = np.append(enabled, np.int8(-1))[rows()]
        return found

    is_root = pd.Series(user_arn, dtype=object).str.endswith(":root", na=False).to_numpy(np.bool_)
    key = plain_texts(frame["access_key_id"]) if "access_key_id" in frame else None
    account, user = plain_texts(frame["account_id"]), plain_texts(frame["user"])
    return Subjects(account, user, user_arn, is_root, human, tags, places, key)


# ------------------------------------------------------------------------------------------------- specificity


def atoms(scope: Scope) -> Iterable[Scope]:
    """Scopes with one user, tag, path and unit at most, that together mean what this one does: each has one rank."""
    lists = [entries or (None,) for entries in (scope.users, scope.tags, scope.paths, scope.units)]
    for parts in product(*lists):
        users, tags, paths, units = ((entry,) if entry else () for entry in parts)
        yield replace(scope, users=users, tags=tags, paths=paths, units=units)


def rank(atom: Scope, places: Iterable[Place]) -> Rank:
    """How specific it is, by a key, a user, a pattern, a tag, a path, an account, a unit, humans or machines, in turn.

    Of two patterns the one with more letters of its own is more specific, of two tags the one with a value, of two
    paths or units the deeper one.
    """
    name = "".join(atom.users)
    path, unit, tag = "".join(atom.paths), "".join(atom.units), "".join(atom.tags)
    is_pattern = bool(WILD.search(name))
    return (
        int(bool(atom.keys)),
        int(bool(name) and not is_pattern),
        len(WILD.sub("", name)) + 1 if is_pattern else 0,
        (1 + ("=" in tag)) if tag else 0,
        path.count("/"),
        int(bool(atom.accounts)),
        1 + _depth(unit, places) if unit else 0,
        int(atom.kind is not None),
    )


def asks_no_less(one: Scope, other: Scope) -> bool:
    """Whether one atom's tag, unit and kind, all that may not be known, imply what the other asks of them."""
    tag, wider = "".join(one.tags), "".join(other.tags)
    unit, above = "".join(one.units), "".join(other.units)
    return (
        (wider in {"", tag} or tag.startswith(f"{wider}="))
        and (above in {"", unit} or (above.startswith("/") and unit.startswith(f"{above}/")))
        and other.kind in {None, one.kind}
    )


def _depth(unit: str, places: Iterable[Place]) -> int:
    """How far down the unit is: a path of names tells, and of an id any account below it, as it has one place."""
    if unit.startswith("/"):
        return unit.count("/")
    return next((depth for place in places if (depth := place.depth_of(unit)) is not None), 0)


# ------------------------------------------------------------------------------------------------- parts


def is_like(name: str, pattern: str) -> bool:
    """Whether a whole name is as the pattern says, in which only * and ? stand for others."""
    return re.fullmatch(_as_regex(pattern), name) is not None


def _as_regex(pattern: str) -> str:
    return "".join({"*": "(?s:.*)", "?": "(?s:.)"}.get(part, re.escape(part)) for part in re.split(r"([*?])", pattern))


def _spellings(tags: Tags) -> set[str]:
    return {*tags, *(f"{key}={value}" for key, value in tags.items())}


def _is_in(column: Texts, entries: Iterable[str]) -> Flags:
    return pd.Series(column, dtype=object).isin(list(entries)).to_numpy(np.bool_, copy=True)
