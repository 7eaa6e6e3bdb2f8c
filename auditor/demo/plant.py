"""Puts a seed into moto's backends: straight on the objects, because no API of AWS can backdate anything."""

import json
import string
from dataclasses import replace
from datetime import UTC, datetime

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.iam.models import AccessKeyLastUsed, AWSManagedPolicy, MFADevice, SigningCertificate, User, iam_backends
from moto.organizations.models import FakeAccount, OrganizationsBackend, organizations_backends

from auditor.demo.cloud import AccountExtras, Cloud, ServiceCredential, to_moto
from auditor.demo.report_table import render_report
from auditor.demo.seed import (
    AccountSeed,
    KeySeed,
    OrganisationSeed,
    RoleSeed,
    UserSeed,
    derived_key_id,
    derived_text,
)
from auditor.model import KeyStatus

_LOWER = string.ascii_lowercase + string.digits
_UPPER = string.ascii_uppercase + string.digits
_SECRET = string.ascii_letters + string.digits + "+/"

_STATUS_OF_STATE = {"ACTIVE": "ACTIVE", "PENDING_CLOSURE": "PENDING_CLOSURE"}
"""Organizations' retiring `Status` has no words for the other states: they read SUSPENDED."""


QUARANTINE_POLICIES = {
    "AWSCompromisedKeyQuarantine": datetime(2020, 8, 11, 18, 4, 13, tzinfo=UTC),
    "AWSCompromisedKeyQuarantineV2": datetime(2021, 4, 21, 22, 30, 40, tzinfo=UTC),
    "AWSCompromisedKeyQuarantineV3": datetime(2024, 8, 21, 16, 0, 0, tzinfo=UTC),
}
"""AWS's quarantine policies and when they were created. Of its more than a thousand managed policies every account has
just these here: moto takes a second for each account to load them all."""


def clear_backends() -> None:
    """Empty all of moto's backends, as its own reset does, and the member list that it forgets."""
    BackendDict.reset()
    reset_model_data()
    organizations_backends.master_accounts.clear()


def plant_organisation(seed: OrganisationSeed, as_of: datetime) -> Cloud:
    """The organisation as it stands at `as_of`, in moto's cleared backends."""
    management_id = seed.management.id
    cloud = Cloud(seed)
    if seed.has_organizations:
        _plant_organizations(seed, cloud)
    for account in seed.accounts:
        named = account.with_key_ids()
        role = _completed(account.role, seed)
        earlier = _earlier_report(named, cloud)
        extras = _plant_account(named.at(as_of), cloud)
        extras.earlier_report = earlier if earlier is not None and earlier[1] <= as_of else None
        if role is not None:
            _plant_role(cloud, account.id, role)
        if seed.has_organizations and account.joined_method == "CREATED" and account.id != management_id:
            _plant_role(cloud, account.id, RoleSeed("OrganizationAccountAccessRole", external_id=None))
    _plant_caller(seed, cloud)
    return cloud


def caller_credentials(seed: OrganisationSeed, as_of: datetime) -> tuple[str, str]:
    """Access key id and secret access key that the organisation hands out; the secret is made up, like all of them.

    Raises ValueError for a seed whose caller is a user without an active key.
    """
    management = seed.management.with_key_ids().at(as_of)
    key_ids = [derived_key_id(management.id, seed.caller, 0)]
    for user in management.users:
        if user.name == seed.caller:
            key_ids = [key.access_key_id for key in user.keys if key.status is KeyStatus.ACTIVE]
    if not key_ids:
        raise ValueError(f"the caller {seed.caller} has no active access key")
    return key_ids[0], _secret(key_ids[0])


# ------------------------------------------------------------------------------------------------- accounts


