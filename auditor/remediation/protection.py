"""Users to whom nothing is done, whatever the findings say: what cannot be read protects as well."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from auditor.model import Exemption, Scope
from auditor.policy import is_in_force, scope_words
from auditor.policy.scopes import Place, Subjects

STOPPING = Scope(tags=("auditor:protected", "auditor:hold"))
"""Tags that stop us whatever the configuration says: whoever sees a user in the console can set one."""

CADENCE = "auditor:cadence"
"""A tag of a user: the days between two uses of its keys."""

MANAGED_BY = ("aws:cloudformation:", "pulumi:", "crossplane", "terraform")
"""How tags begin that say that a program manages the user, which a change from outside would set at odds."""


class CadenceError(Exception):
    """The tag has something else than a number of days."""


def cadence_of(tags: Mapping[str, str] | None) -> int | None:
    """The days between two uses, as the user's tag says; None where it has none.

    Raises:
        CadenceError: it says something else, by which somebody meant something.
    """
    said = (tags or {}).get(CADENCE)
    if said is not None and not re.fullmatch("[1-9][0-9]{0,3}", said):
        raise CadenceError(f"the tag {CADENCE} has {said!r}, which is no number of days")
    return int(said) if said is not None else None


@dataclass(frozen=True, slots=True)
class Person:
    """An IAM user as it is now; None for what could not be read."""

    account_id: str
    name: str
    id: str
    arn: str
    tags: Mapping[str, str] | None
    groups: Sequence[str] | None = ()
    quarantined_by: Sequence[str] | None = ()
    """AWS's policies that put it in quarantine."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why nothing may be done; not `is_sure` where what tells could not be read, and may be another time."""

    why: str
    is_sure: bool
    by_program: bool = False
    """A program manages the user, so that a change has to be made there."""


def exposed(person: Person) -> Stopped | None:
    """Why the user's keys are not rotated: AWS found one in public (managed policies AWSCompromisedKeyQuarantine)."""
    if person.quarantined_by is None:
        why = "whether AWS put the user in quarantine cannot be read (iam:ListAttachedUserPolicies)"
        return Stopped(why, is_sure=False)
    if person.quarantined_by:
        names = ", ".join(person.quarantined_by)
        return Stopped(f"AWS put the user in quarantine ({names}), so others have a key of it", is_sure=True)
    return None


@dataclass(frozen=True, slots=True)
class Protection:
    """Who is protected by the configuration: by what scopes mean, or by group; and who is exempt."""

    scopes: tuple[Scope, ...] = ()
    groups: tuple[str, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    place: Place = field(default_factory=Place)

    def stops(self, person: Person, key_id: str, controls: Collection[str], now: datetime) -> "Stopped | None":
        """Why nothing may be done now to this key of the user; None where nothing protects it.

        Args:
            person: the user.
            key_id: the key.
            controls: those that found something about the key: exemptions from them count.
            now: the instant.
        """
        found = list(self._reasons(person, key_id, controls, now))
        return next((one for one in found if one.is_sure), next(iter(found), None))

    def _reasons(self, person: Person, key_id: str, controls: Collection[str], now: datetime) -> Iterator["Stopped"]:
        scopes = [(scope, f"protected: {scope_words(scope)}") for scope in (STOPPING, *self.scopes)]
        scopes += [
            (one.scope, f"exempt by {one.id}")
            for one in self.exemptions
            if one.control.value in controls and is_in_force(one, now)
        ]
        for scope, why in scopes:
            sure, possible = self._means(scope, person, key_id)
            if possible:
                yield Stopped(why if sure else f"may be {why}: what tells cannot be read", sure)
        managed = next((tag for tag in person.tags or () if tag.lower().startswith(MANAGED_BY)), None)
        if managed:
            yield Stopped(
                f"the tag {managed} says that a program manages the user; change it there",
                is_sure=True,
                by_program=True,
            )
        if self.groups and person.groups is None:
            yield Stopped("may be protected: the user's groups cannot be read (iam:ListGroupsForUser)", is_sure=False)
        for group in set(self.groups) & set(person.groups or ()):
            yield Stopped(f"protected: group {group}", is_sure=True)

    def _means(self, scope: Scope, person: Person, key_id: str) -> tuple[bool, bool]:
        """Whether the scope surely, and whether it possibly means the user's key."""
        subject = Subjects(
            account=np.array([person.account_id], np.object_),
            user=np.array([person.name], np.object_),
            arn=np.array([person.arn], np.object_),
            is_root=np.array([False]),
            human=lambda: np.array([-1], np.int8),
            tags=lambda: [person.tags],
            places={person.account_id: self.place},
            key=np.array([key_id], np.object_),
        )
        sure, possible = subject.matching(scope)
        return bool(sure[0]), bool(possible[0])
