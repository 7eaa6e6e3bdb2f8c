"""A journal's rows in DynamoDB: put once and never again, by whoever holds the lease.

Items of one journal share the hash key `journal`; `entry` is the range key: `lease`, `row#000000000001`, and parts of
what is too long for an item (DynamoDB: 400 KB). A row is put in a transaction that holds only if no such row is there
and the lease is still ours, so two writers can never both go on (TransactWriteItems, condition expressions).
"""

import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure

JOURNAL, ENTRY = "journal", "entry"
LEASE = "lease"

PART_BYTES = 300_000
"""Bytes of what a row tells, compressed, in one item."""

FAILED_CONDITION = frozenset({"ConditionalCheckFailedException", "TransactionCanceledException"})

TAKE = f"attribute_not_exists({ENTRY}) OR expires_at < :now OR holder = :holder"


@dataclass(frozen=True, slots=True)
class Lease:
    """Who may write, since when and until when; `fence` rises each time somebody else takes it."""

    holder: str
    who: str
    fence: int
    since: str
    expires_at: float
    """Seconds since the epoch."""


class HeldError(Exception):
    """Somebody else holds the lease, or took it over; None where nobody says who."""

    def __init__(self, lease: Lease | None) -> None:
        """Whose it is."""
        super().__init__(lease)
        self.lease = lease


@dataclass(frozen=True, slots=True)
class JournalTable:
    """One journal in a table; every method raises AwsFailure where DynamoDB refuses or does not answer."""

    caller: Caller
    table: str
    name: str

    async def lease(self) -> Lease | None:
        """The lease as it is; None where nobody ever took one. One that was given back is over."""
        told = await self._call("get_item", Key=self._key(LEASE), ConsistentRead=True)
        item = told.get("Item")
        return _lease(item) if item else None

    async def take(self, holder: str, who: str, now: datetime, seconds: float) -> Lease:
        """Take the lease, or go on with our own; raises HeldError while it is another's."""
        before = await self.lease()
        is_ours = before is not None and before.holder == holder
        fence = before.fence + (not is_ours) if before else 1
        since = before.since if is_ours and before else now.isoformat()
        lease = Lease(holder, who, fence, since, now.timestamp() + seconds)
        item = self._key(LEASE) | {
            "holder": {"S": holder},
            "who": {"S": who},
            "fence": {"N": str(fence)},
            "since": {"S": since},
            "expires_at": {"N": repr(lease.expires_at)},
        }
        values = {":now": {"N": repr(now.timestamp())}, ":holder": {"S": holder}}
        try:
            await self._call("put_item", Item=item, ConditionExpression=TAKE, ExpressionAttributeValues=values)
        except AwsFailure as failure:
            there = await self.lease() if failure.code in FAILED_CONDITION or failure.may_be_done else None
            if failure.code in FAILED_CONDITION:
                raise HeldError(there) from failure
            if there != lease:
                raise
        return lease

    async def give_back(self, lease: Lease) -> None:
        """End the lease, if it is still ours; the fence stays, so that it only rises."""
        with suppress(AwsFailure):  # it ends by itself
            await self._call(
                "update_item",
                Key=self._key(LEASE),
                UpdateExpression="SET expires_at = :over",
                ConditionExpression="holder = :holder AND fence = :fence",
                ExpressionAttributeValues={":over": {"N": "0"}, **_held(lease)},
            )

    async def put(self, number: int, fields: Mapping[str, str], lease: Lease) -> None:
        """Keep a row for good; what it tells, as `told`, may be of any length.

        Raises:
            HeldError: another row has this number, or the lease is not ours any more.
        """
        row_hash, told = fields["hash"], zlib.compress(fields["told"].encode(), 9)
        parts = [told[at : at + PART_BYTES] for at in range(0, len(told), PART_BYTES)]
        for place, part in enumerate(parts[1:], 2):
            item = self._key(f"part#{row_hash}#{place:04}") | {"told": {"B": part}}
            await self._call("put_item", Item=item)
        texts = {name: {"S": text} for name, text in fields.items() if name != "told"}
        item = self._key(_row(number)) | texts | {"told": {"B": parts[0]}, "parts": {"N": str(len(parts))}}
        put = {"TableName": self.table, "Item": item, "ConditionExpression": f"attribute_not_exists({ENTRY})"}
        check = {
            "TableName": self.table,
            "Key": self._key(LEASE),
            "ConditionExpression": "holder = :holder AND fence = :fence",
            "ExpressionAttributeValues": _held(lease),
        }
        try:
            await self.caller.call(
                "dynamodb",
                "transact_write_items",
                TransactItems=[{"Put": put}, {"ConditionCheck": check}],
                ClientRequestToken=row_hash[:36],
            )
        except AwsFailure as failure:
            if await self._has(number, row_hash):  # the answer was lost, or another try came second
                return
            if failure.code in FAILED_CONDITION and "ConditionalCheckFailed" in failure.message:
                raise HeldError(await self.lease()) from failure
            raise

    async def _has(self, number: int, row_hash: str) -> bool:
        told = await self._call("get_item", Key=self._key(_row(number)), ConsistentRead=True)
        return bool(told.get("Item", {}).get("hash") == {"S": row_hash})

    async def rows(self) -> AsyncIterator[Mapping[str, str]]:
        """Every row in order, with what it tells put together again."""
        start: dict[str, Any] = {}
        while True:
            page = await self._call(
                "query",
                ConsistentRead=True,
                KeyConditionExpression=f"{JOURNAL} = :journal AND begins_with({ENTRY}, :rows)",
                ExpressionAttributeValues={":journal": {"S": self.name}, ":rows": {"S": "row#"}},
                **start,
            )
            for item in page.get("Items", ()):
                told = bytes(item["told"]["B"])
                for place in range(2, int(item["parts"]["N"]) + 1):
                    told += await self._part(f"part#{item['hash']['S']}#{place:04}")
                texts = {name: value["S"] for name, value in item.items() if "S" in value}
                yield texts | {"told": zlib.decompress(told).decode()}
            if not page.get("LastEvaluatedKey"):
                return
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    async def _part(self, entry: str) -> bytes:
        told = await self._call("get_item", Key=self._key(entry), ConsistentRead=True)
        return bytes(told.get("Item", {}).get("told", {}).get("B", b""))

    def _key(self, entry: str) -> dict[str, Any]:
        return {JOURNAL: {"S": self.name}, ENTRY: {"S": entry}}

    async def _call(self, method: str, **params: Any) -> Mapping[str, Any]:
        return await self.caller.call("dynamodb", method, TableName=self.table, **params)


def _row(number: int) -> str:
    return f"row#{number:012}"


def _held(lease: Lease) -> dict[str, Any]:
    return {":holder": {"S": lease.holder}, ":fence": {"N": str(lease.fence)}}


def _lease(item: Mapping[str, Any]) -> Lease:
    holder, who, since = (item[name]["S"] for name in ("holder", "who", "since"))
    return Lease(holder, who, int(item["fence"]["N"]), since, float(item["expires_at"]["N"]))