def _plant_account(account: AccountSeed, cloud: Cloud) -> AccountExtras:
    extras = AccountExtras(root=account.root, report=account.report)
    cloud.extras[account.id] = extras
    backend = cloud.iam(account.id)
    for name, created_at in QUARANTINE_POLICIES.items():
        _plant_managed_policy(cloud, account.id, name, created_at)
    for seed in account.users:
        tags = [{"Key": key, "Value": value} for key, value in seed.tags.items()]
        user = backend.create_user(cloud.region, seed.name, seed.path, tags)
        user.id = "AIDA" + derived_text(account.id, seed.name, "user", alphabet=_UPPER, length=17)
        user.create_date = to_moto(seed.created_at)
        for key in seed.keys:
            _plant_key(cloud, account.id, user, key)
        for name in seed.quarantined_by:
            backend.attach_user_policy(cloud.arn("aws", f"policy/{name}"), user.name)
        extras.service_credentials[user.id] = tuple(
            ServiceCredential("ACCA" + derived_text(user.arn, position, alphabet=_UPPER, length=17), credential)
            for position, credential in enumerate(seed.service_credentials)
        )
        _plant_console_access(user, seed, extras)
    summary = backend.account_summary
    summary._account_access_keys_present = int(bool(account.root.keys))  # noqa: SLF001 - moto offers no setter
    summary._account_mfa_enabled = int(account.root.mfa_active)  # noqa: SLF001 - the same
    summary._account_signing_certificates_present = int(bool(account.root.certificates))  # noqa: SLF001 - the same
    return extras


def _plant_managed_policy(cloud: Cloud, account_id: str, name: str, created_at: datetime) -> None:
    """A policy of AWS's own, whose document nobody here reads."""
    planted = AWSManagedPolicy(  # type: ignore[abstract] # as moto itself makes it
        name,
        account_id=account_id,
        region=cloud.region,
        document="{}",
        create_date=to_moto(created_at),
        update_date=to_moto(created_at),
    )
    planted.partition = cloud.partition  # moto gets that of us-gov Regions wrong
    planted.id = "ANPA" + derived_text(name, alphabet=_UPPER, length=17)
    cloud.iam(account_id).managed_policies[planted.arn] = planted


def _plant_key(cloud: Cloud, account_id: str, user: User, seed: KeySeed) -> None:
    """Past moto's quota, because more than two keys do happen; DeleteAccessKey needs the key in both places."""
    key = user.create_access_key(prefix="AKIA", status=seed.status.value)
    key.access_key_id = seed.access_key_id
    key.secret_access_key = _secret(seed.access_key_id)
    key.create_date = to_moto(seed.created_at)
    cloud.iam(account_id).access_keys[key.access_key_id] = key
    if seed.last_used is not None:
        used = seed.last_used
        key.last_used = AccessKeyLastUsed(to_moto(used.at), used.service or "N/A", used.region or "N/A")
        cloud.extras[account_id].uses[key.access_key_id] = used


def _secret(access_key_id: str) -> str:
    return derived_text(access_key_id, "secret", alphabet=_SECRET, length=40)


def _plant_console_access(user: User, seed: UserSeed, extras: AccountExtras) -> None:
    if seed.password is not None:
        user.password = "set"  # noqa: S105 - moto only asks whether there is one
        used = seed.password.last_used_at
        user.password_last_used = to_moto(used) if used is not None else None  # type: ignore[assignment]
        extras.passwords[user.id] = seed.password
    if seed.mfa_active:
        serial = user.arn.replace(":user/", ":mfa/")
        user.mfa_devices[serial] = MFADevice(serial, "000000", "000001")
    for position, certificate in enumerate(seed.certificates):
        planted = SigningCertificate(
            derived_text(user.arn, position, alphabet=_UPPER, length=32), user.name, "-----BEGIN CERTIFICATE-----"
        )
        planted.upload_date = to_moto(certificate.uploaded_at)
        planted.status = "Active" if certificate.active else "Inactive"
        user.signing_certificates[planted.id] = planted


def _plant_caller(seed: OrganisationSeed, cloud: Cloud) -> None:
    """The key of a caller who is not in the seed belongs to the account, but to no user that anything lists."""
    account_id = cloud.management_account_id
    if cloud.user(account_id, seed.caller) is None:
        backend = cloud.iam(account_id)
        user = backend.create_user(cloud.region, seed.caller, "/", [])
        _plant_key(cloud, account_id, user, KeySeed(access_key_id=derived_key_id(account_id, seed.caller, 0)))
        del backend.users[user.name]


