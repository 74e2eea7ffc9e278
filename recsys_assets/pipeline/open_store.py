"""The store that a configuration names, opened as it asks."""

from collections.abc import Callable, Sequence
from typing import Any

from recsys_assets.settings.settings import Settings
from recsys_assets.storage.open import open_store
from recsys_assets.storage.store import ObjectStore


def open_configured_store(settings: Settings) -> ObjectStore:
    """Return the store below `storage.root`; `ConfigurationError` if it must exist and was not begun."""
    return open_signing_store(
        settings.resolve(settings.storage.root),
        must_exist=settings.storage.must_exist,
        keys=settings.signing_keys,
        valid_days=settings.signing.valid_days,
    )


def open_signing_store(
    root: str,
    *,
    must_exist: bool,
    keys: Sequence[str],
    valid_days: float,
    s3_client: Callable[[], Any] | None = None,
) -> ObjectStore:
    """Return the store below `root`, in which the keys at these places sign every pointer; as it is without any."""
    store = open_store(root, s3_client=s3_client, must_exist=must_exist)
    if not keys:
        return store
    from recsys_assets.release.signatures import read_signer  # noqa: PLC0415 - an extra, and off by default
    from recsys_assets.release.signed_stores import SigningStore  # noqa: PLC0415

    return SigningStore(store, read_signer(keys, valid_days=valid_days))
