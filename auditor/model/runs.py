"""A run as a whole: its coverage, its numbers, and what it was judged by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from auditor.model.policy import Policy
from auditor.model.words import NotAuditedCode, Outcome, Severity


@dataclass(frozen=True, slots=True)
class NotAuditedAccount:
    """A line of the coverage: an account in scope that could not be audited."""

    account_id: str
    account_name: str | None
    code: NotAuditedCode
    reason: str
    next_step: str

    @property
    def account(self) -> str:
        """Name and id, or the id alone."""
        return f"{self.account_name} ({self.account_id})" if self.account_name else self.account_id


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much was audited. In scope = audited + not audited; of an organisation, all = in scope + left out."""

    accounts_in_scope: int
    accounts_audited: int
    not_audited: tuple[NotAuditedAccount, ...]
    users: int
    keys: int
    organisation_accounts: int | None = None
    """Accounts that the organisation has; None where the scope is no organisation."""
    left_out: int = 0
    """Accounts of the organisation that filters left out."""
    audited_in_part: int = 0
    """Audited accounts with unknown verdicts, where AWS refused or did not answer look-ups."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Keys by their worst outcome, and the compliance rate as fractions of 1.

    A key that fails one control is non-compliant whatever the others say. `compliance_rate` is None when no key
    could be judged; `rate_lower` and `rate_upper` bracket it where something is unknown or was not audited, and
    equal it where nothing is.
    """

    compliant: int
    non_compliant: int
    exempt: int
    not_applicable: int
    unknown: int
    compliance_rate: float | None
    rate_lower: float | None
    rate_upper: float | None
    verdicts: Mapping[str, Mapping[str, int]]
    """Verdicts (one control on one key or user) by control id, then by outcome."""

    @property
    def has_unknown_verdicts(self) -> bool:
        """Whether any control on anything ended as unknown."""
        return any(counts.get(Outcome.UNKNOWN, 0) for counts in self.verdicts.values())


@dataclass(frozen=True, slots=True)
class SlowAccount:
    """One of the accounts that took longest: seconds from its first call to its last, and the calls that it took."""

    account_id: str
    account_name: str | None
    seconds: float
    calls: int
    throttles: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class JournalCopy:
    """What the run has of the journal of remediation: so many rows, and the hash of the last; or why it has none."""

    rows: int = 0
    head: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made the run, from where and how."""

    host: str
    os_user: str
    platform: str
    python: str
    command: tuple[str, ...]
    """The arguments of the command line, as typed."""


@dataclass(frozen=True, slots=True)
class RunManifest:
    """Who ran what, when, on which scope, with which policy and version; the content of run.json."""

    id: str
    as_of: datetime
    started_at: datetime
    finished_at: datetime
    tool_version: str
    caller_arn: str | None
    scope: str
    """In words: the caller's account, a list, an organisation, files."""
    coverage: Coverage
    summary: Summary
    calls: Mapping[str, int]
    policy: Policy
    key_ids: str
    """Which key ids were asked for: "flagged", "all", or "none" without AWS."""
    organisation: str = ""
    """The company's name for the cover."""
    fail_on: Severity = Severity.LOW
    """The lowest severity of a violation that makes the exit code 1."""
    throttles: int = 0
    """Calls that AWS refused for their rate."""
    retries: int = 0
    slowest: tuple[SlowAccount, ...] = ()
    """The accounts that took longest, the slowest first."""
    frameworks: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Verdicts by framework id, by clause id and control (as "1.13 key-age"), then by outcome."""
    exemptions: Mapping[str, int] = field(default_factory=dict)
    """How many violations each exemption of the policy matched, in force or not, by its id."""
    failing: Mapping[str, int] = field(default_factory=dict)
    """How many of them no exemption excuses."""
    undecided: Mapping[str, int] = field(default_factory=dict)
    """Verdicts of which it cannot be told whether the exemption is for them: what decides is not known."""
    excused: int = 0
    """Violations that are exempt, each counted once, whoever finds it."""
    rules: Mapping[str, int] = field(default_factory=dict)
    """Keys, users or credentials that each limit rule of the policy is for, or may be for, by its id."""
    notes: tuple[str, ...] = ()
    journal: JournalCopy | None = None
    """None where there is no journal: auditor never changed anything."""
    origin: Origin | None = None
    """None of a demonstration, which is the same wherever it is made, and of runs of earlier versions."""

    @property
    def is_complete(self) -> bool:
        """Whether everything in scope was audited and nothing ended as unknown, by the policy or by a framework."""
        by_clause = (counts for clauses in self.frameworks.values() for counts in clauses.values())
        unknown = self.summary.has_unknown_verdicts or any(counts.get(Outcome.UNKNOWN, 0) for counts in by_clause)
        return not self.coverage.not_audited and not unknown
