"""AWS's own answers, kept beside what was made of them: whatever says something else is found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from auditor.evidence.answered import GET_REPORT, confirm_answered
from auditor.evidence.bag import BagError
from tests.conftest import NoProgress

Change = Callable[[Path], object]
"""Of the account's folder."""

MAIN, ACCOUNT, REFUSED = "111111111111", "222222222222", "333333333333"


def edited(name: str, change: Callable[[Any], Any]) -> Change:
    """A file of JSON says something else."""

    def edit(place: Path) -> None:
        document = json.loads((place / name).read_bytes())
        changed = change(document)
        (place / name).write_text(json.dumps(document if changed is None else changed, indent=2) + "\n")

    return edit


def of_user(name: str, **changes: object) -> Change:
    """The look-up of a user says something else."""
    return edited("keys.json", lambda told: next(one for one in told["users"] if one["user"] == name).update(changes))


def without_user(name: str) -> Change:
    """Nobody looked a user up."""
    return edited("keys.json", lambda told: {"users": [one for one in told["users"] if one["user"] != name]})


def in_account(**changes: object) -> Change:
    """The account says something else of itself."""
    return edited("account.json", lambda told: told.update(changes))


def without(name: str) -> Change:
    """One of the account's files is not there, and is not said to be."""

    def remove(place: Path) -> None:
        (place / name).unlink()
        edited("account.json", lambda told: told["files"].remove(name))(place)

    return remove


def lines_of(place: Path) -> list[dict[str, Any]]:
    """The account's requests."""
    return [json.loads(line) for line in (place / "requests.jsonl").read_text().splitlines()]


