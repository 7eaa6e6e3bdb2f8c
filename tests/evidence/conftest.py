"""A small run, audited over HTTP once, its bundle, and the keys of who signs."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from auditor.config import load_config
from auditor.demo import AccountSeed, EmbeddedOrganisation, KeySeed, OrganisationSeed, RoleSeed, RootSeed, UserSeed
from auditor.evidence.attestation import sign_by_key
from auditor.evidence.export import Wanted, export
from auditor.evidence.keys import KeyKind, load_private_key, load_public_key, make_key
from auditor.evidence.verify import Trust
from auditor.model import UsedAt
from auditor.pipeline import AuditRequest, audit
from auditor.remediation.record import record
from tests.builders import AS_OF, ago
from tests.conftest import NoProgress, connect
from tests.remediation.story import Story
from tests.remediation.test_record import ROTATION, item_of
from tests.remediation.world import plan_of

MAIN, OTHER, REFUSED = "111111111111", "222222222222", "333333333333"


def used(days: float) -> UsedAt:
    """Used so long ago."""
    return UsedAt(ago(days), "s3", None)


def organisation() -> OrganisationSeed:
    """A clean account, one with violations and hostile names, and one that refuses."""
    users = (
        UserSeed("old", (KeySeed(created_at=ago(400), last_used=used(1)),), tags={"owner": "payments"}),
        UserSeed("=cmd,+x", (KeySeed(created_at=ago(95), last_used=used(50)), KeySeed(created_at=ago(3)))),
        UserSeed(
            "leaked",
            (KeySeed(created_at=ago(9), last_used=used(1)),),
            quarantined_by=("AWSCompromisedKeyQuarantineV3",),
        ),
    )
    good = UserSeed("good", (KeySeed(created_at=ago(5), last_used=used(1)),))
    return OrganisationSeed(
        (
            AccountSeed(MAIN, "main", (good,), root=RootSeed(keys=(KeySeed(created_at=ago(500)),))),
            AccountSeed(OTHER, "<b>other", users),
            AccountSeed(REFUSED, "refused", role=RoleSeed(refuses=True)),
        )
    )


def changed_keys() -> Story:
    """A key that was rotated a week before."""
    item = item_of("item-1", account_id=OTHER, user="old")
    story = Story(plan_of(item, at=ago(9)), ago(8))
    story.approved(("bob@example.com", "deactivate"))
    story.did(item, *ROTATION)
    return story


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's folder; not to be changed."""
    folder = tmp_path_factory.mktemp("runs")
    with EmbeddedOrganisation(organisation(), as_of=AS_OF, clock=lambda: AS_OF) as cloud:
        config = load_config(
            None,
            {
                "accounts": {
                    "source": "organisation",
                    "role_name": cloud.role_name,
                    "external_id": cloud.external_id,
                },
                "frameworks": {"use": ["cis-aws-5.0"]},
                "output": {"folder": str(folder), "formats": ["json"], "organisation": "Larkfield & Söhne"},
            },
        )
        rows = changed_keys().rows
        request = AuditRequest(config, connect(cloud), AS_OF, record=lambda as_of: record(rows, as_of))
        return audit(request, NoProgress()).reports.folder


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Who signs; the public half lies beside it."""
    path = tmp_path_factory.mktemp("keys") / "evidence"
    make_key(path, KeyKind.ED25519)
    return path


@pytest.fixture(scope="session")
def trust(key: Path) -> Trust:
    """What an auditor has from elsewhere."""
    return Trust([load_public_key(key.with_name("evidence.pub"))])


@pytest.fixture(scope="session")
def sign(key: Path) -> Callable[[bytes], bytes]:
    """The signer."""
    private = load_private_key(key, lambda: "")
    return lambda payload: sign_by_key(payload, private)


@pytest.fixture(scope="session")
def bundle(run_folder: Path, sign: Callable[[bytes], bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the run, as a folder; not to be changed."""
    wanted = Wanted(tmp_path_factory.mktemp("evidence"), timedelta(days=400), sign=sign)
    return export(run_folder, wanted, NoProgress()).path
