"""The users that the demonstration must show whatever is drawn: one short story each, by account."""

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from auditor.demo.names import DOMAIN
from auditor.demo.seed import (
    CertificateSeed,
    KeySeed,
    PasswordSeed,
    ReportSeed,
    RootSeed,
    ServiceCredentialSeed,
    UserSeed,
    ago,
    derived_text,
)
from auditor.model import KeyStatus, UsedAt

AUDITOR = "svc-access-key-auditor"
"""The user whose credentials the demonstration runs with; it keeps its own policy."""

_REGION = "eu-west-1"


@dataclass(frozen=True, slots=True)
class Story:
    """What is particular about an account."""

    root: RootSeed
    users: tuple[UserSeed, ...] = ()
    report: ReportSeed = field(default_factory=ReportSeed)


def told(account_name: str, as_of: datetime) -> Story:
    """The story of the account with this short name; an ordinary root user and nothing else for most."""
    return _STORIES.get(account_name, _ordinary)(as_of)


def _ago(as_of: datetime, *, days: float) -> datetime:
    """So many days before `as_of` and up to three hours more, as nothing happens on the stroke of `as_of`."""
    return ago(as_of, days=days, seconds=int(derived_text(days, alphabet=string.digits, length=4)))


def _root(as_of: datetime, *, years: float = 5, keys: tuple[KeySeed, ...] = (), mfa_active: bool = True) -> RootSeed:
    created = _ago(as_of, days=365 * years)
    password = PasswordSeed(changed_at=created + timedelta(minutes=7), last_used_at=_ago(as_of, days=60 + 31 * years))
    return RootSeed(created_at=created, keys=keys, password=password, mfa_active=mfa_active)


def _key(as_of: datetime, days: float, used_days: float | None, service: str = "s3") -> KeySeed:
    used = None if used_days is None else UsedAt(_ago(as_of, days=used_days), service, _region(service))
    return KeySeed(created_at=_ago(as_of, days=days), last_used=used)


def _region(service: str) -> str | None:
    return None if service == "s3" else _REGION


def _user(name: str, path: str, as_of: datetime, *keys: KeySeed, days: float, owner: str = "") -> UserSeed:
    tags = {"owner": owner} if owner else {}
    return UserSeed(name=name, path=path, created_at=_ago(as_of, days=days), keys=keys, tags=tags)


def _bedrock_user(name: str, as_of: datetime, *, days: float, lasts: float | None = None) -> UserSeed:
    """A user as the console makes one for a long-term API key of Amazon Bedrock; without `lasts` it never expires."""
    created = _ago(as_of, days=days)
    expires = None if lasts is None else created + timedelta(days=lasts)
    key = ServiceCredentialSeed("bedrock.amazonaws.com", created, expires_at=expires)
    return UserSeed(name=name, created_at=created - timedelta(seconds=2), service_credentials=(key,))


def _ordinary(as_of: datetime) -> Story:
    return Story(_root(as_of))


def _management(as_of: datetime) -> Story:
    auditor = _user(AUDITOR, "/service/", as_of, _key(as_of, 31, 1, "sts"), days=410, owner=f"security@{DOMAIN}")
    return Story(_root(as_of, years=8.5), (auditor,))


def _production(as_of: datetime) -> Story:
    """A key nobody dares to touch, a rotation that stopped half-way, and one that falls due next week.

    Git is mirrored by a password of CodeCommit's; the one before it was put away.
    """
    return Story(
        _root(as_of, years=7.2),
        (
            _user("svc-mainframe-bridge", "/service/", as_of, _key(as_of, 2301.4, 0.02, "sqs"), days=2301.5),
            _user(
                "svc-checkout",
                "/service/payments/",
                as_of,
                _key(as_of, 96.2, 0.1, "dynamodb"),
                _key(as_of, 6.1, 0.3, "dynamodb"),
                days=700,
                owner=f"payments@{DOMAIN}",
            ),
            _user(
                "ci-release+prod", "/ci/", as_of, _key(as_of, 83.5, 0.5, "ecr"), days=500, owner=f"platform@{DOMAIN}"
            ),
            UserSeed(
                name="git-mirror",
                path="/service/",
                created_at=_ago(as_of, days=610),
                tags={"owner": f"platform@{DOMAIN}"},
                service_credentials=(
                    ServiceCredentialSeed(created_at=_ago(as_of, days=20)),
                    ServiceCredentialSeed(created_at=_ago(as_of, days=420), status=KeyStatus.INACTIVE),
                ),
            ),
        ),
    )


