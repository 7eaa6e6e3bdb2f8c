"""What was read of an account ↔ the files that it is kept in. Pure: gathering writes them, judging reads them back.

credential-report.csv     the bytes as AWS sent them, or as they were downloaded
response.json             what came beside them
listing.json              the users, where there was no credential report
keys.json                 the live look-ups of single users, and of the root user
quarantine.json           the users whom AWS put in quarantine
service-credentials.json  the service-specific credentials of all users
observed.json             what earlier runs saw of the account's inactive keys: not AWS's word, but judged by
requests.jsonl            every request, and AWS's answers to look-ups: evidence beside CloudTrail's, not judged
account.json              the account, how it ended and what it took; written last, so that its presence means "done"
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import UnionType
from typing import Any, assert_never

from auditor.credential_report import parse_credential_report
from auditor.model import (
    Account,
    AccountFacts,
    AccountResult,
    KeyStatus,
    LastUsed,
    ListedUser,
    LiveKey,
    NeverUsed,
    NotAudited,
    NotAuditedCode,
    ObservedKey,
    Quarantine,
    ReportMeta,
    Request,
    ServiceCredential,
    ServiceCredentials,
    Source,
    Spent,
    UnknownUse,
    UsedAt,
    UserLookup,
)
from auditor.report_columns import ReportColumns

REPORT, RESPONSE, LISTING, KEYS, QUARANTINE, SERVICE_CREDENTIALS, ACCOUNT = (
    "credential-report.csv",
    "response.json",
    "listing.json",
    "keys.json",
    "quarantine.json",
    "service-credentials.json",
    "account.json",
)
"""The files' names, below the account's folder."""

OBSERVED = "observed.json"

REQUESTS = "requests.jsonl"
"""Also the name of the run's own, beside run.json: what was sent to find the accounts."""

REQUEST_TYPES: Mapping[str, UnionType | type] = {
    **dict.fromkeys(("at", "operation", "outcome"), str),
    **dict.fromkeys(("request_id", "why", "answer", "failed_in"), str | None),
    "params": dict | None,
    "attempt": int | None,
}
"""What a line of requests holds; the first versions had neither what was asked nor what was answered."""

SCHEMA = "auditor.account/1"


def encode_response(meta: ReportMeta, states: Iterable[str] = ()) -> bytes:
    """`response.json`: when the report was made and received, under which request, and its digest."""
    return _json(
        {
            "operation": "iam:GetCredentialReport",
            "generated_at": _time(meta.generated_at),
            "received_at": _time(meta.received_at),
            "request_id": meta.request_id,
            "generate_states": list(states),
            "sha256": meta.sha256,
            "size": meta.size,
            "origin": meta.origin,
        }
    )


def encode_lookups(lookups: Mapping[str, UserLookup]) -> bytes:
    """`keys.json`: what the live look-ups of single users gave, failures included."""
    return _json({"users": [_lookup(lookup) for lookup in lookups.values()]})


def encode_listing(users: Iterable[ListedUser], received_at: datetime) -> bytes:
    """`listing.json`: the users as ListUsers gave them, where there is no credential report."""
    listed = [{"user": user.name, "arn": user.arn, "created_at": _time(user.created_at)} for user in users]
    return _json({"operation": "iam:ListUsers", "received_at": _time(received_at), "users": listed})


def encode_quarantine(quarantine: Quarantine) -> bytes:
    """`quarantine.json`: the users in quarantine with the policies that put them there, or why that is not known."""
    users = {user: list(policies) for user, policies in sorted(quarantine.users.items())}
    return _json({"operation": "iam:ListEntitiesForPolicy", "failed": quarantine.failed, "users": users})


def encode_service_credentials(credentials: ServiceCredentials) -> bytes:
    """`service-credentials.json`: the account's service-specific credentials, or why they are not known."""
    found = [_credential(credential) for credential in credentials.found]
    operation = "iam:ListServiceSpecificCredentials"
    return _json({"operation": operation, "failed": credentials.failed, "credentials": found})


