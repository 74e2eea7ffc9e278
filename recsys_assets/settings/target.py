"""Settings of one `[[targets]]` entry: its identity and its overrides."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from recsys_assets.identity import Target, check_segment, is_slug
from recsys_assets.settings.artifacts import EngineName
from recsys_assets.settings.model import ClosedModel, Table


class TargetSettings(ClosedModel):
    """One target and its overrides of other tables."""

    tenant: str
    surface: str
    segment: str | None = Field(default=None, description="label written into the artifacts")
    slug: str | None = Field(
        default=None, description="name in Dagster; required if tenant or surface does not match ^[A-Za-z0-9_]+$"
    )
    owners: tuple[str, ...] | None = Field(
        default=None, description="owners of this target, replacing the top-level owners"
    )
    artifacts: Mapping[str, Table] = Field(
        default_factory=dict[str, Table], description="[targets.artifacts.<kind>] overrides per key"
    )
    engine: EngineName | None = Field(
        default=None, description="engine of this target's kinds that do not set their own"
    )
    gates: Table = Field(default_factory=dict[str, Any], description="[targets.gates] overrides per key")
    retention: Table = Field(default_factory=dict[str, Any], description="[targets.retention] overrides per key")
    automation: Table = Field(default_factory=dict[str, Any], description="[targets.automation] overrides per key")
    freshness: Table = Field(default_factory=dict[str, Any], description="[targets.freshness] overrides per key")
    rollout: Table = Field(default_factory=dict[str, Any], description="[targets.rollout] overrides per key")
    rollback: Table = Field(default_factory=dict[str, Any], description="[targets.rollback] overrides per key")

    @property
    def target(self) -> Target:
        """The identity of this target."""
        return Target(self.tenant, self.surface, self.segment or None)

    @property
    def slug_parts(self) -> tuple[str, ...]:
        """Key of this target in Dagster: (tenant, surface), or only the slug."""
        return (self.slug,) if self.slug else (self.tenant, self.surface)

    @model_validator(mode="after")
    def _names(self) -> "TargetSettings":
        check_segment(self.tenant, what="tenant")
        check_segment(self.surface, what="surface")
        for part in self.slug_parts:
            if not is_slug(part):
                raise ValueError(
                    f'{part!r} is not a valid name in Dagster: add slug = "..." of letters, digits and _ to this target'
                )
        return self
