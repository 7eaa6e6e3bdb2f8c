"""CloudTrail's event history, of which moto knows nothing: who made which access key, and by what program."""

import json
from collections.abc import Mapping

from auditor.demo.answers import Question, Reply
from auditor.demo.wire import Payload, iso


def lookup_events(question: Question) -> Payload:
    """The account's CreateAccessKey events, the latest first; no other event is kept."""
    attributes = json.loads(question.params.get("LookupAttributes", "[]"))
    names = {one["AttributeValue"] for one in attributes if one.get("AttributeKey") == "EventName"}
    if names and "CreateAccessKey" not in names:
        return {"Events": []}
    since = float(question.params.get("StartTime", "0"))
    with question.cloud.lock:
        created = [key for key in question.cloud.created_keys.values() if key.account_id == question.caller.account_id]
    events = []
    for number, key in enumerate(created):
        if key.at.timestamp() < since:
            continue
        told = {
            "eventName": "CreateAccessKey",
            "eventTime": iso(key.at),
            "userAgent": key.user_agent,
            "userIdentity": {"arn": key.caller_arn},
            "requestParameters": {"userName": key.user_name},
            "responseElements": {"accessKey": {"userName": key.user_name, "accessKeyId": key.access_key_id}},
        }
        events.append(
            {
                "EventId": f"event-{number}",
                "EventName": "CreateAccessKey",
                "EventTime": key.at,
                "CloudTrailEvent": json.dumps(told),
            }
        )
    return {"Events": events[::-1]}


REPLIES: Mapping[str, Reply] = {"LookupEvents": lookup_events}
