"""What is judged: the company's policy and the frameworks' clauses as criteria, each of them once.

Clauses that ask the same thing with the same numbers share a criterion, and its verdicts speak for all of them. So the
frameworks judged together give what each gives alone, at the price of the numbers that differ.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from auditor.model import Clause, ControlId, Criterion, Framework, Policy

ALWAYS = frozenset(
    {ControlId.KEY_AGE, ControlId.KEY_UNUSED, ControlId.ROOT_ACCESS_KEY, ControlId.ONE_ACTIVE_KEY, ControlId.EXTRA_KEYS}
)
"""Controls that no policy can switch off: they need nothing but the credential report."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A criterion, and who asks for it: the policy, clauses of frameworks (as "cis-aws-5.0 1.13"), or both."""

    criterion: Criterion
    by_policy: bool
    clauses: tuple[str, ...]

    @property
    def control(self) -> ControlId:
        """The control that is judged."""
        return self.criterion.control


def label(framework: Framework, clause: Clause) -> str:
    """How findings name a clause."""
    return f"{framework.id} {clause.id}"


def clause_key(clause: str, control: ControlId) -> str:
    """How counts name a clause, labelled as findings do, and one of the controls that test it."""
    return f"{clause} {control.value}"


def asks(policy: Policy, control: ControlId) -> bool:
    """Whether the control is judged: by the policy itself, or by a clause of one of its frameworks."""
    by_clause = any(criterion.control is control for _, criterion in _clauses(policy))
    return control in ALWAYS or control not in policy.switched_off or by_clause


def own_criterion(policy: Policy, control: ControlId) -> Criterion:  # noqa: PLR0911 - a line for each control
    """The control with the policy's own numbers, whether it is switched off or not."""
    match control:
        case ControlId.KEY_AGE:
            return Criterion(control, limit=policy.key_age)
        case ControlId.KEY_UNUSED:
            return Criterion(control, limit=policy.key_unused, grace=policy.unused_grace)
        case ControlId.ROOT_ACCESS_KEY:
            return Criterion(control, strict=policy.inactive_root_key_fails)
        case ControlId.ONE_ACTIVE_KEY:
            grace = policy.rotation_overlap if policy.overlap_passes else Criterion(control).grace
            return Criterion(control, most=policy.max_active_keys, grace=grace)
        case ControlId.KEY_AT_USER_CREATION:
            return Criterion(control, grace=policy.unused_grace)
        case ControlId.INACTIVE_KEY_RETAINED:
            return Criterion(control, limit=policy.inactive_retained)
        case ControlId.SERVICE_CREDENTIAL_AGE:
            return Criterion(control, limit=policy.service_credential_age)
        case ControlId.CONSOLE_PASSWORD_UNUSED:
            return Criterion(control, limit=policy.password_unused)
        case ControlId.EXTRA_KEYS | ControlId.QUARANTINED_KEY | ControlId.CONSOLE_MFA:
            return Criterion(control)


def criteria(policy: Policy) -> tuple[Asked, ...]:
    """Every criterion once, the policy's own first, whatever the order of the frameworks.

    The policy's own stands alone where rules give some keys another limit: a standard knows no such rules.
    """
    asked: dict[tuple[Criterion, bool], list[str]] = {}
    ruled = {rule.control for rule in policy.limits}
    own = {
        control: _told_apart(own_criterion(policy, control), has_rules=control in ruled)
        for control in ControlId
        if control not in policy.switched_off or control in ALWAYS
    }
    for criterion in own.values():
        asked[criterion, True] = []
    for name, named in _clauses(policy):
        criterion = _told_apart(named)
        is_own = own.get(criterion.control) == criterion and criterion.control not in ruled
        asked.setdefault((criterion, is_own), []).append(name)
    found = [Asked(criterion, own, tuple(sorted(names))) for (criterion, own), names in asked.items()]
    return tuple(sorted(found, key=lambda one: (not one.by_policy, one.clauses)))


def _told_apart(criterion: Criterion, *, has_rules: bool = False) -> Criterion:
    """The criterion without what decides nothing: what is younger than the grace breaks no limit that is longer."""
    limit = criterion.limit
    if criterion.control is ControlId.KEY_UNUSED and limit and criterion.grace <= limit.maximum and not has_rules:
        return replace(criterion, grace=timedelta())
    return criterion


def _clauses(policy: Policy) -> Iterator[tuple[str, Criterion]]:
    for framework in policy.frameworks:
        for clause in framework.clauses:
            if clause.criterion is not None:
                yield label(framework, clause), clause.criterion
