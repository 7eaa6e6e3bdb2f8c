"""Which accounts of an organisation are in scope: every account gets its place, every filter its say."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from auditor.config import AccountFilter
from auditor.model import Member, PopulationEntry
from auditor.policy import is_like

NOT_INCLUDED = "accounts.include"
"""What leaves out an account that no entry includes."""

TagsOf = Callable[[str], Mapping[str, str] | None]
"""The tags of the account with this id, asked only where they decide; None where they are not known yet."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Every account once, in the order given; and the filters' entries that matched none, as they are written."""

    population: tuple[PopulationEntry, ...]
    unmatched: tuple[str, ...]


def select_accounts(
    members: Iterable[Member],
    include: AccountFilter,
    exclude: AccountFilter,
    *,
    units: Mapping[str, str],
    tags_of: TagsOf,
) -> Selection:
    """An account is in scope when any entry of `include` matches it, or there is none, and none of `exclude` does.

    Args:
        members: the organisation's accounts.
        include: entries of which one must match.
        exclude: entries of which none may match.
        units: ids of organisational units by the entry that names them.
        tags_of: asked for accounts on which the other entries have not decided; for all where a tag matches none of
            these, before it is said to match nothing. Where it does not know, the selection is to be made again.
    """
    members = tuple(members)
    included, excluded = _Entries("accounts.include", include, units), _Entries("accounts.exclude", exclude, units)

    def left_out(member: Member) -> str | None:
        wanted, unwanted = included.matching(member), excluded.matching(member)
        if unwanted:
            return unwanted
        if not (wanted or included.are_none or included.tagged(member, tags_of)):
            return NOT_INCLUDED
        return excluded.tagged(member, tags_of)

    population = tuple(PopulationEntry(member, left_out(member)) for member in members)
    if included.lacks_tags or excluded.lacks_tags:
        return Selection(population, ())
    for member in members:
        for entries in (included, excluded):
            if entries.has_unmatched_tags:
                entries.tagged(member, tags_of)
    return Selection(population, (*included.unmatched, *excluded.unmatched))


class _Entries:
    """The entries of one filter, and those that have matched nothing yet."""

    def __init__(self, place: str, wanted: AccountFilter, units: Mapping[str, str]) -> None:
        self._place, self._wanted, self._units = place, wanted, units
        self._ids = frozenset(wanted.ids)
        written = wanted.model_dump()
        self.unmatched = {self._written(kind, entry): None for kind in written for entry in written[kind]}
        self.are_none = not self.unmatched
        self.lacks_tags = False

    @property
    def has_unmatched_tags(self) -> bool:
        """Whether a tag has matched no account so far."""
        return any(self._written("tags", entry) in self.unmatched for entry in self._wanted.tags)

    def matching(self, member: Member) -> str | None:
        """The first entry but for tags that matches the account, as it is written; all that do are marked."""
        return self._first(self._matches(member))

    def tagged(self, member: Member, tags_of: TagsOf) -> str | None:
        """The first tag that the account has, as it is written."""
        if not self._wanted.tags:
            return None
        tags = tags_of(member.id)
        if tags is None:
            self.lacks_tags = True
            return None
        owned = {*tags, *(f"{key}={value}" for key, value in tags.items())}
        return self._first(("tags", entry) for entry in self._wanted.tags if entry in owned)

    def _matches(self, member: Member) -> Iterator[tuple[str, str]]:
        if member.id in self._ids:
            yield "ids", member.id
        yield from (("names", entry) for entry in self._wanted.names if is_like(member.name or "", entry))
        yield from (("ous", entry) for entry in self._wanted.ous if self._units.get(entry) in member.units)

    def _first(self, matches: Iterable[tuple[str, str]]) -> str | None:
        written = [self._written(kind, entry) for kind, entry in matches]
        for entry in written:
            self.unmatched.pop(entry, None)
        return next(iter(written), None)

    def _written(self, kind: str, entry: str) -> str:
        return f'{self._place}.{kind} "{entry}"'