def encode_observed(keys: Iterable[ObservedKey]) -> bytes:
    """`observed.json`: the keys that earlier runs saw inactive, in an order of their own."""
    seen = [
        {
            "access_key_id": key.access_key_id,
            "user_arn": key.user_arn,
            "created_at": _time(key.created_at),
            "inactive_since": _time(key.since),
        }
        for key in keys
    ]
    return _json({"inactive": sorted(seen, key=repr)})


def decode_observed(content: bytes) -> tuple[ObservedKey, ...]:
    """The keys of `observed.json`; ValueError where it is none."""
    try:
        return tuple(
            ObservedKey(
                key["access_key_id"],
                key["user_arn"],
                _instant(key["created_at"]) if key["created_at"] else None,
                _instant(key["inactive_since"]),
            )
            for key in json.loads(content)["inactive"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not what earlier runs saw ({type(error).__name__}: {error})") from error


def encode_requests(requests: Iterable[Request]) -> bytes:
    """`requests.jsonl`: every request in the order of sending, as CloudTrail can be searched for it."""
    lines = (
        {
            "at": request.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "operation": request.operation,
            "params": request.params,
            "attempt": request.attempt,
            "request_id": request.request_id,
            "outcome": request.outcome,
            "why": request.why,
            "failed_in": request.failed_in,
            "answer": None if request.answer is None else request.answer.decode("utf-8", "surrogateescape"),
        }
        for request in requests
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def decode_requests(content: bytes) -> Iterator[Request]:
    """The requests again; those of versions that kept no answers have neither these nor what was asked.

    Raises:
        ValueError: a line is no request.
    """
    for number, line in enumerate(content.decode("ascii").splitlines(), 1):
        try:
            yield _request(json.loads(line))
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"line {number} of {REQUESTS} is no request ({type(error).__name__}: {error})") from error


def _request(said: Mapping[str, Any]) -> Request:
    strange = next((name for name, kind in REQUEST_TYPES.items() if not isinstance(said.get(name), kind)), None)
    if strange is not None:
        raise ValueError(f"{strange} is {said.get(strange)!r:.20}")
    answer = said.get("answer")
    return Request(
        datetime.fromisoformat(said["at"]),
        said["operation"],
        said["request_id"],
        said["outcome"],
        said.get("why"),
        said.get("params"),
        said.get("attempt") or 1,
        None if answer is None else answer.encode("utf-8", "surrogateescape"),
        said.get("failed_in"),
    )


def encode_account(result: AccountResult) -> bytes:
    """`account.json`: what the other files do not hold, and which of them count. An external id is left out."""
    account, outcome, spent = result.account, result.outcome, result.spent
    said: dict[str, Any] = (
        {"code": outcome.code.value, "reason": outcome.reason, "next_step": outcome.next_step}
        if isinstance(outcome, NotAudited)
        else {
            "source": outcome.source.value,
            "files": list(_files_of(outcome)),
            "root_keys_present": outcome.root_keys_present,
            "notes": list(outcome.notes),
        }
    )
    return _json(
        {
            "schema": SCHEMA,
            "account": {
                "id": account.id,
                "name": account.name,
                "partition": account.partition,
                "state": account.state,
                "role_name": account.role_name,
                "units": _listed(account.units),
                "unit_names": _listed(account.unit_names),
            },
            "audited": not isinstance(outcome, NotAudited),
            **said,
            "calls": dict(sorted(spent.calls.items())),
            "throttles": spent.throttles,
            "retries": spent.retries,
            "seconds": spent.seconds,
        }
    )


def decode_result(files: Mapping[str, bytes]) -> AccountResult:
    """The account's result, from its files by name.

    Raises:
        ReportFormatError: the credential report cannot be read (any more).
        ValueError: another file is missing, or is not what `encode_…` writes.
    """
    try:
        document = json.loads(files[ACCOUNT])
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']!r}; this version reads {SCHEMA}")
        account = _account(document["account"])
        spent = Spent(document["calls"], document["throttles"], document["retries"], document["seconds"])
        if not document["audited"]:
            why = NotAudited(NotAuditedCode(document["code"]), document["reason"], document["next_step"])
            return AccountResult(account, why, spent)
        counting = {name: files[name] for name in document["files"]}
        return AccountResult(account, _facts(account, document, counting), spent)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not the files of an account ({type(error).__name__}: {error})") from error


def unanswered(facts: AccountFacts) -> int:
    """How many look-ups AWS refused or did not answer, so that verdicts may be unknown; those of tags do not count."""
    if facts.source is Source.FILE:
        return 0
    lookups = facts.lookups.values()
    failed = sum(lookup.failed is not None for lookup in lookups)
    failed += sum(isinstance(key.last_used, UnknownUse) for lookup in lookups for key in lookup.keys)
    failed += facts.quarantine is not None and facts.quarantine.failed is not None
    failed += facts.service_credentials is not None and facts.service_credentials.failed is not None
    if facts.root_keys_present is None:
        failed += facts.report is None or not ReportColumns.of(facts.report.users).is_root.any()
    return failed


def facts_digest(result: AccountResult, observed: Iterable[ObservedKey] = ()) -> bytes:
    """SHA-256 of what the account's verdicts rest on, and of nothing that differs between two readings of the same."""
    outcome = result.outcome
    said: tuple[object, ...]
    if isinstance(outcome, NotAudited):
        said = (outcome.code.value,)
    else:
        listed = [(user.name, user.arn, _time(user.created_at)) for user in outcome.listed_users]
        report = outcome.meta.sha256 if outcome.meta else None
        said = (
            report,
            listed,
            encode_lookups(outcome.lookups),
            outcome.root_keys_present,
            outcome.quarantine and encode_quarantine(outcome.quarantine),
            outcome.service_credentials and encode_service_credentials(outcome.service_credentials),
        )
    account = result.account
    place = (account.id, account.units, account.unit_names)
    return hashlib.sha256(repr((*place, *said, encode_observed(observed))).encode()).digest()


def _files_of(facts: AccountFacts) -> Iterator[str]:
    """What these facts are read back from: an attempt that was cut off may have left other files beside them."""
    if facts.report:
        yield from (REPORT, RESPONSE)
    else:
        yield LISTING
    if facts.lookups:
        yield KEYS
    if facts.quarantine:
        yield QUARANTINE
    if facts.service_credentials:
        yield SERVICE_CREDENTIALS


def _facts(account: Account, document: Mapping[str, Any], files: Mapping[str, bytes]) -> AccountFacts:
    meta = _meta(json.loads(files[RESPONSE])) if RESPONSE in files else None
    report = None
    if REPORT in files:
        received = (hashlib.sha256(files[REPORT]).hexdigest(), len(files[REPORT]))
        if meta is not None and (meta.sha256, meta.size) != received:
            raise ValueError(f"{REPORT} is not what {RESPONSE} says was received")
        origin = (meta.origin if meta else None) or f"credential report of {account.id}"
        report = parse_credential_report(files[REPORT], origin=origin, expected_account=account.id)
    listed = json.loads(files[LISTING])["users"] if LISTING in files else ()
    looked_up = json.loads(files[KEYS])["users"] if KEYS in files else ()
    return AccountFacts(
        source=Source(document["source"]),
        report=report,
        meta=meta,
        listed_users=tuple(ListedUser(user["user"], user["arn"], _instant(user["created_at"])) for user in listed),
        lookups={entry["user"]: _decoded_lookup(entry) for entry in looked_up},
        root_keys_present=document["root_keys_present"],
        quarantine=_decoded_quarantine(json.loads(files[QUARANTINE])) if QUARANTINE in files else None,
        service_credentials=(
            _decoded_credentials(json.loads(files[SERVICE_CREDENTIALS])) if SERVICE_CREDENTIALS in files else None
        ),
        notes=tuple(document["notes"]),
    )


def _account(said: Mapping[str, Any]) -> Account:
    """Accounts of earlier versions have no units."""
    units, names = said.get("units"), said.get("unit_names")
    return Account(
        said["id"],
        said["name"],
        said["partition"],
        said["state"],
        said["role_name"],
        units=None if units is None else tuple(units),
        unit_names=None if names is None else tuple(names),
    )


def _meta(response: Mapping[str, Any]) -> ReportMeta:
    return ReportMeta(
        generated_at=_instant(response["generated_at"]) if response["generated_at"] else None,
        received_at=_instant(response["received_at"]) if response["received_at"] else None,
        sha256=response["sha256"],
        size=response["size"],
        request_id=response["request_id"],
        origin=response["origin"],
    )


def _lookup(lookup: UserLookup) -> dict[str, Any]:
    return {
        "user": lookup.user,
        "exists": lookup.exists,
        "renamed_to": lookup.renamed_to,
        "failed": lookup.failed,
        "keys": [_key(key) for key in lookup.keys],
        "tags": dict(sorted(lookup.tags.items())),
        "tags_failed": lookup.tags_failed,
    }


def _decoded_lookup(entry: Mapping[str, Any]) -> UserLookup:
    keys = tuple(
        LiveKey(
            key["access_key_id"],
            KeyStatus(key["status"]),
            _instant(key["created_at"]),
            _decoded_last_used(key["last_used"]),
        )
        for key in entry["keys"]
    )
    others = {name: entry[name] for name in ("user", "exists", "renamed_to", "failed", "tags", "tags_failed")}
    return UserLookup(**others, keys=keys)


def _key(key: LiveKey) -> dict[str, Any]:
    return {
        "access_key_id": key.access_key_id,
        "status": key.status.value,
        "created_at": _time(key.created_at),
        "last_used": _last_used(key.last_used),
    }


def _credential(credential: ServiceCredential) -> dict[str, Any]:
    return {
        "id": credential.id,
        "user": credential.user,
        "service": credential.service,
        "status": credential.status.value,
        "created_at": _time(credential.created_at),
        "expires_at": _time(credential.expires_at),
    }


def _decoded_credentials(said: Mapping[str, Any]) -> ServiceCredentials:
    found = tuple(
        ServiceCredential(
            entry["id"],
            entry["user"],
            entry["service"],
            KeyStatus(entry["status"]),
            _instant(entry["created_at"]),
            _instant(entry["expires_at"]) if entry["expires_at"] else None,
        )
        for entry in said["credentials"]
    )
    return ServiceCredentials(found, said["failed"])


def _decoded_quarantine(said: Mapping[str, Any]) -> Quarantine:
    return Quarantine({user: tuple(policies) for user, policies in said["users"].items()}, said["failed"])


def _last_used(last_used: LastUsed) -> dict[str, Any]:
    match last_used:
        case UsedAt(at, service, region):
            return {"state": "used", "at": _time(at), "service": service, "region": region}
        case NeverUsed():
            return {"state": "never"}
        case UnknownUse(why):
            return {"state": "unknown", "why": why}
    assert_never(last_used)


def _decoded_last_used(said: Mapping[str, Any]) -> LastUsed:
    match said["state"]:
        case "used":
            return UsedAt(_instant(said["at"]), said["service"], said["region"])
        case "never":
            return NeverUsed()
        case "unknown":
            return UnknownUse(said["why"])
        case _:
            raise ValueError(f"no state of last use: {said['state']!r}")


def _time(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _listed(texts: Iterable[str] | None) -> list[str] | None:
    return None if texts is None else list(texts)


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
