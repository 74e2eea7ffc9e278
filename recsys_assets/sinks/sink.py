"""Interface of a sink: buckets of rows that services look up, and one pointer per target that refers to them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol
from urllib.parse import quote

from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import Target
from recsys_assets.settings.outputs import SinkSettings
from recsys_assets.settings.settings import Settings

REDIS: Final = "redis"


class Sink(Protocol):
    """A database that services read, as the few operations that a sync needs. Every one may be repeated.

    Errors of every operation: `StoreUnavailableError` (no reply, and a write may have been applied),
    `ConfigurationError` (address, credentials, permission, table), `InputError` (a row that the database cannot hold).
    """

    def read_pointer(self, key: str) -> bytes | None:
        """Return the last acknowledged document at a key, or None if there is none."""
        ...

    def swap_pointer(self, key: str, data: bytes, *, expected: bytes | None) -> None:
        """Replace the document that was read (None: there was none) atomically.

        Raises `ConflictError` if it was changed since. After a lost reply, finding our own bytes means success.
        """
        ...

    def read_bucket(self, name: str) -> dict[str, bytes]:
        """Return the last acknowledged rows of a bucket by key, or an empty dict if the bucket does not exist."""
        ...

    def change_bucket(self, name: str, *, put: Mapping[str, bytes], remove: Collection[str]) -> None:
        """Write rows into a bucket, and remove others from it."""
        ...

    def delete_buckets(self, names: Sequence[str]) -> None:
        """Remove buckets with all their rows. Absent buckets are not an error."""
        ...


def pointer_key(prefix: str, target: Target) -> str:
    """Return the key of the document that services read first."""
    return f"{_of_target(prefix, target)}:current"


def space_name(prefix: str, target: Target, kind: str, version: str, revision: int) -> str:
    """Return the name of the space of a version's rows, never used again: a late delete cannot hit newer rows."""
    return f"{_of_target(prefix, target)}:{quote(kind, safe='')}:{version[:16]}.{revision}"


def bucket_name(space: str, number: int) -> str:
    """Return the name of one bucket of a space."""
    return f"{space}:{number}"


def _of_target(prefix: str, target: Target) -> str:
    return f"{prefix}:{quote(target.tenant, safe='')}:{quote(target.surface, safe='')}"


def open_sink(settings: Settings, name: str, chosen: SinkSettings) -> Sink:
    """Return a configured sink. Raises `ConfigurationError` with the extra to install if its library is missing."""
    where = f"sinks.{name}"
    try:
        if chosen.type == REDIS:
            from recsys_assets.sinks.redis import RedisSink  # noqa: PLC0415 - an extra

            return RedisSink(settings.text_at(chosen.url or "", what=where), what=where, cluster=chosen.cluster)
        from recsys_assets.sinks.dynamodb import DynamoSink  # noqa: PLC0415 - an extra

        return DynamoSink(chosen.table or "", region=chosen.region, what=where)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{where} needs the library {error.name}, which is not installed: "
            f'pip install "recsys-assets[{chosen.type}]"'
        ) from error
