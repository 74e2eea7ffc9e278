"""The store that a configuration names, opened as it asks."""

from collections.abc import Callable
from typing import Any

from recsys_assets.settings.settings import Settings
from recsys_assets.storage.open import open_store
from recsys_assets.storage.store import ObjectStore


def open_configured_store(settings: Settings, *, s3_client: Callable[[], Any] | None = None) -> ObjectStore:
    """Return the store below `storage.root`, in which the configured keys sign every pointer.

    `s3_client` makes the boto3 client. Raises `ConfigurationError` if the store must exist and was not begun.
    """
    root = settings.resolve(settings.storage.root)
    chosen = settings.storage
    store = open_store(root, s3_client=s3_client, must_exist=chosen.must_exist, public_root=chosen.public_root)
    if not settings.signing_keys:
        return store
    from recsys_assets.release.signatures import read_signer  # noqa: PLC0415 - an extra, and off by default
    from recsys_assets.release.signed_stores import SigningStore  # noqa: PLC0415

    return SigningStore(store, read_signer(settings.signing_keys, valid_days=settings.signing.valid_days))
