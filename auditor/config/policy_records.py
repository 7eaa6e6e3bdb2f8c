"""The settings of what is judged: the controls' numbers, limits for some keys, frameworks, owners."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from auditor.config.exemption_records import ExemptionsConfig
from auditor.config.forms import ACCOUNT_ID, FILE, IAM_PATH, LINE, OU, RULE_ID, TAG, TAG_KEY, USERS
from auditor.config.frameworks import FrameworkConfig
from auditor.config.section import UNSET, Choice, Many, OptionalLine, Section, table
from auditor.model import (
    ControlId,
    Limit,
    LimitRule,
    Operator,
    OwnerRule,
    Policy,
    Scope,
    Severity,
    UserKind,
)

_Operator = Annotated[Choice[Operator], Field(description='A limit is broken beyond it (">") or on it (">=").')]
_Severity = Annotated[Choice[Severity], Field(description="How bad a violation of this control is.")]
_Enabled = Annotated[bool, Field(description="Whether it is judged; where not, AWS is not asked for what it needs.")]


class KeyAgeConfig(Section):
    """Active keys must be rotated before they are too old."""

    max_age_days: int = Field(default=90, ge=1, le=3650)
    """The limit on an active key's age."""
    operator: _Operator = Operator.MORE_THAN
    severity: _Severity = Severity.HIGH


class KeyUnusedConfig(Section):
    """Active keys that nobody uses must be switched off."""

    max_unused_days: int = Field(default=45, ge=1, le=3650)
    """The limit on the time since a key's last use, or since its creation if it was never used."""
    operator: _Operator = Operator.AT_LEAST
    severity: _Severity = Severity.MEDIUM
    grace_days: int = Field(default=1, ge=0, le=3650)
    """A never-used key younger than this is not judged unused: AWS records use with delay."""


class RootAccessKeyConfig(Section):
    """The root user must have no access key."""

    inactive_fails: bool = False
    """Whether an inactive key of the root user fails, too."""
    severity: _Severity = Severity.CRITICAL


class OneActiveKeyConfig(Section):
    """A user must not have more active keys than this."""

    max_active_keys: int = Field(default=1, ge=1, le=2)
    """Active keys that a user may have; AWS itself allows two."""
    overlap_passes: bool = True
    """Whether one key more passes while a rotation is under way (policy.rotation_overlap_days)."""
    severity: _Severity = Severity.LOW


class ExtraKeysConfig(Section):
    """A user must not have more keys than the two that the credential report shows."""

    severity: _Severity = Severity.HIGH


class KeyAtUserCreationConfig(Section):
    """A user with a console password must not have an unused key from the user's creation."""

    enabled: _Enabled = True
    severity: _Severity = Severity.LOW


class InactiveKeyRetainedConfig(Section):
    """Inactive keys must be deleted before long."""

    enabled: _Enabled = True
    max_inactive_days: int = Field(default=90, ge=1, le=3650)
    """The limit on the time since a run first saw the key inactive, without a break: IAM keeps no date of it."""
    operator: _Operator = Operator.MORE_THAN
    severity: _Severity = Severity.LOW


class QuarantinedKeyConfig(Section):
    """No key may be left of a user that AWS put in quarantine because it found a key exposed."""

    enabled: _Enabled = True
    severity: _Severity = Severity.CRITICAL


class ServiceCredentialAgeConfig(Section):
    """Service-specific credentials, such as long-term API keys, must be rotated before they are too old."""

    enabled: _Enabled = True
    max_age_days: int = Field(default=90, ge=1, le=3650)
    """The limit on an active credential's age."""
    operator: _Operator = Operator.MORE_THAN
    severity: _Severity = Severity.MEDIUM


class ConsolePasswordUnusedConfig(Section):
    """Console passwords that nobody uses must be removed."""

    enabled: _Enabled = True
    max_unused_days: int = Field(default=45, ge=1, le=3650)
    """The limit on the time since its last use, or since its last change if it was never used."""
    operator: _Operator = Operator.AT_LEAST
    severity: _Severity = Severity.MEDIUM


class ConsoleMfaConfig(Section):
    """Users with a console password must have an MFA device."""

    enabled: _Enabled = True
    severity: _Severity = Severity.HIGH


class ScopeConfig(Section):
    """Which keys and users are meant: those that match an entry of each list that is given."""

    users: Many[Annotated[str, USERS]] = ()
    """Whole user names, or patterns of whole names in which * and ? stand for others."""
    tags: Many[Annotated[str, TAG]] = ()
    """Tags of the user, as key or key=value."""
    paths: Many[Annotated[str, IAM_PATH]] = ()
    """IAM paths of the user with all that is below them, such as "/ci/"."""
    accounts: Many[Annotated[str, ACCOUNT_ID]] = ()
    """Account ids."""
    ous: Many[Annotated[str, OU]] = ()
    """Organisational units with all that is nested below them: ids, or paths of names below the root."""
    kind: Annotated[Choice[UserKind] | None, UNSET] = None
    """"human", users with a console password, or "machine", those without."""

    def to_scope(self) -> Scope:
        """The scope as the evaluation takes it."""
        return Scope((), self.users, self.tags, self.paths, self.accounts, self.ous, self.kind)


