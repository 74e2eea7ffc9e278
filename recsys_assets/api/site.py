"""What the read API works on: a store, the configuration over it, the time, and artifacts kept at hand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from recsys_assets.api.shelf import Shelf
from recsys_assets.api.turnstile import Turnstile
from recsys_assets.config.settings import Settings
from recsys_assets.errors import UnknownAddressError
from recsys_assets.identity import Target, check_segment
from recsys_assets.serving.lookups import FORMS
from recsys_assets.storage.store import ObjectStore


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that an answer is made from; nothing in it can write."""

    store: ObjectStore
    settings: Settings
    now: Callable[[], datetime] = _utc_now
    shelf: Shelf = field(default_factory=Shelf)
    heavy: Turnstile = field(default_factory=Turnstile)

    @property
    def targets(self) -> tuple[Target, ...]:
        """The configured targets, in the configuration's order."""
        return tuple(row.target for row in self.settings.targets)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of artifact that there may be: built, imported, or such that can be looked up in."""
        return tuple(dict.fromkeys((*self.settings.artifacts.kinds, *self.settings.imports, *FORMS)))

    def find(self, tenant: str, surface: str) -> Target:
        """Return the configured target of these names.

        Raises `UnsafeNameError` for a name that no target can have, `UnknownAddressError` for one that is not
        configured: both before the store is asked.
        """
        check_segment(tenant, what="tenant")
        check_segment(surface, what="surface")
        for target in self.targets:
            if (target.tenant, target.surface) == (tenant, surface):
                return target
        raise UnknownAddressError(f"there is no target {tenant}/{surface}: /v1/targets lists those that there are")
