"""Sink in a Redis or Valkey server: one hash per bucket, one string per pointer, no key with a time to live."""

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from recsys_assets.errors import ConfigurationError, ConflictError, RecsysAssetsError, StoreUnavailableError

_CONNECT_SECONDS: Final = 5.0
_REQUEST_SECONDS: Final = 20.0
_AT_ONCE: Final = 500  # buckets that one request deletes
# A swap that is resent after a lost reply finds its own document and succeeds.
_SWAP: Final = """
local found = redis.call('GET', KEYS[1]) or ''
if found == ARGV[1] then return 1 end
if found ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""
_REFUSED = (AuthenticationError, AuthorizationError, NoPermissionError)
_BUSY = (BusyLoadingError, ReadOnlyError)


class RedisSink:
    """Buckets as hashes: a row is a field, so a lookup is one HGET, and one UNLINK removes a bucket.

    Every command names one key, as a cluster requires. No key has a time to live, so that the live release is served
    for as long as the pipeline does not run.
    """

    def __init__(self, url: str, *, what: str, cluster: bool = False) -> None:
        """Make the client. It does not connect yet. `what` names the sink in messages, which never contain the URL."""
        self._label = what
        self._may_evict: bool | None = None
        options: dict[str, Any] = {"socket_connect_timeout": _CONNECT_SECONDS, "socket_timeout": _REQUEST_SECONDS}
        try:
            with self._translated():
                opener: Any = redis.RedisCluster if cluster else redis.Redis
                self._client: Any = opener.from_url(url, **options)
        except ValueError as error:
            raise ConfigurationError(
                f"{what}.url is not the address of a Redis server: expected redis://, rediss:// or unix://, such as "
                "rediss://user:password@host:6379/0"
            ) from error

    def read_pointer(self, key: str) -> bytes | None:
        """Return the document at a key, or None."""
        with self._translated():
            return self._client.get(key)

    def swap_pointer(self, key: str, data: bytes, *, expected: bytes | None) -> None:
        """Replace the document that was read, by a script that the server runs as one step.

        Raises `ConflictError` if it has changed.
        """
        with self._translated():
            swapped: int = self._client.eval(_SWAP, 1, key, data, expected or b"")
        if not swapped:
            raise ConflictError(f"{self._label}: {key} was changed concurrently: read it again")

    def read_bucket(self, name: str) -> dict[str, bytes]:
        """Return all rows of a bucket."""
        with self._translated():
            bucket: dict[bytes, bytes] = self._client.hgetall(name)
        return {key.decode(errors="replace"): value for key, value in bucket.items()}

    def change_bucket(self, name: str, *, put: Mapping[str, bytes], remove: Collection[str]) -> None:
        """Write rows of a bucket and remove others.

        Raises `ConfigurationError` if the server may evict keys when its memory is full.
        """
        with self._translated():
            self._refuse_eviction()
            if put:
                self._client.hset(name, mapping=dict(put))
            if remove:
                self._client.hdel(name, *remove)

    def delete_buckets(self, names: Sequence[str]) -> None:
        """Remove buckets. The server frees their memory after its reply."""
        for start in range(0, len(names), _AT_ONCE):
            with self._translated():
                pipeline = self._client.pipeline(transaction=False)
                for name in names[start : start + _AT_ONCE]:
                    pipeline.unlink(name)
                pipeline.execute()

    def _refuse_eviction(self) -> None:
        """Raise `ConfigurationError` if the server may evict keys without a time to live: live rows would vanish.

        A server that does not report its policy is trusted.
        """
        if self._may_evict is None:
            try:
                info: Mapping[str, Any] = self._client.info("memory")
            except ResponseError:
                info = {}
            is_cluster = bool(info) and all(isinstance(node, dict) for node in info.values())
            nodes = list(info.values()) if is_cluster else [info]
            self._may_evict = any(
                int(node.get("maxmemory", 0)) > 0 and str(node.get("maxmemory_policy", "")).startswith("allkeys")
                for node in nodes
            )
        if self._may_evict:
            raise ConfigurationError(
                f"{self._label}: the server evicts any key when its memory is full (maxmemory-policy allkeys-...), so "
                "live lists would vanish: set maxmemory-policy to noeviction or volatile-lru, or use another server"
            )

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> RecsysAssetsError:
        """Return the package's error for an error of redis-py, whose texts name host and port, never a password."""
        if isinstance(error, _REFUSED):
            return ConfigurationError(f"{self._label}: {error}: check user, password and permissions in its url")
        if isinstance(error, OutOfMemoryError):
            return StoreUnavailableError(
                f"{self._label}: the server's memory is full; it still serves the same rows. Raise maxmemory, or lower "
                f"{self._label}.keep, grace_hours or kinds; then run `recsys-assets sync` again"
            )
        if isinstance(error, (MovedError, RedisClusterException)):
            return ConfigurationError(
                f"{self._label}: {error}: set {self._label}.cluster = true for a cluster, false for a single server"
            )
        if isinstance(error, ResponseError) and not isinstance(error, _BUSY):
            return ConfigurationError(
                f"{self._label}: {error}: does something else use the prefix, or is it not Redis?"
            )
        return StoreUnavailableError(
            f"{self._label}: {error}: it still serves the same rows; run `recsys-assets sync` again"
        )