class LimitConfig(ScopeConfig):
    """Another limit for some keys or users. The most specific rule that matches wins, whatever their order."""

    id: Annotated[str, RULE_ID]
    """What the rule is called in reasons."""
    control: Choice[ControlId]
    """The control that it is a limit of; one that compares a duration."""
    max_days: int = Field(ge=1, le=3650)
    """The limit."""
    operator: _Operator = Operator.MORE_THAN
    reason: OptionalLine = None
    """Why these keys have a limit of their own."""

    def to_rule(self) -> LimitRule:
        """The rule as the evaluation takes it."""
        limit = Limit(timedelta(days=self.max_days), self.operator)
        return LimitRule(self.id, self.control, limit, self.to_scope(), self.reason or "")


class FrameworksConfig(Section):
    """The standards that are judged beside the policy, each by its own numbers."""

    use: Many[Annotated[str, LINE]] = ()
    """Ids of editions: shipped ones, or those of `files` and `definition`."""
    files: Many[Annotated[str, FILE]] = ()
    """Framework files of your own."""
    definition: Many[FrameworkConfig] = ()
    """Editions in full, as a framework file has them; a stored run has those here that it went by."""


class OwnerConfig(ScopeConfig):
    """Who owns the keys of some users, where neither a tag nor the key's description says so."""

    owner: Annotated[str, LINE]
    """The owner."""

    def to_rule(self) -> OwnerRule:
        """The rule as the evaluation takes it."""
        return OwnerRule(self.owner, self.to_scope())


class OwnersConfig(Section):
    """How the owner of a key is found."""

    tags: Many[Annotated[str, TAG_KEY]] = ("owner", "Owner", "team", "Team")
    """Tags of the IAM user that name the owner; the first that the user has wins."""
    rule: Many[OwnerConfig] = ()
    """Owners by user name, path, account or organisational unit; the most specific wins."""


class PolicyConfig(Section):
    """The controls' thresholds, each in a table named by the control's id."""

    warning_days: int = Field(default=14, ge=0, le=365)
    """Keys that will break a limit within so many days are shown as due soon."""
    rotation_overlap_days: int = Field(default=14, ge=0, le=365)
    """A second active key younger than this is a rotation under way."""
    key_age: KeyAgeConfig = table(KeyAgeConfig)
    key_unused: KeyUnusedConfig = table(KeyUnusedConfig)
    root_access_key: RootAccessKeyConfig = table(RootAccessKeyConfig)
    one_active_key: OneActiveKeyConfig = table(OneActiveKeyConfig)
    extra_keys: ExtraKeysConfig = table(ExtraKeysConfig)
    key_at_user_creation: KeyAtUserCreationConfig = table(KeyAtUserCreationConfig)
    inactive_key_retained: InactiveKeyRetainedConfig = table(InactiveKeyRetainedConfig)
    quarantined_key: QuarantinedKeyConfig = table(QuarantinedKeyConfig)
    service_credential_age: ServiceCredentialAgeConfig = table(ServiceCredentialAgeConfig)
    console_password_unused: ConsolePasswordUnusedConfig = table(ConsolePasswordUnusedConfig)
    console_mfa: ConsoleMfaConfig = table(ConsoleMfaConfig)
    limit: Many[LimitConfig] = ()
    """Other limits for some keys or users."""

    def to_policy(self, frameworks: FrameworksConfig, exemptions: ExemptionsConfig, owners: OwnersConfig) -> Policy:
        """The policy as the evaluation takes it; definitions of frameworks that are not used are left out."""
        tables = {control: getattr(self, control.replace("-", "_")) for control in ControlId}
        known = {definition.id: definition for definition in frameworks.definition}
        return Policy(
            key_age=_limit(self.key_age.max_age_days, self.key_age.operator),
            key_unused=_limit(self.key_unused.max_unused_days, self.key_unused.operator),
            unused_grace=timedelta(days=self.key_unused.grace_days),
            max_active_keys=self.one_active_key.max_active_keys,
            rotation_overlap=timedelta(days=self.rotation_overlap_days),
            overlap_passes=self.one_active_key.overlap_passes,
            inactive_root_key_fails=self.root_access_key.inactive_fails,
            inactive_retained=_limit(self.inactive_key_retained.max_inactive_days, self.inactive_key_retained.operator),
            service_credential_age=_limit(
                self.service_credential_age.max_age_days, self.service_credential_age.operator
            ),
            password_unused=_limit(self.console_password_unused.max_unused_days, self.console_password_unused.operator),
            switched_off=frozenset(control for control in ControlId if not getattr(tables[control], "enabled", True)),
            warning_window=timedelta(days=self.warning_days),
            severities={control: tables[control].severity for control in ControlId},
            limits=tuple(rule.to_rule() for rule in self.limit),
            exemptions=tuple(exemption.to_exemption() for exemption in exemptions.list),
            frameworks=tuple(known[name].to_framework() for name in frameworks.use if name in known),
            owner_tags=owners.tags,
            owner_rules=tuple(rule.to_rule() for rule in owners.rule),
        )


def _limit(days: int, operator: Operator) -> Limit:
    return Limit(timedelta(days=days), operator)
