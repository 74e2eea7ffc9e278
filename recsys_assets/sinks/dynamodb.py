"""Sink in a DynamoDB-compatible table: one partition per bucket, one item per row, one item for the pointer."""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, PartialCredentialsError

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    InputError,
    RecsysAssetsError,
    StoreUnavailableError,
)
from recsys_assets.retry import Pause, attempts, wait
from recsys_assets.storage.store import AT_ONCE, fan_out

_WRITES: Final = 25  # the most that one request takes
_TRIES: Final = 12
_MAX_VALUE_BYTES: Final = 390_000  # an item has at most 400 KB, its keys and attribute names included
_MAX_KEY_BYTES: Final = 1024
_POINTER: Final = "pointer"  # the sort key of the one item below a pointer's key
_RETRIED: Final = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionConflictException",
    }
)
_WRONG: Final = (NoCredentialsError, PartialCredentialsError, NoRegionError)


class DynamoSink:
    """Rows as items: the bucket's name is the partition key `pk`, and the row's key the sort key `sk`.

    `value` is the row's JSON. A lookup is one GetItem, and all rows of a bucket are one Query. Reads are strongly
    consistent. Credentials, region and endpoint are found as AWS's tools find them.
    """

    def __init__(self, table: str, *, region: str | None, what: str, pause: Pause = wait) -> None:
        """Make the client. No request is sent yet. `what` names the sink in messages."""
        self._table, self._label, self._pause = table, what, pause
        config = Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"mode": "standard", "max_attempts": 6},
            max_pool_connections=AT_ONCE,
        )
        with self._translated():
            self._client: Any = boto3.session.Session().client("dynamodb", region_name=region, config=config)

    def read_pointer(self, key: str) -> bytes | None:
        """Return the document of the pointer's item, or None."""
        with self._translated():
            item = self._client.get_item(TableName=self._table, Key=_key(key, _POINTER), ConsistentRead=True)
        return item["Item"]["value"]["S"].encode() if "Item" in item else None

    def swap_pointer(self, key: str, data: bytes, *, expected: bytes | None) -> None:
        """Replace the document that was read, on the condition that it is still stored."""
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if expected is not None:
            condition = {
                "ConditionExpression": "#value = :before",
                "ExpressionAttributeNames": {"#value": "value"},
                "ExpressionAttributeValues": {":before": {"S": expected.decode()}},
            }
        try:
            with self._translated():
                self._client.put_item(TableName=self._table, Item=self._item(key, _POINTER, data), **condition)
        except ConflictError:
            if self.read_pointer(key) != data:  # ours: the first reply was lost, and boto3's retry failed on it
                raise

    def read_bucket(self, name: str) -> dict[str, bytes]:
        """Return all rows of a bucket."""
        return {item["sk"]["S"]: item["value"]["S"].encode() for item in self._query(name)}

    def change_bucket(self, name: str, *, put: Mapping[str, bytes], remove: Collection[str]) -> None:
        """Write rows of a bucket and remove others, in batches as large as a request allows."""
        requests = [{"PutRequest": {"Item": self._item(name, key, value)}} for key, value in put.items()]
        self._write([*requests, *({"DeleteRequest": {"Key": _key(name, key)}} for key in remove)])

    def delete_buckets(self, names: Sequence[str]) -> None:
        """Remove all items of buckets, several buckets in parallel."""

        def delete(name: str) -> None:
            keys = [item["sk"]["S"] for item in self._query(name, ProjectionExpression="sk")]
            self._write([{"DeleteRequest": {"Key": _key(name, key)}} for key in keys])

        fan_out(delete, names)

    def _query(self, name: str, **more: Any) -> Iterator[Mapping[str, Any]]:
        request: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": "pk = :bucket",
            "ExpressionAttributeValues": {":bucket": {"S": name}},
            **more,
        }
        while True:
            with self._translated():
                page = self._client.query(**request)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            request["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _write(self, requests: Sequence[Mapping[str, Any]]) -> None:
        """Send writes. Those that a throttled table did not process are sent again, with growing pauses."""
        for start in range(0, len(requests), _WRITES):
            pending: Sequence[Mapping[str, Any]] = requests[start : start + _WRITES]
            for _ in attempts(_TRIES, first_seconds=0.05, longest_seconds=5, pause=self._pause):
                with self._translated():
                    response = self._client.batch_write_item(RequestItems={self._table: list(pending)})
                pending = response.get("UnprocessedItems", {}).get(self._table, [])
                if not pending:
                    break
            else:
                raise StoreUnavailableError(
                    f"{self._label}: the table throttles writes. Raise its write capacity; it still serves the "
                    "same rows"
                )

    def _item(self, bucket: str, key: str, value: bytes) -> dict[str, Any]:
        if len(value) > _MAX_VALUE_BYTES or not 0 < len(key.encode()) <= _MAX_KEY_BYTES:
            raise InputError(
                f"{self._label}: row {key[:80]!r} of {bucket} has {len(value):,} bytes and a key of "
                f"{len(key.encode()):,}, expected at most {_MAX_VALUE_BYTES:,} and 1 to {_MAX_KEY_BYTES:,}. Lower the "
                f"kind's limit (max_items_per_user, max_neighbors), or exclude the kind by {self._label}.kinds"
            )
        return {**_key(bucket, key), "value": {"S": value.decode()}}

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> RecsysAssetsError:
        if isinstance(error, _WRONG):
            return ConfigurationError(f"{self._label}: {error}: set credentials and region as for any AWS tool")
        if not isinstance(error, ClientError):
            return StoreUnavailableError(
                f"{self._label}: {error}: it still serves the same rows; run `recsys-assets sync` again"
            )
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "ConditionalCheckFailedException":
            return ConflictError(f"{self._label}: the pointer was changed concurrently: read it again")
        if code == "ResourceNotFoundException":
            return ConfigurationError(
                f"{self._label}: table {self._table!r} does not exist: {create_command(self._table)}"
            )
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if code in _RETRIED or status >= 500:  # noqa: PLR2004 - a server error
            return StoreUnavailableError(
                f"{self._label}: {error}: it still serves the same rows; run `recsys-assets sync` again"
            )
        return ConfigurationError(f"{self._label}: {error}: check the table's keys, credentials and permissions")


def create_command(table: str) -> str:
    """Return the command that creates a table with the keys of this sink."""
    return (
        f"create it by `aws dynamodb create-table --table-name {table} --billing-mode PAY_PER_REQUEST "
        "--attribute-definitions AttributeName=pk,AttributeType=S AttributeName=sk,AttributeType=S "
        "--key-schema AttributeName=pk,KeyType=HASH AttributeName=sk,KeyType=RANGE`"
    )


def _key(bucket: str, key: str) -> dict[str, Any]:
    return {"pk": {"S": bucket}, "sk": {"S": key}}
