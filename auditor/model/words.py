"""The words that every room shares: outcomes, severities, controls, states."""

from enum import StrEnum

ROOT_USER = "<root_account>"
"""The `user` column of the root row in every credential report (AWS: "Generate credential reports")."""


class Outcome(StrEnum):
    """What a control says of one key or user; the first, third and fifth are AWS Config's words."""

    COMPLIANT = "compliant"
    NON_COMPLIANT = "non_compliant"
    EXEMPT = "exempt"
    NOT_APPLICABLE = "not_applicable"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """How bad a violation is, as the policy sets it for each control."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return list(Severity).index(self)


class ControlId(StrEnum):
    """The controls that are judged, by the ids of the contract."""

    KEY_AGE = "key-age"
    KEY_UNUSED = "key-unused"
    ROOT_ACCESS_KEY = "root-access-key"
    ONE_ACTIVE_KEY = "one-active-key"
    EXTRA_KEYS = "extra-keys"
    KEY_AT_USER_CREATION = "key-at-user-creation"
    INACTIVE_KEY_RETAINED = "inactive-key-retained"
    QUARANTINED_KEY = "quarantined-key"
    SERVICE_CREDENTIAL_AGE = "service-credential-age"
    CONSOLE_PASSWORD_UNUSED = "console-password-unused"  # noqa: S105 - a control's id
    CONSOLE_MFA = "console-mfa"


ASKED_OF_AWS = frozenset({ControlId.QUARANTINED_KEY, ControlId.SERVICE_CREDENTIAL_AGE})
"""Controls that no credential report tells of: AWS has to be asked for each account."""


class Grouping(StrEnum):
    """What the findings of a printed report are grouped by."""

    SEVERITY = "severity"
    OWNER = "owner"


class KeyStatus(StrEnum):
    """AWS's two states of an access key, and our word for one that is gone since the credential report."""

    ACTIVE = "Active"
    INACTIVE = "Inactive"
    DELETED = "Deleted"


class Source(StrEnum):
    """Where the facts about an account come from."""

    CREDENTIAL_REPORT = "credential_report"
    LISTING = "listing"
    """ListUsers, ListAccessKeys and GetAccessKeyLastUsed, where AWS made no report."""
    FILE = "file"
    """A credential report that was downloaded earlier."""


class NotAuditedCode(StrEnum):
    """Why an account in scope has no verdicts; stable words for programs beside the sentence for people."""

    ACCESS_DENIED = "access_denied"
    ROLE_REFUSED = "role_refused"
    NOT_ACTIVE = "not_active"
    REPORT_NOT_READY = "report_not_ready"
    REPORT_UNREADABLE = "report_unreadable"
    WRONG_ACCOUNT = "wrong_account"
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    INTERRUPTED = "interrupted"
    FAILED = "failed"
