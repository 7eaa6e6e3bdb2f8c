"""Runs of every shape make evidence: of an organisation with places and names of its own, of downloaded reports."""

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from moto.iam.models import iam_backends

from auditor.config import load_config
from auditor.demo import AccountSeed, Call, EmbeddedOrganisation, KeySeed, OrganisationSeed, RoleSeed, UserSeed
from auditor.evidence.export import Wanted, export
from auditor.evidence.reconciliation import totals
from auditor.evidence.verify import Trust, Verification, verify
from auditor.history import load_manifest
from auditor.pipeline import AuditRequest, audit
from tests.builders import AS_OF, ago
from tests.conftest import NoProgress, connect
from tests.evidence.conftest import MAIN, OTHER, used

Sign = Callable[[bytes], bytes]
Change = Callable[[dict[str, Any]], object]

OLD = (UserSeed("old", (KeySeed(created_at=ago(100), last_used=used(1)),)),)


def verified(run: Path, sign: Sign, trust: Trust, folder: Path) -> Verification:
    """The run's bundle, verified."""
    return verify(export(run, Wanted(folder, timedelta(days=400), sign=sign), NoProgress()).path, trust, NoProgress())


def edited(path: Path, change: Change) -> None:
    """A file of JSON says something else."""
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of an organisation with units, where a limit goes by one, and an account is called otherwise."""
    folder = tmp_path_factory.mktemp("placed")
    accounts = (
        AccountSeed(MAIN, "main"),
        AccountSeed(OTHER, "other", OLD, organisational_unit="Workloads/Production"),
    )
    with EmbeddedOrganisation(OrganisationSeed(accounts), as_of=AS_OF, clock=lambda: AS_OF) as cloud:
        entered = {"source": "organisation", "role_name": cloud.role_name, "external_id": cloud.external_id}
        config = load_config(
            None,
            {
                "accounts": {**entered, "override": [{"id": OTHER, "name": "Shop"}]},
                "policy": {"limit": [{"id": "slow", "control": "key-age", "ous": ["/Workloads"], "max_days": 200}]},
                "output": {"folder": str(folder), "formats": ["json"]},
            },
        )
        return audit(AuditRequest(config, connect(cloud), AS_OF), NoProgress()).reports.folder


def test_an_account_of_another_name_and_place_is_that_of_the_organisation(
    placed: Path, sign: Sign, trust: Trust, tmp_path: Path
) -> None:
    """The name is the configuration's, the place is the organisation's, and a limit goes by it."""
    found = verified(placed, sign, trust, tmp_path)
    assert found.problem is None
    assert load_manifest(placed).summary.non_compliant == 0


@pytest.mark.parametrize(
    "place",
    [
        {"unit_names": ["Sandbox"]},
        {"unit_names": None},
        {"units": None, "unit_names": None},
        {"name": "other"},
        {"state": "SUSPENDED"},
    ],
)
def test_an_account_in_another_place_is_not_that_of_the_organisation(
    placed: Path, tmp_path: Path, place: dict[str, object]
) -> None:
    """Verdicts go by it, so it has to be what the organisation said."""
    run = tmp_path / "run"
    shutil.copytree(placed, run)
    edited(run / "raw" / OTHER / "account.json", lambda told: told["account"].update(place))
    wrong = [total.what for total in totals(run) if not total.holds]
    assert wrong == ["accounts of the organisation in scope"]


HEADER = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,"
    "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,"
    "access_key_1_last_used_region,access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,"
    "access_key_2_last_used_date,access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,"
    "cert_1_last_rotated,cert_2_active,cert_2_last_rotated"
)
ROOT = (
    f"<root_account>,arn:aws:iam::{MAIN}:root,2020-01-01T00:00:00Z,not_supported,no_information,not_supported,"
    "not_supported,true,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A"
)


def test_of_downloaded_reports_it_is_said_that_nobody_asked_aws(sign: Sign, trust: Trust, tmp_path: Path) -> None:
    """Also where one of them cannot be read; and what was not asked is no check that holds."""
    reports = tmp_path / "downloads"
    reports.mkdir()
    (reports / "good.csv").write_text(f"{HEADER}\n{ROOT}\n")
    (reports / "broken.csv").write_text("user,arn\nx,y\n")
    config = load_config(None, {"output": {"folder": str(tmp_path / "runs"), "formats": ["json"]}})
    request = AuditRequest(config, None, AS_OF, report_paths=(reports,))  # type: ignore[arg-type]
    run = audit(request, NoProgress()).reports.folder
    found = verified(run, sign, trust, tmp_path / "evidence")
    told = {check.name: check for check in found.checks}["answers"]
    assert found.problem is None
    assert (told.was_made, told.told.partition(":")[0]) == (False, "1 report was downloaded, and AWS was not asked")


@pytest.mark.parametrize("name", ["main", "Head office"])
def test_a_run_that_was_gone_on_with_is_that_of_the_organisation_as_it_is(
    sign: Sign, trust: Trust, tmp_path: Path, name: str
) -> None:
    """What was audited stays, but for an account that is called otherwise, or is elsewhere, by now."""
    runs: list[Path] = []
    for now, refuses in (("main", True), (name, False)):
        accounts = (AccountSeed(MAIN, now), AccountSeed(OTHER, "other", OLD, role=RoleSeed(refuses=refuses)))
        with EmbeddedOrganisation(OrganisationSeed(accounts), as_of=AS_OF, clock=lambda: AS_OF) as cloud:
            entered = {"source": "organisation", "role_name": cloud.role_name, "external_id": cloud.external_id}
            config = load_config(None, {"accounts": entered, "output": {"folder": str(tmp_path), "formats": ["json"]}})
            request = AuditRequest(config, connect(cloud), AS_OF, resumed=runs[0] if runs else None)
            runs.append(audit(request, NoProgress()).reports.folder)
            asked = {call.account_id for call in cloud.call_log if call.action == "GetCredentialReport"}
            assert (MAIN in asked) is (not request.resumed or name != "main")
    assert verified(runs[-1], sign, trust, tmp_path / "evidence").problem is None


@pytest.mark.parametrize("only", [(), (MAIN,)])
def test_listed_accounts_are_there_but_for_those_that_somebody_left_out(
    sign: Sign, trust: Trust, tmp_path: Path, only: tuple[str, ...]
) -> None:
    """One that is gone from the run, though the configuration lists it, does not add up."""
    accounts = (AccountSeed(MAIN, "main"), AccountSeed(OTHER, "other", OLD))
    with EmbeddedOrganisation(OrganisationSeed(accounts), as_of=AS_OF, clock=lambda: AS_OF) as cloud:
        entered = {"role_name": cloud.role_name, "external_id": cloud.external_id}
        listed = {"source": "list", "list": [{"id": MAIN}, {"id": OTHER}], **entered}
        config = load_config(None, {"accounts": listed, "output": {"folder": str(tmp_path), "formats": ["json"]}})
        run = audit(AuditRequest(config, connect(cloud), AS_OF, only_accounts=only), NoProgress()).reports.folder
    assert verified(run, sign, trust, tmp_path / "evidence").problem is None
    shutil.rmtree(run / "raw" / MAIN)
    total = {total.what: total for total in totals(run)}.get("accounts that the configuration lists")
    assert (total is not None and not total.holds) is (not only)


@pytest.mark.parametrize("is_inactive", [False, True])
def test_keys_of_one_second_of_which_one_is_gone_add_up(
    sign: Sign, trust: Trust, tmp_path: Path, *, is_inactive: bool
) -> None:
    """The report has two, the list one, and nobody knows which of the two it is: both are judged, and one is there."""
    twin = UserSeed("twin", (KeySeed(created_at=ago(400), last_used=used(1)), KeySeed(created_at=ago(400))))
    gone: list[Call] = []

    def meanwhile(call: Call) -> None:
        if call.action == "ListAccessKeys" and not gone:
            gone.append(call)
            keys = iam_backends[OTHER]["aws"].users["twin"].access_keys
            keys.pop()
            keys[0].status = "Inactive" if is_inactive else "Active"

    seed = OrganisationSeed((AccountSeed(MAIN, "main"), AccountSeed(OTHER, "other", (twin,))))
    with EmbeddedOrganisation(seed, as_of=AS_OF, clock=lambda: AS_OF, fault=meanwhile) as cloud:
        entered = {"source": "organisation", "role_name": cloud.role_name, "external_id": cloud.external_id}
        config = load_config(None, {"accounts": entered, "output": {"folder": str(tmp_path), "formats": ["json"]}})
        run = audit(AuditRequest(config, connect(cloud), AS_OF), NoProgress()).reports.folder
    assert verified(run, sign, trust, tmp_path / "evidence").problem is None
    counted = {total.what: set(total.counted.values()) for total in totals(run)}
    assert (counted["access keys"], counted["access keys that were judged"]) == ({1}, {2})
