"""Day context: the values that building, judging and shipping one day of one target share."""

from collections.abc import Callable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from recsys_assets.identity import Target, utc_now
from recsys_assets.release.documents import StagedArtifact
from recsys_assets.release.forgotten_users import ForgottenUsers
from recsys_assets.release.layout import canonical_prefix, canonical_record_key
from recsys_assets.release.staged import put_staged, stage_in_run
from recsys_assets.retry import Pause, wait
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.open import open_store
from recsys_assets.storage.run_cache import RunCache
from recsys_assets.storage.store import ObjectStore

if TYPE_CHECKING:
    from recsys_assets.engines.registry import EngineRegistry  # imports Narwhals

COMMAND = "by command"  # used as the run id of a manual action


class DayContext(msgspec.Struct, frozen=True):
    """One day of one target in one run: store, settings, target row, day, run, clock and engines.

    With a `RunCache` as `store`, each object that the run reads is fetched once, and an object that it wrote is not
    fetched at all. With any other store, every read is a request.
    """

    store: ObjectStore
    settings: Settings
    row: TargetSettings
    day: date
    run_id: str = COMMAND
    now: Callable[[], datetime] = utc_now
    engines: "EngineRegistry | None" = None  # None: opened as configured
    forgotten: ForgottenUsers | None = None  # The forgotten users as the run read them last. None: not read yet.
    pause: Pause = wait  # between attempts after a write conflict
    is_whole_run: bool = False  # the run also ships, and itself withdraws artifacts with forgotten users

    @property
    def target(self) -> Target:
        """The target of the row."""
        return self.row.target

    @property
    def origin(self) -> ObjectStore:
        """The store without any cache: for verification, and for objects that other writers may have changed."""
        return self.store.origin if isinstance(self.store, RunCache) else self.store

    def is_new(self, key: str) -> bool:
        """Return whether this run created an object: then nothing was built from it before."""
        return isinstance(self.store, RunCache) and self.store.is_new(key)

    def stage(self, staged: StagedArtifact) -> None:
        """Stage an artifact: at once, or, in a run that also ships, in one write with the run's other artifacts."""
        if self.is_whole_run and isinstance(self.store, RunCache):
            is_first = self.is_new(canonical_record_key(self.target, self.day))
            stage_in_run(self.store, self.target, self.day, staged, is_first=is_first)
        else:
            put_staged(self.store, self.target, self.day, staged)

    def read_again(self) -> "DayContext":
        """Return a context with an empty cache that keeps only the objects that the run has still to write."""
        store = self.store.read_again() if isinstance(self.store, RunCache) else RunCache(self.store)
        return replace(self, store=store, forgotten=None)

    def staged_evidence(self) -> ObjectStore:
        """Return the store to read a candidate from.

        Cached canonical days are dropped, because an erasure may change them.
        """
        if isinstance(self.store, RunCache):
            self.store.drop_below(canonical_prefix(self.target))
        return self.store

    def on(self, day: date) -> "DayContext":
        """Return the context of another day of the same target and run."""
        return replace(self, day=day)


def open_configured_store(settings: Settings, *, s3_client: Callable[[], Any] | None = None) -> ObjectStore:
    """Return the store at `storage.root`. If signing keys are configured, they sign every pointer.

    `s3_client` makes the boto3 client. Raises `ConfigurationError` if the store must exist and does not.
    """
    root = settings.resolve(settings.storage.root)
    storage = settings.storage
    store = open_store(root, s3_client=s3_client, must_exist=storage.must_exist, public_root=storage.public_root)
    if not settings.signing_keys:
        return store
    from recsys_assets.release.signatures import read_signer  # noqa: PLC0415 - an optional dependency, off by default
    from recsys_assets.release.signed_stores import SigningStore  # noqa: PLC0415

    return SigningStore(store, read_signer(settings.signing_keys, valid_days=settings.signing.valid_days))
