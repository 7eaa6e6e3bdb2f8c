"""Credential reports as files, a user in a line each."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.builders import ACCOUNT, AS_OF, ago

HEADER = (Path(__file__).parent / "data" / "header.csv").read_text("utf-8").strip()


def stamp(at: datetime | None) -> str:
    """An instant as reports have it."""
    return "N/A" if at is None else at.strftime("%Y-%m-%dT%H:%M:%S+00:00")


YESTERDAY = ago(1)


@dataclass(frozen=True)
class Key:
    """A key of a report: used a day before AS_OF, unless said otherwise."""

    created_at: datetime
    used_at: datetime | None = YESTERDAY
    active: bool = True

    @property
    def cells(self) -> tuple[str, ...]:
        """Its five columns."""
        where = ("us-east-1", "s3") if self.used_at else ("N/A", "N/A")
        return (str(self.active).lower(), stamp(self.created_at), stamp(self.used_at), *where)


NO_KEY = ("false", *["N/A"] * 4)


def user_row(name: str, *keys: Key, path: str = "/", account: str = ACCOUNT) -> str:
    """A user without a password."""
    cells = [name, f"arn:aws:iam::{account}:user{path}{name}", "2020-01-01T00:00:00+00:00"]
    cells += ["false", "N/A", "N/A", "N/A", "false"]
    for slot in range(2):
        cells += keys[slot].cells if slot < len(keys) else NO_KEY
    return ",".join([*cells, "false", "N/A", "false", "N/A"])


def root_row(account: str = ACCOUNT) -> str:
    """The root user, with no key and with MFA."""
    cells = ["<root_account>", f"arn:aws:iam::{account}:root", "2020-01-01T00:00:00+00:00"]
    cells += ["not_supported", "N/A", "not_supported", "not_supported", "true"]
    return ",".join([*cells, *NO_KEY, *NO_KEY, "false", "N/A", "false", "N/A"])


def write_report(path: Path, *rows: str, account: str = ACCOUNT) -> str:
    """The report of an account with these users; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([HEADER, root_row(account), *rows]) + "\n", "utf-8")
    return str(path)


INSTANT = AS_OF.strftime("%Y-%m-%dT%H:%M:%SZ")


def exemption(**changes: str) -> str:
    """A table of a file of exemptions; its days stand without quotes."""
    entry = {
        "id": "EX-1",
        "control": "key-age",
        "user": "old",
        "account": ACCOUNT,
        "reason": "The supplier's system takes no other key",
        "owner": "payments",
        "approver": "j.doe@example.com",
        "ticket": "SEC-1",
        "starts": "2026-11-01",
        "expires": "2027-01-15",
    } | changes
    days = ("starts", "expires")
    lines = [f"{name} = {value}" if name in days else f'{name} = "{value}"' for name, value in entry.items() if value]
    return "\n".join(["[[exemption]]", *lines, ""])