def _earlier_report(account: AccountSeed, cloud: Cloud) -> tuple[bytes, datetime] | None:
    """The report that AWS made before, of the account as it stood then: planted, rendered and cleared away again."""
    if account.report.generated_at is None:
        return None
    generated_at = account.report.generated_at.replace(microsecond=0)
    _plant_account(account.at(generated_at), cloud)
    report = render_report(cloud, account.id)
    cloud.iam(account.id).reset()
    return report, generated_at


# ------------------------------------------------------------------------------------------------- roles


def _completed(role: RoleSeed | None, seed: OrganisationSeed) -> RoleSeed | None:
    if role is None:
        return None
    external_id = seed.external_id if role.external_id == "" else role.external_id
    return replace(role, name=role.name or seed.role_name, external_id=external_id)


def _plant_role(cloud: Cloud, account_id: str, role: RoleSeed) -> None:
    former_owner = derived_text(account_id, "former owner", alphabet=string.digits, length=12)
    trusted = former_owner if role.refuses else role.trusted_account_id or cloud.management_account_id
    principal = cloud.arn(trusted, "root")
    statement: dict[str, object] = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    if role.external_id is not None:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": role.external_id}}
    planted = cloud.iam(account_id).create_role(
        role_name=role.name,
        assume_role_policy_document=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
        path="/",
        permissions_boundary=None,
        description="",
        tags=[],
        max_session_duration=str(role.max_session_seconds),
    )
    planted.id = "AROA" + derived_text(account_id, role.name, "role", alphabet=_UPPER, length=17)


# ------------------------------------------------------------------------------------------------- Organizations


def _plant_organizations(seed: OrganisationSeed, cloud: Cloud) -> None:
    management = seed.management
    backend = cloud.organizations()
    backend.create_organization(region=cloud.region, FeatureSet="ALL")
    organization = backend.org
    if organization is None:
        raise RuntimeError("moto created no organisation")
    organization.id = "o-" + derived_text(management.id, "organization", alphabet=_LOWER, length=10)
    organization.root_id = "r-" + derived_text(management.id, "root", alphabet=_LOWER, length=4)
    organization.master_account_email = management.email or f"aws+{management.name}@example.com"
    backend.ou[0].id = organization.root_id
    planted = {management.id: backend.accounts[0]}
    for account in seed.accounts:
        if account.id != management.id:
            backend.create_account(AccountName=account.name, Email="")
            planted[account.id] = backend.accounts[-1]
    organizations_backends.master_accounts.clear()
    units: dict[str, str] = {"": organization.root_id}
    for account in seed.accounts:
        member = planted[account.id]
        _describe_member(member, account, organization.id)
        member.parent_id = _organisational_unit(backend, units, account.organisational_unit)
        if account.id != management.id:
            organizations_backends.master_accounts[account.id] = (management.id, cloud.partition)
    backend.accounts = [planted[account.id] for account in seed.accounts]
    # Moto gave each new account a random id and a role in that id's IAM: neither exists under the seed's ids.
    iam_backends.clear()


def _describe_member(member: FakeAccount, account: AccountSeed, organization_id: str) -> None:
    member.id = account.id
    member.organization_id = organization_id
    member.name = account.name
    member.email = account.email or f"aws+{account.name}@example.com"
    member.create_time = to_moto(account.created_at)
    member.state = account.state
    member.status = _STATUS_OF_STATE.get(account.state, "SUSPENDED")
    member.joined_method = account.joined_method
    member.tags = dict(account.tags)


def _organisational_unit(backend: OrganizationsBackend, units: dict[str, str], path: str) -> str:
    """The id of the OU with this path of names, made with its parents where it is new."""
    if path not in units:
        parent, _, name = path.rpartition("/")
        parent_id = _organisational_unit(backend, units, parent)
        backend.create_organizational_unit(Name=name, ParentId=parent_id)
        root = units[""].removeprefix("r-")
        backend.ou[-1].id = units[path] = f"ou-{root}-{derived_text(root, path, alphabet=_LOWER, length=8)}"
    return units[path]
