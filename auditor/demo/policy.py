"""What the demonstration is judged by beside the built-in policy: two editions of a benchmark, limits, exemptions.

Every state that an exemption can be in is there: in force, about to end, ended, and one that matches nothing.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

FRAMEWORKS = ("cis-aws-3.0", "cis-aws-5.0", "pci-dss-4.0.1")
"""Two editions that disagree on the ninetieth day, and a standard that asks for something else."""

LEGACY = "005754108382"
"""The account of the old data centre, where most exemptions are."""


def demo_policy(as_of: datetime) -> Mapping[str, Mapping[str, Any]]:
    """Settings by section, with dates around the instant of judgement."""

    def day(days: int) -> str:
        return (as_of + timedelta(days=days)).date().isoformat()

    def exemption(name: str, control: str, scope: Mapping[str, str], days: tuple[int, int], reason: str) -> Any:
        signed = {"owner": "datacentre-exit", "approver": "ciso@larkfield.example", "ticket": f"SEC-{name[-3:]}"}
        dates = {"starts": day(days[0]), "expires": day(days[1])}
        return {"id": name, "control": control, **scope, "reason": reason, **signed, **dates}

    return {
        "policy": {
            "limit": [
                {
                    "id": "supplier-interfaces",
                    "control": "key-age",
                    "max_days": 180,
                    "paths": ["/service/"],
                    "accounts": [LEGACY],
                    "reason": "The suppliers take a new key twice a year.",
                }
            ]
        },
        "exemptions": {
            "list": [
                exemption(
                    "EX-2026-014",
                    "key-age",
                    {"user": "svc-stock-sync-batch", "account": LEGACY},
                    (-20, 65),
                    "The mainframe is switched off in the new year; until then its key cannot be changed.",
                ),
                exemption(
                    "EX-2026-009",
                    "key-age",
                    {"user": "soap-uploader", "account": LEGACY},
                    (-75, 12),
                    "The supplier's next release takes roles instead of keys.",
                ),
                exemption(
                    "EX-2026-002",
                    "key-age",
                    {"user": "ci-jenkins-warehouse", "account": LEGACY},
                    (-95, -10),
                    "Jenkins was to be gone by now.",
                ),
                exemption(
                    "EX-2026-011",
                    "console-mfa",
                    {"path": "/contractors/", "account": LEGACY},
                    (-30, 40),
                    "Contractors get their security keys with their contracts.",
                ),
            ]
        },
        "owners": {"rule": [{"owner": "people-operations", "paths": ["/people/"]}]},
    }
