"""The choice of accounts, for any organisation and any filters: the numbers always add up."""

import re
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from auditor.config import AccountFilter
from auditor.gather.selection import NOT_INCLUDED, select_accounts
from auditor.model import Member

IDS = st.integers(1, 12).map(lambda n: f"{n:012d}")
NAMES = st.sampled_from(["", "a", "ab", "A", "prod-a", "prod-b", "[x]"])
UNITS = st.sampled_from(["r-root", "ou-root-aaaaaaaa", "ou-root-bbbbbbbb", "ou-root-cccccccc"])
TAGS = st.dictionaries(st.sampled_from(["k", "k=v", "owner"]), st.sampled_from(["", "v", "w"]), max_size=3)
MEMBERS = st.lists(
    st.builds(Member, IDS, NAMES | st.none(), st.just("ACTIVE"), st.lists(UNITS, unique=True).map(tuple)),
    unique_by=lambda member: member.id,
    max_size=12,
)


def some(entries: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    """None, one or a few different entries."""
    return st.lists(entries, unique=True, max_size=3).map(tuple)


FILTERS = st.builds(
    AccountFilter,
    ids=some(IDS),
    names=some(st.sampled_from(["a", "a*", "prod-?", "*", "[x]", "no"])),
    ous=some(UNITS),
    tags=some(st.sampled_from(["k", "k=v", "k=", "owner=w", "none"])),
)


def spelt(pattern: str) -> re.Pattern[str]:
    """A name pattern, in which only * and ? mean more than themselves."""
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def matches(member: Member, tags: Mapping[str, str], wanted: AccountFilter) -> bool:
    """What a filter says, in the plainest words."""
    return (
        member.id in wanted.ids
        or any(spelt(pattern).fullmatch(member.name or "") for pattern in wanted.names)
        or any(unit in wanted.ous for unit in member.units)
        or any(tag in wanted.tags or f"{tag}={value}" in wanted.tags for tag, value in tags.items())
    )


@given(MEMBERS, st.lists(TAGS, min_size=12, max_size=12), FILTERS, FILTERS)
def test_every_account_is_chosen_as_the_filters_say(
    members: list[Member], tags: list[dict[str, str]], include: AccountFilter, exclude: AccountFilter
) -> None:
    """In scope and left out make up the organisation, each account once and in order; an entry matches or is told."""
    owned = {f"{n:012d}": found for n, found in enumerate(tags, 1)}
    asked: list[str] = []

    def tags_of(account_id: str) -> Mapping[str, str]:
        asked.append(account_id)
        return owned[account_id]

    units = {entry: entry for entry in (*include.ous, *exclude.ous)}
    selection = select_accounts(members, include, exclude, units=units, tags_of=tags_of)
    assert [entry.member for entry in selection.population] == members
    for entry in selection.population:
        wanted = include == AccountFilter() or matches(entry.member, owned[entry.member.id], include)
        unwanted = matches(entry.member, owned[entry.member.id], exclude)
        assert (entry.left_out is None) == (wanted and not unwanted)
        if entry.left_out == NOT_INCLUDED:
            assert not wanted
        elif entry.left_out:
            assert entry.left_out.startswith("accounts.exclude.")
            assert entry.left_out not in selection.unmatched
    if not include.tags and not exclude.tags:
        assert not asked
    for side, chosen in (("include", include), ("exclude", exclude)):
        for kind, entries in chosen.model_dump().items():
            for written in entries:
                alone = AccountFilter(**{kind: (written,)})
                found = any(matches(member, owned[member.id], alone) for member in members)
                assert (f'accounts.{side}.{kind} "{written}"' in selection.unmatched) is not found
