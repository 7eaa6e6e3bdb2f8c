"""The table of a shared journal, as deploy/journal.yaml makes it."""

from typing import Any

import boto3

from auditor.demo import EmbeddedOrganisation

TABLE = "auditor-journal"
KEYS = {"journal": "HASH", "entry": "RANGE"}


def make_table(cloud: EmbeddedOrganisation, access_key_id: str | None = None) -> Any:
    """Make it in the account of this key, by default the management account; a client of it."""
    session = boto3.Session(access_key_id or cloud.access_key_id, "x", region_name="us-east-1")
    client = session.client("dynamodb", endpoint_url=cloud.endpoint_url)
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in KEYS],
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in KEYS.items()],
    )
    return client
