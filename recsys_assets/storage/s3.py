"""Store in a bucket of S3 or a compatible server: conditional requests, and unknown outcomes that are read back."""

from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from secrets import token_hex
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from urllib3.exceptions import HTTPError

from recsys_assets.clouds.s3 import S3, list_objects
from recsys_assets.errors import UnsafeStoreError
from recsys_assets.retry import Pause, wait
from recsys_assets.storage.bucket import BucketStore, Condition, read_body
from recsys_assets.storage.store import Listed, StoredObject


class S3Store(BucketStore):
    """Objects in a bucket of S3 or a compatible server, accessed through the given boto3 client.

    Conditional writes are single `PutObject` requests, never multipart, with `If-Match` or `If-None-Match`.
    """

    cloud = S3

    def __init__(
        self, client: Any, *, bucket: str, prefix: str = "", public_root: str | None = None, pause: Pause = wait
    ) -> None:
        super().__init__(bucket=bucket, prefix=prefix, public_root=public_root, pause=pause)
        self._client = client
        self._deletes_conditionally = False
        for call in ("PutObject", "DeleteObject"):
            event = f"needs-retry.s3.{call}"
            client.meta.events.register(event, _leave_conditions_alone, unique_id=f"recsys-assets-{call}")

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object that was read with etag `expected`, once the server is known to honour the condition."""
        self._require_conditional_deletes()
        super().delete_unchanged(key, expected=expected)

    def expiring_rules(self) -> tuple[str, ...]:
        """Return the names of the bucket's lifecycle rules that delete objects below the prefix by age."""
        try:
            lifecycle = self._client.get_bucket_lifecycle_configuration(Bucket=self._bucket)
        except S3.errors:
            return ()  # no rules, or this user may not see them, or the server does not support them
        return tuple(
            str(rule.get("ID", "without a name"))
            for rule in lifecycle.get("Rules", ())
            if rule.get("Status") == "Enabled" and "Expiration" in rule and _touches(rule, self._prefix)
        )

    def _require_conditional_deletes(self) -> None:
        """Raise `UnsafeStoreError` unless the server refuses to delete a probe object under a wrong condition."""
        if self._deletes_conditionally:
            return
        key = f"probe/{token_hex(16)}.json"
        self.create(key, b"probe")
        try:
            with S3.translated(key), suppress(ClientError):
                self._client.delete_object(**self._at(self._name(key)), IfMatch='"0"')
            if self.stat(key) is None:
                raise UnsafeStoreError(
                    f"{self.root_uri}: the server ignores the condition (If-Match) of a delete, so a concurrent change "
                    "of the pointer could be lost: nothing was removed; use a server that honours it"
                )
        finally:
            self.delete(key)
        self._deletes_conditionally = True

    def _fetch(self, name: str, *, max_bytes: int, unless: str | None = None) -> StoredObject:
        condition = {} if unless is None else {"IfNoneMatch": unless}
        reply = self._client.get_object(**self._at(name), **condition)
        with closing(reply["Body"]) as body:  # once read to the end, its connection is already free
            size = int(reply["ContentLength"])
            data = read_body(body.read, size, key=name, max_bytes=max_bytes, broken=(BotoCoreError, HTTPError))
        return StoredObject(data, str(reply["ETag"]))

    def _head(self, name: str) -> Listed:
        head = self._client.head_object(**self._at(name))
        return Listed(name, int(head["ContentLength"]), head["LastModified"].timestamp())

    def _send(self, name: str, data: bytes, condition: Condition | None) -> str:
        headers: dict[str, str] = {}
        if condition is not None:
            headers = {"IfNoneMatch": "*"} if condition.etag is None else {"IfMatch": condition.etag}
        return str(self._client.put_object(**self._at(name), Body=data, **headers)["ETag"])

    def _remove(self, name: str, condition: Condition | None) -> None:
        headers = {"IfMatch": condition.etag} if condition else {}
        self._client.delete_object(**self._at(name), **headers)

    def _entries(self, prefix: str) -> Iterator[Listed]:
        for item in list_objects(self._client, bucket=self._bucket, prefix=prefix):
            yield Listed(item["Key"], int(item["Size"]), item["LastModified"].timestamp())

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": name}


def _leave_conditions_alone(request_dict: Mapping[str, Any], **_: Any) -> bool | None:
    """Keep the SDK from retrying a conditional write: if the first was applied, the second would fail on it.

    None leaves the decision about unconditional writes to the SDK.
    """
    headers = {str(name).lower() for name in request_dict["headers"]}
    return False if headers & {"if-match", "if-none-match"} else None


def _touches(rule: Mapping[str, Any], prefix: str) -> bool:
    """Return whether a lifecycle rule may apply to objects below a prefix. Its filters by tag and size are ignored."""
    conditions = rule.get("Filter") or {}
    under = str(conditions.get("Prefix") or conditions.get("And", {}).get("Prefix") or rule.get("Prefix") or "")
    return under.startswith(prefix) or prefix.startswith(under)