def _staging(as_of: datetime) -> Story:
    """AWS still serves a report of three hours ago; since then one key was rotated, one deactivated, one deleted."""
    generated_at = ago(as_of, hours=3, minutes=10, seconds=17)
    rotated = KeySeed(
        created_at=_ago(as_of, days=130),
        last_used=UsedAt(generated_at - timedelta(minutes=140), "s3"),
        deleted_at=generated_at + timedelta(minutes=70, seconds=3),
    )
    replacement = KeySeed(
        created_at=generated_at + timedelta(minutes=45, seconds=9),
        last_used=UsedAt(generated_at + timedelta(minutes=62), "s3"),
    )
    deactivated = KeySeed(
        created_at=_ago(as_of, days=212),
        last_used=UsedAt(_ago(as_of, days=77), "ecr", _REGION),
        deactivated_at=generated_at + timedelta(minutes=95, seconds=31),
    )
    deleted = KeySeed(created_at=_ago(as_of, days=402), deleted_at=generated_at + timedelta(minutes=120))
    return Story(
        _root(as_of, years=6.8),
        (
            _user("svc-staging-loader", "/service/", as_of, rotated, replacement, days=900, owner=f"orders@{DOMAIN}"),
            _user("ci-staging-deploy", "/ci/", as_of, deactivated, days=640),
            _user("tom.ferrer", "/people/", as_of, deleted, days=403),
        ),
        ReportSeed(generated_at=generated_at),
    )


def _data(as_of: datetime) -> Story:
    """Two keys that one script made in the same second: nothing but their ids tells them apart."""
    twin = _ago(as_of, days=141.3)
    twins = (
        KeySeed(created_at=twin, last_used=UsedAt(_ago(as_of, days=0.2), "athena", _REGION)),
        KeySeed(created_at=twin),
    )
    return Story(
        _root(as_of, years=5.1),
        (
            _user("svc-dbt-runner", "/team/data-platform/", as_of, *twins, days=141.4, owner=f"data-platform@{DOMAIN}"),
            _user("reporting,eu", "/service/", as_of, _key(as_of, 118, 0.4, "athena"), days=800),
            _user("+alerts@larkfield.example", "/service/", as_of, _key(as_of, 22, 0.1, "sns"), days=320),
        ),
    )


def _sandbox(as_of: datetime) -> Story:
    """A race made three keys where two are allowed; a name is a spreadsheet formula; a root key was only put away.

    AWS found a key in public. The Bedrock key of an experiment never expires; another's has.
    """
    race = _ago(as_of, days=199.1)
    raced = (
        KeySeed(created_at=race, last_used=UsedAt(_ago(as_of, days=3), "ec2", _REGION)),
        KeySeed(created_at=race + timedelta(seconds=1)),
        KeySeed(created_at=race + timedelta(seconds=1), last_used=UsedAt(_ago(as_of, days=190), "ec2", _REGION)),
    )
    put_away = KeySeed(created_at=_ago(as_of, days=1900), status=KeyStatus.INACTIVE)
    return Story(
        _root(as_of, years=6, keys=(put_away,)),
        (
            _user("load-test-bot", "/ci/", as_of, *raced, days=199.2),
            _user("=cmd", "/people/", as_of, _key(as_of, 260, 240), days=261),
            _user("-1+1", "/", as_of, _key(as_of, 61, None), days=62),
            _user("intern=summer@home", "/people/", as_of, _key(as_of, 480, 395, "ec2"), days=481),
            UserSeed(
                name="svc-public-gist",
                path="/service/",
                created_at=_ago(as_of, days=260),
                keys=(_key(as_of, 12.4, 0.9, "sts"),),
                tags={"owner": f"growth@{DOMAIN}"},
                quarantined_by=("AWSCompromisedKeyQuarantineV3",),
            ),
            _bedrock_user("svc-chat-experiment", as_of, days=200),
            _bedrock_user("svc-summaries-trial", as_of, days=150, lasts=90),
        ),
        ReportSeed(has_additional_column=True),
    )


def _legacy(as_of: datetime) -> Story:
    """The account that everything began in: an active root key, and certificates of the SOAP days."""
    root_key = KeySeed(created_at=_ago(as_of, days=4110), last_used=UsedAt(_ago(as_of, days=1.6), "s3"))
    soap = UserSeed(
        name="soap-uploader",
        path="/service/",
        created_at=_ago(as_of, days=4000),
        keys=(_key(as_of, 3998, 12),),
        certificates=(CertificateSeed(_ago(as_of, days=3998)), CertificateSeed(_ago(as_of, days=3100), active=False)),
    )
    return Story(_root(as_of, years=11.5, keys=(root_key,), mfa_active=False), (soap,))


_STORIES: Mapping[str, Callable[[datetime], Story]] = {
    "management": _management,
    "production": _production,
    "staging": _staging,
    "data": _data,
    "sandbox": _sandbox,
    "legacy-datacentre": _legacy,
}
