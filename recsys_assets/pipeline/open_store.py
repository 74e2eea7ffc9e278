"""The store that a configuration names, opened as it asks."""

from recsys_assets.settings.settings import Settings
from recsys_assets.storage.open import open_store
from recsys_assets.storage.store import ObjectStore


def open_configured_store(settings: Settings) -> ObjectStore:
    """Return the store below `storage.root`; `ConfigurationError` if it must exist and was not begun."""
    return open_store(settings.resolve(settings.storage.root), must_exist=settings.storage.must_exist)
