"""What the formats for other tools list, worked out once: findings, and accounts of which nothing is known. Pure.

These formats have no place where an account that was not audited would be seen beside the findings, so it is one of
them, of unknown outcome: a tool that counts passes and failures must not take silence for a pass.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any, TypeVar

from auditor.formats.contract import Field, exemptions_of, finding_fields
from auditor.formats.plain_text import visible
from auditor.formats.standing import ExemptionView
from auditor.formats.view import FindingView, ReportView
from auditor.model import ControlId, NotAuditedAccount, Outcome, Severity
from auditor.policy import CONTROLS

COVERAGE = "account-audited"
"""The control of an account that was not audited."""

COVERAGE_TITLE = "Every account in scope is audited"

COVERAGE_SEVERITY = Severity.HIGH
"""Any key may be there, and what is suspended or refused is a gap to close, not a breach."""

OUTCOME_WORDS: Mapping[Outcome, str] = {
    Outcome.NON_COMPLIANT: "Not compliant",
    Outcome.UNKNOWN: "Unknown",
    Outcome.EXEMPT: "Exempt",
}
"""What a title begins with, so that no list of titles takes what is exempt or unknown for settled."""


_Record = TypeVar("_Record", FindingView, ExemptionView, NotAuditedAccount)


@dataclass(frozen=True, slots=True)
class Requirement:
    """A clause that a verdict speaks for."""

    standard: str
    """Title and edition."""
    clause: str

    @property
    def name(self) -> str:
        """Both, as "CIS AWS Foundations Benchmark 5.0.0 1.13"."""
        return f"{self.standard} {self.clause}"


@dataclass(frozen=True, slots=True)
class Listed:
    """A finding, or an account that was not audited; every text is safe to show (`visible`)."""

    uid: str
    """The same in every run for the same control on the same thing, and no other's in its run."""
    partition: str
    account_id: str
    account_name: str | None
    control: str
    control_title: str
    outcome: Outcome
    severity: Severity
    title: str
    reason: str
    remedy: str
    documentation: str | None
    by_policy: bool
    requirements: tuple[Requirement, ...]
    fields: Mapping[str, Field]
    """Those of the contract (`auditor.findings/1`) that have a value, or those of an account under `not_audited`."""
    finding: FindingView | None = None
    exemption: ExemptionView | None = None

    @property
    def account_arn(self) -> str:
        """The ARN of the account's root user, by which the account as a whole is meant."""
        return f"arn:{self.partition}:iam::{self.account_id}:root"

    @property
    def key_uid(self) -> str:
        """The key's or credential's id, or its place where the id is not known; empty for a user or an account."""
        if self.finding is None or not self.finding.key:
            return ""
        known = self.finding.access_key_id or self.finding.credential_id
        return known or f"{self.finding.user_arn}#slot-{self.finding.slot}"


def listed(view: ReportView) -> tuple[Listed, ...]:
    """All that `each_listed` gives."""
    return tuple(each_listed(view))


def each_listed(view: ReportView) -> Iterator[Listed]:
    """Accounts that were not audited, then the findings, both in the order of findings.json."""
    standards = {framework.id: visible(framework.name) for framework in view.frameworks}
    exemptions = {key: shown(exemption) for key, exemption in exemptions_of(view).items()}
    gaps = (_gap(account, _partition(view.manifest.caller_arn or "")) for account in view.not_audited)
    found = (_found(finding, standards, exemptions) for finding in view.findings)
    return _told_apart(chain(gaps, found))


def shown(record: _Record) -> _Record:
    """The record with every text of it safe to show; clauses stand one a line and stay so."""
    texts: dict[str, Any] = {
        field.name: visible(value)
        for field in fields(record)
        if type(value := getattr(record, field.name)) is str and field.name != "frameworks"
    }
    return replace(record, **texts)


def _partition(arn: str) -> str:
    """The partition that an ARN names, else that of most."""
    prefix, _, rest = arn.partition(":")
    return rest.partition(":")[0] if prefix == "arn" and ":" in rest else "aws"


def _gap(account: NotAuditedAccount, partition: str) -> Listed:
    account = shown(account)
    told = ("account_id", "account_name", "reason", "next_step")
    return Listed(
        uid=f"arn:{partition}:iam::{account.account_id}:root/{COVERAGE}",
        partition=partition,
        account_id=account.account_id,
        account_name=account.account_name,
        control=COVERAGE,
        control_title=COVERAGE_TITLE,
        outcome=Outcome.UNKNOWN,
        severity=COVERAGE_SEVERITY,
        title=f"Unknown: account {account.account} was not audited",
        reason=f"Nothing is known of the keys there. {account.reason}",
        remedy=account.next_step,
        documentation=None,
        by_policy=True,
        requirements=(),
        fields={**{name: getattr(account, name) for name in told}, "code": account.code.value},
    )


def _found(finding: FindingView, standards: Mapping[str, str], exemptions: Mapping[str, ExemptionView]) -> Listed:
    finding = shown(finding)
    control, outcome = CONTROLS[ControlId(finding.control)], Outcome(finding.outcome)
    exemption = exemptions[finding.exemption] if finding.exemption else None
    excused = ""
    if outcome is Outcome.EXEMPT and exemption:
        until = f"{exemption.expires_at:%Y-%m-%d}"
        excused = f" Exempt until {until} by {exemption.id}, approved by {exemption.approver}: {exemption.reason}"
    kept = finding_fields(finding, exemptions).items()
    return Listed(
        uid=_uid(finding),
        partition=_partition(finding.user_arn),
        account_id=finding.account_id,
        account_name=finding.account_name,
        control=finding.control,
        control_title=control.title,
        outcome=outcome,
        severity=Severity(finding.severity),
        title=f"{OUTCOME_WORDS[outcome]}: {control.title} ({_who(finding)})",
        reason=f"{finding.reason}{excused}",
        remedy=control.remedy,
        documentation=control.documentation,
        by_policy=finding.by_policy is not False,
        requirements=tuple(Requirement(standards[framework], visible(clause)) for framework, clause in finding.clauses),
        fields={name: value for name, value in kept if value not in (None, [])},
        finding=finding,
        exemption=exemption,
    )


def _who(finding: FindingView) -> str:
    """The key and whose it is, for a title; the account where the root user or the account as a whole is judged."""
    whose = f"account {finding.account_id}" if is_root(finding) else finding.user
    root = "root user of " if is_root(finding) and finding.key else ""
    return f"{finding.key} of {root}{whose}" if finding.key else whose


def is_root(finding: FindingView) -> bool:
    """Whether the root user, or the account as a whole, is judged: neither is an IAM user."""
    return finding.user_arn.endswith(":root")


def _uid(finding: FindingView) -> str:
    """ARN, key, control, and who asks: the policy, or else the first clause, as "cis-aws-5.0 1.13"."""
    key = finding.access_key_id or finding.credential_id or (f"slot-{finding.slot}" if finding.slot else "user")
    asker = finding.askers[0] if finding.askers else ""
    return visible("/".join((finding.user_arn, key, finding.control, asker.replace("the policy", "policy"))))


def _told_apart(everything: Iterable[Listed]) -> Iterator[Listed]:
    """Things that cannot be told apart by name, such as keys without an id, are numbered: none may replace another."""
    seen: Counter[str] = Counter()
    for one in everything:
        seen[one.uid] += 1
        yield one if seen[one.uid] == 1 else replace(one, uid=f"{one.uid}#{seen[one.uid]}")
