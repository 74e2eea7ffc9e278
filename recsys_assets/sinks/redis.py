"""A Redis or Valkey server as a sink: a hash per bucket, a string per pointer; nothing in it ends by itself."""

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
_SECONDS: Final = 20.0
_AT_ONCE: Final = 500  # buckets that one request deletes
# Who sent it twice, because a reply was lost, finds the document to be its own.
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
    """Buckets as hashes: a row is a field, so a lookup is one HGET, and a bucket goes by one UNLINK.

    Every command names one key, so that a cluster takes them too. No key has a time to live: a pipeline that stands
    still never takes from services what is live.
    """

    def __init__(self, url: str, *, what: str, cluster: bool = False) -> None:
        """Keep the address; nothing is connected yet. `what` names the sink in messages, which never hold the URL."""
        self._what = what
        self._may_lose: bool | None = None
        options: dict[str, Any] = {"socket_connect_timeout": _CONNECT_SECONDS, "socket_timeout": _SECONDS}
        try:
            with self._translated():
                opener: Any = redis.RedisCluster if cluster else redis.Redis
                self._client: Any = opener.from_url(url, **options)
        except ValueError as error:
            raise ConfigurationError(
                f"{what}.url is no address of a Redis server: expected redis://, rediss:// or unix://, like "
                "rediss://user:password@host:6379/0"
            ) from error

    def read_pointer(self, key: str) -> bytes | None:
        """Return the document at a key, or None."""
        with self._translated():
            return self._client.get(key)

    def swap_pointer(self, key: str, data: bytes, *, expected: bytes | None) -> None:
        """Replace the document that was read, by a script that the server runs as one step."""
        with self._translated():
            swapped: int = self._client.eval(_SWAP, 1, key, data, expected or b"")
        if not swapped:
            raise ConflictError(f"{self._what}: {key} was changed by somebody else: read it again")

    def read_bucket(self, name: str) -> dict[str, bytes]:
        """Return all rows of a bucket."""
        with self._translated():
            found: dict[bytes, bytes] = self._client.hgetall(name)
        return {key.decode(errors="replace"): value for key, value in found.items()}

    def change_bucket(self, name: str, *, put: Mapping[str, bytes], remove: Collection[str]) -> None:
        """Write rows of a bucket and remove others; refused by a server that may drop keys when its memory is full."""
        with self._translated():
            self._refuse_eviction()
            if put:
                self._client.hset(name, mapping=dict(put))
            if remove:
                self._client.hdel(name, *remove)

    def delete_buckets(self, names: Sequence[str]) -> None:
        """Remove buckets; the server frees their memory behind the answer."""
        for start in range(0, len(names), _AT_ONCE):
            with self._translated():
                pipeline = self._client.pipeline(transaction=False)
                for name in names[start : start + _AT_ONCE]:
                    pipeline.unlink(name)
                pipeline.execute()

    def _refuse_eviction(self) -> None:
        """Raise `ConfigurationError` if the server may drop keys without a time to live: what is live would get holes.

        A server that does not say is believed.
        """
        if self._may_lose is None:
            try:
                answer: Mapping[str, Any] = self._client.info("memory")
            except ResponseError:
                answer = {}
            nodes = (
                list(answer.values()) if answer and all(isinstance(one, dict) for one in answer.values()) else [answer]
            )
            self._may_lose = any(
                int(one.get("maxmemory", 0)) > 0 and str(one.get("maxmemory_policy", "")).startswith("allkeys")
                for one in nodes
            )
        if self._may_lose:
            raise ConfigurationError(
                f"{self._what}: the server drops any key when its memory is full (maxmemory-policy allkeys-...), so "
                "live lists would vanish: set maxmemory-policy to noeviction or volatile-lru, or name another server"
            )

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> RecsysAssetsError:
        """Return what an error means; redis-py's texts name host and port, never a password."""
        if isinstance(error, _REFUSED):
            return ConfigurationError(f"{self._what}: {error}: check user, password and permissions in its url")
        if isinstance(error, OutOfMemoryError):
            return StoreUnavailableError(
                f"{self._what}: the server's memory is full; what it serves stays: give it more (maxmemory), or lower "
                f"{self._what}.keep, grace_hours or kinds; then `recsys-assets sync` goes on"
            )
        if isinstance(error, (MovedError, RedisClusterException)):
            return ConfigurationError(
                f"{self._what}: {error}: set {self._what}.cluster = true for a cluster, false for a single server"
            )
        if isinstance(error, ResponseError) and not isinstance(error, _BUSY):
            return ConfigurationError(f"{self._what}: {error}: does something else use the prefix, or is it no Redis?")
        return StoreUnavailableError(f"{self._what}: {error}: what it serves stays; `recsys-assets sync` goes on")
