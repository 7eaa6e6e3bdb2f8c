"""The snapshot as the judges read it; what several of them need is worked out once."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from auditor.model import ROOT_USER, Policy
from auditor.policy.cases import Distinct, distinct, flags, instants, plain
from auditor.policy.criteria import Asked
from auditor.policy.limits import Limits, Positions, limits_for
from auditor.policy.scopes import of_table, places_of
from auditor.report_columns import Instants
from auditor.tables import CREDENTIALS, FINDINGS, KEYS, Snapshot

WHOLE_ACCOUNT = "<account>"
"""Stands for the user in a verdict on an account as a whole."""

_SUBJECT = {name: dtype for name, dtype in FINDINGS.items() if name in {**KEYS, **CREDENTIALS}}
"""What a verdict tells of the key, credential, user or account that is judged."""
_STANDING = ("key_status", "identity", "identity_problem", "is_root")


@dataclass(frozen=True)
class Told:
    """What verdicts tell of the keys, credentials, users and accounts that are judged, one after the other."""

    columns: Mapping[str, ExtensionArray]
    account: Positions
    """The place of each one's account among all."""

    @classmethod
    def of(cls, *frames: pd.DataFrame) -> "Told":
        """What is not known of one kind is missing; when a user was created is not told."""

        def column(frame: pd.DataFrame, name: str) -> "pd.Series[Any]":
            told = name in frame and (name != "created_at" or "key_status" in frame)
            return frame[name] if told else pd.Series(pd.NA, frame.index, _SUBJECT[name])

        columns = {name: pd.concat([column(frame, name) for frame in frames]).array for name in _SUBJECT}
        return cls(columns, pd.factorize(columns["account_id"].to_numpy(object), sort=True)[0])

    def in_order(self, first: int, frame: pd.DataFrame) -> Positions:
        """The frame's rows, of which the first is this subject, by account, user, slot and id; missing ones last."""
        order = np.arange(len(frame))
        for name in ("access_key_id", "credential_id", "slot"):
            if name in frame and frame[name].notna().any():
                codes = pd.factorize(frame[name], sort=True, use_na_sentinel=False)[0]
                order = order[np.argsort(codes[order], kind="stable")]
        order = order[np.argsort(frame["user"].to_numpy(object)[order], kind="stable")]
        return order[np.argsort(self.account[first + order], kind="stable")]


class Facts:
    """The snapshot as the criteria read it; what several of them need is worked out once."""

    def __init__(self, snapshot: Snapshot, policy: Policy, now: np.datetime64) -> None:
        """To be judged under this policy at the instant `now`."""
        self.snapshot, self.policy, self.instant = snapshot, policy, now
        self.keys, self.users, self.credentials = snapshot.keys, snapshot.users, snapshot.credentials
        self.audited = _audited_accounts(snapshot)
        roots = self.audited.assign(user=ROOT_USER)
        frames = (self.keys, self.users, self.credentials, self.audited, roots)
        self.first = np.cumsum([0, *map(len, frames)])[:-1].tolist()
        """The place of each table's first row in `told`: keys, users, credentials, accounts, and their root users."""
        self.told = Told.of(*frames)

    @cached_property
    def by_key(self) -> Positions:
        """The keys in the order of their verdicts."""
        return self.told.in_order(0, self.keys)

    @cached_property
    def by_user(self) -> Positions:
        """The users, without root, in the order of their verdicts."""
        order = self.told.in_order(self.first[1], self.users)
        return order[~flags(self.users, "is_root")[order]]

    @cached_property
    def by_credential(self) -> Positions:
        """The service-specific credentials in the order of their verdicts."""
        return self.told.in_order(self.first[2], self.credentials)

    @cached_property
    def created(self) -> Instants:
        """The keys' creation."""
        return instants(self.keys["created_at"])

    @cached_property
    def used(self) -> Instants:
        """The keys' last use, as far as it is known."""
        return instants(self.keys["last_used_at"])

    @cached_property
    def standing(self) -> Distinct:
        """What is known of keys whatever the criterion, as cases: where they stand, and which are not created yet."""
        return distinct({**plain(self.keys, *_STANDING), "future": self.created > self.instant})

    def limits(self, asked: Asked, frame: pd.DataFrame) -> Limits:
        """The limit that holds for each row."""
        places = self.snapshot.accounts
        return limits_for(self.policy, asked, len(frame), lambda: of_table(frame, self.users, places_of(places)))


def _audited_accounts(snapshot: Snapshot) -> pd.DataFrame:
    """The audited accounts by id, as verdicts on a whole account tell of them."""
    accounts = snapshot.accounts
    audited = accounts[accounts["audited"].fillna(value=False).astype(bool)]
    rows = audited.sort_values("account_id", kind="stable", ignore_index=True)
    rows["user"] = pd.Series(WHOLE_ACCOUNT, rows.index, "string")
    rows["user_arn"] = "arn:" + rows["partition"] + ":iam::" + rows["account_id"] + ":root"
    return rows
