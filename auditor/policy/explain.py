"""Why a key or user got its limit: every rule of the control, whether it applies, and which one holds."""

from dataclasses import dataclass
from enum import StrEnum

from auditor.model import Limit, LimitRule, Policy, Scope
from auditor.policy.criteria import Asked
from auditor.policy.limits import ranked
from auditor.policy.scopes import Subjects


class Applies(StrEnum):
    """Whether a rule is for a key or user."""

    YES = "applies"
    PERHAPS = "may apply"
    """What it asks for could not be read."""
    NO = "does not apply"


@dataclass(frozen=True, slots=True)
class Considered:
    """A rule that was considered, one of its places where it names several, or the control's own limit."""

    rule: LimitRule | None
    limit: Limit
    applies: Applies
    holds: bool
    """Whether this is the limit that holds, or may hold."""

    @property
    def scope(self) -> str:
        """Whom it is for, in words."""
        return scope_words(self.rule.scope) if self.rule else "everything else"


def explain_limit(policy: Policy, asked: Asked, subject: Subjects) -> tuple[Considered, ...]:
    """The rules of a control for one key or user, the most specific first, and the control's own limit last.

    Args:
        policy: with its rules.
        asked: the policy's own criterion, one with a limit.
        subject: the key or user, in a row of its own.
    """
    found = []
    is_open = True
    """Whether no rule surely holds yet, so that one that may does, or what comes after it."""
    for _, rule in ranked(policy.limits, asked.control, subject):
        sure, possible = subject.matching(rule.scope)
        applies = Applies.YES if sure[0] else Applies.PERHAPS if possible[0] else Applies.NO
        found.append(Considered(rule, rule.limit, applies, holds=is_open and applies is not Applies.NO))
        is_open &= applies is not Applies.YES
    assert asked.criterion.limit is not None
    return (*found, Considered(None, asked.criterion.limit, Applies.YES, holds=is_open))


def scope_words(scope: Scope) -> str:
    """A scope in words: each kind of entry, and the entries."""
    kinds = (
        ("key", scope.keys),
        ("user", scope.users),
        ("tag", scope.tags),
        ("path", scope.paths),
        ("account", scope.accounts),
        ("unit", scope.units),
        ("", (f"{scope.kind}s",) if scope.kind else ()),
    )
    said = [f"{kind} {' or '.join(entries)}".strip() for kind, entries in kinds if entries]
    return ", ".join(said) or "everything"