def keep(place: Path, lines: list[dict[str, Any]]) -> None:
    """These are its requests."""
    (place / "requests.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def in_request(operation: str, /, **changes: object) -> Change:
    """The first request of this operation says something else."""

    def change(place: Path) -> None:
        lines = lines_of(place)
        next(line for line in lines if line["operation"] == operation).update(changes)
        keep(place, lines)

    return change


def of_request(place: Path, operation: str) -> dict[str, Any]:
    """The first request of this operation."""
    return next(line for line in lines_of(place) if line["operation"] == operation)


def first_id(place: Path) -> str:
    """The id of an account's report."""
    received = (line for line in lines_of(place) if (line["operation"], line["outcome"]) == (GET_REPORT, "ok"))
    return str(next(received)["request_id"])


def again(operation: str) -> Change:
    """The first request of this operation was sent again, and answered."""
    return lambda place: keep(place, [*lines_of(place), {**of_request(place, operation), "outcome": "ok"}])


def in_answer(operation: str, old: str, new: str) -> Change:
    """So does AWS's answer to it."""

    def change(place: Path) -> None:
        lines = lines_of(place)
        found = next(line for line in lines if line["operation"] == operation and old in line["answer"])
        found["answer"] = found["answer"].replace(old, new)
        keep(place, lines)

    return change


def without_requests(operation: str) -> Change:
    """Nothing like it was ever sent."""
    return lambda place: keep(place, [line for line in lines_of(place) if line["operation"] != operation])


def unasked(name: str) -> Change:
    """Nothing was ever asked about a user."""

    def change(place: Path) -> None:
        about = [line for line in lines_of(place) if name in json.dumps([line["params"], line["answer"]])]
        assert about
        keep(place, [line for line in lines_of(place) if line not in about])
        without_user(name)(place)

    return change


def answered_as(operation: str, name: str, other: str) -> Change:
    """What was answered about one user, under the id of its request, is the answer about another one as well."""

    def change(place: Path) -> None:
        lines = lines_of(place)
        told = next(line for line in lines if line["operation"] == operation and name in json.dumps(line["params"]))
        for line in lines:
            if line["operation"] == operation and other in json.dumps(line["params"]):
                line.update(answer=told["answer"], request_id=told["request_id"])
        keep(place, lines)
        users = json.loads((place / "keys.json").read_bytes())["users"]
        of_user(other, tags=next(one["tags"] for one in users if one["user"] == name))(place)

    return change


def listed(place: Path) -> None:
    """Nobody is there, as a list says that nobody asked for."""
    for name in ("credential-report.csv", "response.json", "keys.json", "quarantine.json", "service-credentials.json"):
        (place / name).unlink()
    told = {"operation": "iam:ListUsers", "received_at": "2026-11-22T19:00:00Z", "users": []}
    (place / "listing.json").write_text(json.dumps(told))
    in_account(source="listing", files=["listing.json"], root_keys_present=False)(place)


def refused(place: Path) -> None:
    """The account was not audited, though AWS refused nothing."""

    def change(told: dict[str, Any]) -> dict[str, Any]:
        kept = {name: told[name] for name in ("schema", "account", "calls", "throttles", "retries", "seconds")}
        reason = "A permission is missing. iam:GetCredentialReport: AccessDenied (no)"
        why = {"code": "access_denied", "reason": reason, "next_step": "Allow it."}
        return {**kept, "audited": False, **why}

    edited("account.json", change)(place)


def whole(*changes: Change) -> Change:
    """All of these."""

    def change(place: Path) -> None:
        for one in changes:
            one(place)

    return change


TAGS, LISTS, USES = "iam:ListUserTags", "iam:ListAccessKeys", "iam:GetAccessKeyLastUsed"
BOMB = "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>"
FORGED: dict[str, Change] = {
    "a key that is not active": of_user("old", keys=[]),
    "another owner": of_user("old", tags={"owner": "nobody"}),
    "a look-up of nobody": without_user("old"),
    "a look-up that failed, which did not": of_user("old", failed="iam:ListAccessKeys: AccessDenied"),
    "a user that is gone, who is not": of_user("old", exists=False, keys=[]),
    "no look-ups": without("keys.json"),
    "another user in quarantine": edited("quarantine.json", lambda told: told.update(users={"old": ["x"]})),
    "quarantine that nobody knows": edited("quarantine.json", lambda told: told.update(users={}, failed="x")),
    "nobody asked for quarantine": without("quarantine.json"),
    "nobody asked for service credentials": without("service-credentials.json"),
    "nobody asked for quarantine, nor was anything answered": whole(
        without("quarantine.json"),
        without_requests("iam:ListPolicies"),
        without_requests("iam:ListEntitiesForPolicy"),
    ),
    "keys of nobody knows whom": in_request(LISTS, params={}),
    "a session that nobody asked for": in_request(
        TAGS, failed_in="sts:AssumeRole", outcome="AccessDenied", answer=None
    ),
    "a report that was downloaded": in_account(source="file"),
    "a listing in place of the report": listed,
    "an account that refused, and did not": refused,
    "an account that refused something else": whole(
        refused, in_request(TAGS, outcome="AccessDenied", why="no", answer=None)
    ),
    "an account that refused, and was not asked": whole(refused, lambda place: keep(place, [])),
    "an account that refused what ends none": whole(
        refused,
        edited(
            "account.json", lambda told: told.update(reason="A permission is missing. iam:ListUserTags: AccessDenied")
        ),
        in_request(TAGS, outcome="AccessDenied", why="no", answer=None),
    ),
    "an account that refused the report, which was received": whole(
        refused,
        in_request("iam:GetCredentialReport", outcome="AccessDenied", why="no"),
        again("iam:GetCredentialReport"),
    ),
    "an account that refused a role, which was never asked for": whole(
        refused,
        edited(
            "account.json", lambda told: told.update(code="role_refused", reason="No. sts:AssumeRole: AccessDenied")
        ),
        lambda place: keep(place, [{**lines_of(place)[0], "failed_in": "sts:AssumeRole", "outcome": "AccessDenied"}]),
    ),
    "an account that is suspended, and is not": whole(
        refused, edited("account.json", lambda told: told.update(code="not_active"))
    ),
    "an account that was audited, and is suspended": edited(
        "account.json", lambda told: told["account"].update(state="SUSPENDED")
    ),
    "an account that is another, of which nothing was answered": whole(
        refused,
        edited("account.json", lambda told: told.update(code="wrong_account")),
        lambda place: keep(place, []),
    ),
    "a report without an id": whole(
        in_request("iam:GetCredentialReport", request_id=None),
        edited("response.json", lambda told: told.update(request_id=None)),
    ),
    "a report of which no response is told": whole(
        lambda place: (place / "response.json").unlink(),
        edited("account.json", lambda told: told["files"].remove("response.json")),
    ),
    "an account that ended by what ends none": whole(
        refused,
        edited("account.json", lambda told: told.update(reason="No. iam:GetAccountSummary: ExpiredToken (no)")),
        lambda place: keep(
            place,
            [
                *lines_of(place),
                {
                    **of_request(place, TAGS),
                    "operation": "iam:GetAccountSummary",
                    "outcome": "ExpiredToken",
                    "answer": None,
                },
            ],
        ),
    ),
    "an answer without an id": whole(
        lambda place: in_answer(TAGS, f"<RequestId>{of_request(place, TAGS)['request_id']}</RequestId>", "")(place),
        in_request(TAGS, request_id=None),
    ),
    "a session that failed by what no session fails by": in_request(
        TAGS, failed_in="sts:AssumeRole", outcome="Foo", answer=None
    ),
    "an answer under the id of another account's": whole(
        lambda place: in_answer(TAGS, of_request(place, TAGS)["request_id"], first_id(place.with_name(MAIN)))(place),
        lambda place: in_request(TAGS, request_id=first_id(place.with_name(MAIN)))(place),
    ),
    "a user about whom nobody asked": unasked("old"),
    "an answer of which nothing is made": lambda place: keep(
        place, [*lines_of(place), {**of_request(place, TAGS), "params": {"UserName": "nobody"}, "request_id": "x"}]
    ),
    "one answer twice": answered_as(TAGS, "old", "leaked"),
    "a denial in its own place": in_request(TAGS, failed_in=TAGS, outcome="AccessDenied", why="no", answer=None),
    "what failed is no call": in_request(TAGS, failed_in="nothing", outcome="AccessDenied", answer=None),
    "an operation that is none": in_request(TAGS, operation=None),
    "an outcome that is none": in_request(TAGS, outcome=[]),
    "a try that is no number": in_request(TAGS, attempt="x"),
    "an operation that is long": in_request(TAGS, operation=f"iam:List{'A' * 2_000_000}"),
    "root keys that nobody asked for": in_account(root_keys_present=True),
    "no request for the report": without_requests("iam:GetCredentialReport"),
    "no request for tags": without_requests(TAGS),
    "a request without what was asked": in_request(LISTS, params=None),
    "a request that was denied, and answered": in_request(LISTS, outcome="AccessDenied"),
    "a request that was answered, without an answer": in_request(LISTS, answer=None),
    "a request of another id": in_request(TAGS, request_id="0" * 8),
    "an answer to what has none": in_request("sts:AssumeRole", answer="<a/>"),
    "another answer": in_answer(LISTS, "<Status>Active<", "<Status>Inactive<"),
    "another last use": in_answer(USES, "<ServiceName>s3<", "<ServiceName>s4<"),
    "a list of another's keys": in_answer(LISTS, "<UserName>old<", "<UserName>leaked<"),
    "an answer with a document type": in_request(TAGS, answer=BOMB),
    "an answer in another alphabet": in_request(TAGS, answer="<?xml version='1.0' encoding='cp037'?><a/>"),
    "an answer that is too long": in_request(TAGS, answer=f"<a>{' ' * (5 << 20)}</a>"),
    "an answer that is none": in_request(TAGS, answer="no XML at all"),
    "an answer of bytes": in_request(TAGS, answer="\udcff\udcfe"),
    "what was asked is no question": in_request(TAGS, params=[1, [2]]),
    "a request that is none": lambda place: (place / "requests.jsonl").write_text('{"attempt": 1}\n'),
    "a request that is deep": lambda place: (place / "requests.jsonl").write_text('{"attempt": ' + "[" * 9999 + "\n"),
}


@pytest.fixture
def run(run_folder: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "run"
    shutil.copytree(run_folder, copy)
    return copy


@pytest.mark.parametrize("what", FORGED)
def test_what_aws_did_not_say_is_found(run: Path, what: str) -> None:
    """Whatever else is made anew to fit it: the account is named, and what of it."""
    FORGED[what](run / "raw" / ACCOUNT)
    with pytest.raises(BagError, match=ACCOUNT) as error:
        confirm_answered(run, NoProgress())
    assert len(str(error.value)) < 500, "whatever stands there"


def test_what_aws_said_is_what_it_said(run: Path) -> None:
    """Both accounts that answered; the one that refused has no look-ups."""
    found = confirm_answered(run, NoProgress())
    assert (found.accounts, found.not_kept) == (2, ())


@pytest.mark.parametrize("is_of_aws", [True, False])
def test_an_account_without_answers_is_named(run: Path, *, is_of_aws: bool) -> None:
    """Whatever the run says of who called; nothing else shows that these look-ups are AWS's."""
    if not is_of_aws:
        told = json.loads((run / "run.json").read_bytes())
        (run / "run.json").write_text(json.dumps({**told, "caller_arn": None}))
    (run / "raw" / ACCOUNT / "requests.jsonl").unlink()
    of_user("old", keys=[])(run / "raw" / ACCOUNT)
    found = confirm_answered(run, NoProgress())
    assert found.accounts == 1
    expected = {f"raw/{ACCOUNT}/{name}.json" for name in ("keys", "quarantine", "service-credentials")}
    assert set(found.not_kept) == expected


@pytest.mark.parametrize("is_old", [True, False])
def test_a_refusal_of_which_no_requests_were_kept_is_named(run: Path, *, is_old: bool) -> None:
    """Nothing shows that AWS refused it, and that is said; whether there is no file, or one of the first versions."""
    place = run / "raw" / REFUSED
    lines = [{name: line[name] for name in ("at", "operation", "request_id", "outcome")} for line in lines_of(place)]
    (place / "requests.jsonl").unlink()
    if is_old:
        keep(place, lines)
    found = confirm_answered(run, NoProgress())
    assert (found.accounts, found.not_kept) == (2, (f"raw/{REFUSED}/account.json",))


@pytest.mark.parametrize("is_of_aws", [True, False])
def test_whom_a_run_looked_up_is_what_its_configuration_wants(run: Path, *, is_of_aws: bool) -> None:
    """Else who looks at all keys could leave some out; whatever the run says of who called."""
    if not is_of_aws:
        told = json.loads((run / "run.json").read_bytes())
        (run / "run.json").write_text(json.dumps({**told, "caller_arn": None}))
    terms = (run / "policy.toml").read_text()
    assert 'key_ids = "flagged"' in terms
    (run / "policy.toml").write_text(terms.replace('key_ids = "flagged"', 'key_ids = "all"'))
    with pytest.raises(BagError, match=r"run\.json says that flagged keys were looked up, and policy\.toml all"):
        confirm_answered(run, NoProgress())


def test_a_configuration_that_does_not_say_whom_means_the_default(run: Path) -> None:
    """To leave it out is no way around it."""
    told = json.loads((run / "run.json").read_bytes())
    (run / "run.json").write_text(json.dumps({**told, "key_ids": "none"}))
    (run / "policy.toml").write_text((run / "policy.toml").read_text().replace('key_ids = "flagged"', ""))
    with pytest.raises(BagError, match=r"run\.json says that none keys were looked up, and policy\.toml flagged"):
        confirm_answered(run, NoProgress())
