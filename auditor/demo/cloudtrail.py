"""CloudTrail's event history, of which moto knows nothing: who made or switched which access key, by what program."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime

from auditor.demo.answers import Question, Reply
from auditor.demo.cloud import CreatedKey, SwitchedKey
from auditor.demo.wire import Payload, iso


def lookup_events(question: Question) -> Payload:
    """The account's CreateAccessKey and UpdateAccessKey events, the latest first; no other event is kept."""
    attributes = json.loads(question.params.get("LookupAttributes", "[]"))
    names = {one["AttributeValue"] for one in attributes if one.get("AttributeKey") == "EventName"}
    since = float(question.params.get("StartTime", "0"))
    with question.cloud.lock:
        told = list(_told(question))
    events = [
        {"EventId": f"event-{number}", "EventName": name, "EventTime": at, "CloudTrailEvent": json.dumps(event)}
        for number, (at, name, event) in enumerate(sorted(told, key=lambda one: one[0]))
        if at.timestamp() >= since and (not names or name in names)
    ]
    return {"Events": events[::-1]}


def _told(question: Question) -> Iterator[tuple[datetime, str, Payload]]:
    """When, which call, and what CloudTrail has of it."""
    cloud, account_id = question.cloud, question.caller.account_id
    for made in cloud.created_keys.values():
        if made.account_id == account_id:
            key = {"userName": made.user_name, "accessKeyId": made.access_key_id}
            told = {"requestParameters": {"userName": made.user_name}, "responseElements": {"accessKey": key}}
            yield made.at, "CreateAccessKey", {**_event("CreateAccessKey", made), **told}
    for switched in cloud.switched_keys:
        if switched.account_id == account_id:
            asked = {"accessKeyId": switched.access_key_id, "status": switched.status}
            whose = {"userName": switched.user_name} if switched.user_name else {}
            told = {"requestParameters": {**whose, **asked}, "responseElements": None}
            yield switched.at, "UpdateAccessKey", {**_event("UpdateAccessKey", switched), **told}


def _event(name: str, call: CreatedKey | SwitchedKey) -> Payload:
    return {
        "eventName": name,
        "eventTime": iso(call.at),
        "userAgent": call.user_agent,
        "userIdentity": {"arn": call.caller_arn},
    }


REPLIES: Mapping[str, Reply] = {"LookupEvents": lookup_events}
