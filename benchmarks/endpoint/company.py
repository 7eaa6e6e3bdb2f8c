"""Accounts, users and keys, computed from their numbers and a seed; so that any number of them takes no memory.

What a user has is one of a few thousand profiles that are made at the start, already in the words of the credential
report and of ListUsers. So all answers agree to the second, and a whole page of users is put together from ready
pieces, in which a mark stands for the account.
"""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from operator import add

from benchmarks.endpoint.settings import Settings

PROFILES = 4096
"""Profiles of each kind: up to so many users of an account have each a different one."""

COLUMNS = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,"
    "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
    "access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,"
    "access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,"
    "cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
)
"""The header that AWS sent in September 2026; `additional_credentials_info` of the IAM User Guide was not in it."""

MANAGEMENT = 1
"""The management account's number."""

_FIRST_ACCOUNT_ID = 100_000_000_000
_ACCOUNT_ID, _ACCOUNT_LETTERS = "\0", "\1"
"""What stands in ready pieces for the account's twelve digits and for its number in letters."""
_TO_LETTERS = str.maketrans("0123456789", "ABCDEFGHIJ")
_TO_DIGITS = str.maketrans("ABCDEFGHIJ", "0123456789")
_ID_LENGTH = 20
_SERVICES = (("eu-central-1", "ec2"), ("us-east-1", "iam"), ("N/A", "s3"), ("eu-west-1", "sqs"), ("us-east-1", "sts"))
_EMPTY_SLOT = "false,N/A,N/A,N/A,N/A"


@dataclass(frozen=True, slots=True)
class Key:
    """An access key; times as AWS writes them."""

    is_active: bool
    created_at: str
    used_at: str | None
    region: str
    service: str

    @property
    def cells(self) -> str:
        """Its five cells of a credential report."""
        active = "true" if self.is_active else "false"
        return f"{active},{self.created_at},{self.used_at or 'N/A'},{self.region},{self.service}"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a user has, whoever it is."""

    keys: tuple[Key, ...]
    cells: str
    """The cells of a credential report after the ARN."""
    listed: str
    """The members of ListUsers after the ARN."""


class Company:
    """The organisation that the settings describe. Accounts count from 1, users and keys from 0."""

    def __init__(self, settings: Settings) -> None:
        """Makes the profiles, which takes a fifth of a second."""
        self.settings = settings
        maker = _Maker(settings)
        rounds = settings.users // PROFILES + 2
        self._calm = tuple(maker.calm() for _ in range(PROFILES))
        self._flagged = tuple(maker.flagged() for _ in range(PROFILES))
        self._calm_cells = tuple(profile.cells for profile in self._calm) * rounds
        self._calm_listed = tuple(profile.listed for profile in self._calm) * rounds
        self._root = maker.root()
        self._share = Fraction(settings.flagged).limit_denominator(1_000_000)
        self.names = tuple(f"{'Svc' if index % 7 == 0 else 'svc'}-{index:06d}" for index in range(settings.users))
        """Names of the users of every account, as AWS sorts them: upper and lower case together."""
        arns = [f"arn:aws:iam::{_ACCOUNT_ID}:user{self.path(index)}{name}" for index, name in enumerate(self.names)]
        self._reported_heads = [f"{name},{arn}," for name, arn in zip(self.names, arns, strict=True)]
        self._listed_heads = [
            f"<member><Path>{self.path(index)}</Path><UserName>{self.names[index]}</UserName>"
            f"<UserId>AIDA{_ACCOUNT_LETTERS}{f'{index:09d}'.translate(_TO_LETTERS)}</UserId><Arn>{arn}</Arn>"
            for index, arn in enumerate(arns)
        ]

    def account_id(self, number: int) -> str:
        """The twelve digits of an account."""
        return str(_FIRST_ACCOUNT_ID + number)

    def account_number(self, account_id: str) -> int | None:
        """The number of an account of the organisation by its twelve digits."""
        number = int(account_id) - _FIRST_ACCOUNT_ID if account_id.isdecimal() else 0
        return number if 1 <= number <= self.settings.accounts else None

    def user_index(self, name: str) -> int | None:
        """The number of a user by its name in any case, as IAM finds it."""
        digits = name[4:]
        known = name[:4].lower() == "svc-" and digits.isdecimal() and int(digits) < self.settings.users
        return int(digits) if known and self.names[int(digits)].lower() == name.lower() else None

    def path(self, index: int) -> str:
        """The path of a user: every tenth stands in one."""
        return "/services/" if index % 10 == 0 else "/"

    def flagged_users(self, number: int) -> list[int]:
        """The users of an account with a flagged key; they are spread evenly over all users of all accounts.

        The place-th user of the company is flagged where the share of all users up to it reaches the next whole one.
        """
        up, down = self._share.as_integer_ratio()
        start = (number - 1) * self.settings.users
        wholes = range(start * up // down + 1, (start + self.settings.users) * up // down + 1)
        return [-(-whole * down // up) - 1 - start for whole in wholes]

    def profile(self, number: int, index: int) -> Profile:
        """What a user has."""
        up, down = self._share.as_integer_ratio()
        is_flagged = ((number - 1) * self.settings.users + index) * up % down >= down - up
        return (self._flagged if is_flagged else self._calm)[(number * 1009 + index) % PROFILES]

    def key_id(self, number: int, index: int, slot: int) -> str:
        """The access key id of a user's key, from which all three numbers can be told."""
        return "AKIA" + f"{number:07d}{index:08d}{slot}".translate(_TO_LETTERS)

    def key_of(self, number: int, key_id: str) -> tuple[int, Key] | None:
        """The user and the key of an access key id in an account, if it has such."""
        digits = key_id[4:].translate(_TO_DIGITS)
        if len(key_id) != _ID_LENGTH or not digits.isdecimal() or int(digits[:7]) != number:
            return None
        index, slot = int(digits[7:15]), int(digits[15])
        if index >= self.settings.users:
            return None
        keys = self.profile(number, index).keys
        return (index, keys[slot]) if slot < len(keys) else None

    def session_id(self, number: int, serial: int) -> str:
        """The access key id of a session in an account."""
        return "ASIA" + f"{number:07d}{serial % 10**9:09d}".translate(_TO_LETTERS)

    def report(self, number: int) -> bytes:
        """The account's credential report: LF, no newline at the end, the root user first."""
        first = number * 1009 % PROFILES
        rows = list(map(add, self._reported_heads, self._calm_cells[first : first + self.settings.users]))
        for index in self.flagged_users(number):
            rows[index] = self._reported_heads[index] + self._flagged[(first + index) % PROFILES].cells
        root = f"<root_account>,arn:aws:iam::{_ACCOUNT_ID}:root,{self._root}"
        return "\n".join([COLUMNS, root, *rows]).replace(_ACCOUNT_ID, self.account_id(number)).encode()

    def listed(self, number: int, start: int, end: int) -> str:
        """The users from `start` to before `end` as ListUsers sends them."""
        first = number * 1009 % PROFILES
        members = list(map(add, self._listed_heads[start:end], self._calm_listed[first + start : first + end]))
        for index in self.flagged_users(number):
            if start <= index < end:
                members[index - start] = self._listed_heads[index] + self._flagged[(first + index) % PROFILES].listed
        letters = f"{number:07d}".translate(_TO_LETTERS)
        return "".join(members).replace(_ACCOUNT_ID, self.account_id(number)).replace(_ACCOUNT_LETTERS, letters)


