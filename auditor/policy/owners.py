"""Who owns a key: its user's tag, else its description in the console, else a rule of the configuration."""

import json
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from auditor.model import OwnerRule, Policy
from auditor.policy.scopes import Subjects, atoms, of_table, places_of, rank
from auditor.report_columns import Flags, Texts
from auditor.tables import Snapshot, plain_texts, texts

NOT_LOOKED_UP = "not looked up"
"""The source where there is no owner because the user's tags were not read."""

DESCRIBED = re.compile(r"\bowner\s*[:=]\s*([^\s,;][^,;]*?)\s*(?:[,;]|$)|([\w.+-]+@[\w-]+(?:\.[\w-]+)+)", re.IGNORECASE)
"""An owner in a description: "owner: payments", "owner=payments", or an e-mail address."""


def with_owners(snapshot: Snapshot, policy: Policy) -> Snapshot:
    """The snapshot with `owner` and `owner_source` of users, keys and service-specific credentials filled in."""
    tagged = _tagged(snapshot.users, policy.owner_tags)
    users = _owned(snapshot.users, snapshot, policy, tagged)
    keys = _owned(snapshot.keys, snapshot, policy, _described(snapshot.keys, _of_user(snapshot.keys, snapshot, tagged)))
    mine = _of_user(snapshot.credentials, snapshot, tagged)
    return Snapshot(snapshot.accounts, users, keys, _owned(snapshot.credentials, snapshot, policy, mine))


def _of_user(frame: pd.DataFrame, snapshot: Snapshot, tagged: tuple[Texts, Texts]) -> tuple[Texts, Texts]:
    """What the tags of the rows' users say."""
    rows = np.full(len(frame), -1, np.intp)
    if pd.notna(tagged[0]).any():
        of_user = pd.Index(snapshot.users["user_arn"].to_numpy(object))
        rows = of_user.get_indexer(pd.Index(frame["user_arn"].to_numpy(object)))
    owner, source = (np.concatenate([column, np.array([None], np.object_)])[rows] for column in tagged)
    return owner, source


def described_owner(description: str) -> str | None:
    """The owner that a key's description names, or None."""
    found = DESCRIBED.search(description)
    return (found[1] or found[2]) if found else None


def _tagged(users: pd.DataFrame, owner_tags: Sequence[str]) -> tuple[Texts, Texts]:
    """Owner and source of each user by the first of these tags that it has; only users that were looked up have any."""
    owner: Texts = np.full(len(users), None, np.object_)
    source = owner.copy()
    known = plain_texts(users["tags"])
    for row in np.flatnonzero(pd.notna(known)).tolist():
        tags = json.loads(known[row])
        name = next((tag for tag in owner_tags if tags.get(tag, "").strip()), None)
        if name is not None:
            owner[row], source[row] = tags[name].strip(), f"tag {name}"
    return owner, source


def _described(keys: pd.DataFrame, found: tuple[Texts, Texts]) -> tuple[Texts, Texts]:
    owner, source = found
    descriptions = plain_texts(keys["description"])
    for row in np.flatnonzero(pd.notna(descriptions) & pd.isna(owner)).tolist():
        named = described_owner(descriptions[row])
        if named is not None:
            owner[row], source[row] = named, "description"
    return owner, source


def _owned(frame: pd.DataFrame, snapshot: Snapshot, policy: Policy, found: tuple[Texts, Texts]) -> pd.DataFrame:
    """The table with these owners, and those of the rules where there is none."""
    owner, source = (column.copy() for column in found)
    if policy.owner_rules and len(frame):
        subjects = of_table(frame, snapshot.users, places_of(snapshot.accounts))
        for rule in _in_order(policy.owner_rules, subjects):
            sure, _ = subjects.matching(rule.scope)
            open_ = sure & pd.isna(owner)
            owner[open_], source[open_] = rule.owner, "rule"
    unread = pd.isna(owner) & _unread(frame, snapshot.users)
    source[unread] = NOT_LOOKED_UP
    return frame.assign(owner=texts(owner), owner_source=texts(source))


def _unread(frame: pd.DataFrame, users: pd.DataFrame) -> Flags:
    """The rows of users whose tags nobody read: whether they have an owner is not known. A root user has no tags."""
    tagless = users["tags"].notna() | users["is_root"]
    return ~frame["user_arn"].isin(set(users.loc[tagless, "user_arn"])).to_numpy(np.bool_)


def _in_order(rules: Sequence[OwnerRule], subjects: Subjects) -> list[OwnerRule]:
    """Rules of one place each, the most specific first; of equally specific ones, by the owner's name."""
    places = tuple(subjects.places.values())
    parts = [OwnerRule(rule.owner, atom) for rule in rules for atom in atoms(rule.scope)]
    return sorted(parts, key=lambda rule: (tuple(-part for part in rank(rule.scope, places)), rule.owner))