class _Maker:
    """Makes profiles by one random sequence; ages in days before `as_of`."""

    def __init__(self, settings: Settings) -> None:
        self._as_of = settings.as_of
        self._random = random.Random(settings.seed)  # noqa: S311 - no secret is made of it

    def calm(self) -> Profile:
        """No key, an inactive one, or an active one that stays young and in use for two weeks to come."""
        match self._random.randrange(10):
            case 0:
                return self._profile((), has_password=True)
            case 1:
                return self._profile((self._key(100, 900, None, is_active=False),))
            case _:
                return self._profile((self._key(2, 70, (0.05, 20)),))

    def flagged(self) -> Profile:
        """A key that is too old, unused for too long, or both; or too old beside a young one."""
        match self._random.randrange(4):
            case 0:
                return self._profile((self._key(91, 1500, (0.05, 20)),))
            case 1:
                return self._profile((self._key(91, 1500, None),))
            case 2:
                return self._profile((self._key(70, 85, (46, 69)),))
            case _:
                return self._profile((self._key(91, 1500, (0.05, 20)), self._key(2, 70, (0.05, 20))))

    def root(self) -> str:
        """The root user's cells after the ARN: a password, MFA, no key."""
        created = self._time(3000)
        return f"{created},true,no_information,{created},not_supported,true,{_EMPTY_SLOT},{_EMPTY_SLOT},{_CERTIFICATES}"

    def _profile(self, keys: tuple[Key, ...], *, has_password: bool = False) -> Profile:
        # Older than any key: the users of a company come before their keys.
        created = self._time(self._random.uniform(1501, 2900))
        used = self._time(self._random.uniform(0.05, 30)) if has_password else None
        password = f"true,{used},{created},N/A,true" if has_password else "false,N/A,N/A,N/A,false"
        slots = ",".join([*(key.cells for key in keys), _EMPTY_SLOT, _EMPTY_SLOT][:2])
        cells = f"{created},{password},{slots},{_CERTIFICATES}"
        last_used = f"<PasswordLastUsed>{used}</PasswordLastUsed>" if used else ""
        return Profile(keys, cells, f"<CreateDate>{created}</CreateDate>{last_used}</member>")

    def _key(self, youngest: float, oldest: float, used: tuple[float, float] | None, *, is_active: bool = True) -> Key:
        age = self._random.uniform(youngest, oldest)
        if used is None:
            return Key(is_active, self._time(age), None, "N/A", "N/A")
        idle = self._random.uniform(used[0], min(used[1], age - 0.5))
        region, service = self._random.choice(_SERVICES)
        return Key(is_active, self._time(age), self._time(idle, whole_minute=True), region, service)

    def _time(self, days: float, *, whole_minute: bool = False) -> str:
        at = self._as_of - timedelta(seconds=round(days * 86400))
        return written(at.replace(second=0) if whole_minute else at)


_CERTIFICATES = "false,N/A,false,N/A"


def written(at: datetime) -> str:
    """A time as AWS writes it: whole seconds and `Z`."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
