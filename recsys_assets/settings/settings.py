"""Root model of recsys.toml: its tables, its `[[targets]]` entries, and their overrides."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, model_validator

from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import CANONICAL
from recsys_assets.identity import Target, check_distinct, check_segment, is_slug
from recsys_assets.kind_descriptions import BLEND
from recsys_assets.messages import name_known
from recsys_assets.settings.artifacts import (
    DEFAULT_KINDS,
    ArtifactSettings,
    EngineName,
    EngineSettings,
    HierarchySettings,
    ImportFormat,
    ImportSettings,
)
from recsys_assets.settings.gates import GateSettings
from recsys_assets.settings.inputs import (
    LimitSettings,
    PartitionSettings,
    RawSettings,
    SigningSettings,
    StorageSettings,
)
from recsys_assets.settings.model import ClosedModel, Table
from recsys_assets.settings.outputs import ApiSettings, SignalSettings, SinkSettings, WebhookSettings
from recsys_assets.settings.upkeep import (
    AutomationSettings,
    FreshnessSettings,
    MetricsSettings,
    OutcomeSettings,
    RetentionSettings,
    RollbackSettings,
    RolloutSettings,
)

Group = TypeVar("Group", bound=ClosedModel)

# Names of a target's other assets and documents.
_RESERVED = frozenset({"raw", CANONICAL, "manifest", "signals", "sinks", "outcomes"})


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


class Settings(ClosedModel):
    """Complete configuration of one store: its sources, targets and limits."""

    storage: StorageSettings = StorageSettings()
    signing: SigningSettings = SigningSettings()
    raw: RawSettings = RawSettings()
    partitions: PartitionSettings = PartitionSettings()
    limits: LimitSettings = LimitSettings()
    artifacts: ArtifactSettings = ArtifactSettings()
    engines: EngineSettings = EngineSettings()
    gates: GateSettings = GateSettings()
    retention: RetentionSettings = RetentionSettings()
    automation: AutomationSettings = AutomationSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    rollout: RolloutSettings = RolloutSettings()
    rollback: RollbackSettings = RollbackSettings()
    outcomes: OutcomeSettings = OutcomeSettings()
    metrics: MetricsSettings = MetricsSettings()
    webhooks: tuple[WebhookSettings, ...] = Field(default=(), description="[[webhooks]]: receivers of events")
    signals: SignalSettings = SignalSettings()
    sinks: Mapping[str, SinkSettings] = Field(
        default_factory=dict[str, SinkSettings], description="[sinks.<name>]: databases that follow the pointer"
    )
    api: ApiSettings = ApiSettings()
    imports: Mapping[str, ImportSettings] = Field(
        default_factory=dict[str, ImportSettings], description="[imports.<kind>]: kinds that other systems build"
    )
    hierarchies: Mapping[str, HierarchySettings] = Field(
        default_factory=dict[str, HierarchySettings], description="[hierarchies.<name>]: artifact trees"
    )
    targets: tuple[TargetSettings, ...] = Field(min_length=1)
    owners: tuple[str, ...] = Field(
        default=("team:recommendations",), description='owners of the assets: "team:name" or e-mail'
    )

    base: Path = Field(default=Path(), exclude=True, description="folder of the config file; set on reading")
    digest: str = Field(default="", exclude=True, description="SHA-256 of the file as read")

    @model_validator(mode="after")
    def _distinct_targets(self) -> "Settings":
        seen: dict[tuple[str, str], TargetSettings] = {}
        slugs: dict[str, TargetSettings] = {}
        for target_settings in self.targets:
            if (target_settings.tenant, target_settings.surface) in seen:
                raise ValueError(f"targets: {target_settings.target} is listed twice")
            seen[target_settings.tenant, target_settings.surface] = target_settings
            other = slugs.setdefault("__".join(target_settings.slug_parts).lower(), target_settings)
            if other is not target_settings:
                raise ValueError(
                    f"targets {other.target} and {target_settings.target} have the same slug: change one of them"
                )
        check_distinct((f"{t}/{s}" for t, s in seen), what="targets")
        return self

    @model_validator(mode="after")
    def _distinct_imports(self) -> "Settings":
        targets = {str(target_settings.target) for target_settings in self.targets}
        for kind, rules in self.imports.items():
            if not is_slug(kind) or kind in {*self.artifacts.kinds, *DEFAULT_KINDS, *_RESERVED}:
                raise ValueError(
                    f"imports.{kind}: expected a name of letters, digits and _ that is not a built kind or an asset"
                )
            unknown = sorted(set(rules.targets) - targets)
            if unknown:
                raise ValueError(
                    f"imports.{kind}.targets: unknown {', '.join(unknown)}; known: {', '.join(sorted(targets))}"
                )
        return self

    @model_validator(mode="after")
    def _plain_hierarchies(self) -> "Settings":
        for name in self.hierarchies:
            if not is_slug(name) or name != name.lower():
                raise ValueError(f"hierarchies.{name}: expected a name of lowercase letters, digits and _")
        for kind, rules in self.imports.items():
            if rules.hierarchy is not None and rules.hierarchy not in self.hierarchies:
                raise ValueError(f"imports.{kind}.hierarchy: {name_known(rules.hierarchy, self.hierarchies)}")
        return self

    @model_validator(mode="after")
    def _distinct_webhooks(self) -> "Settings":
        names = {str(target_settings.target) for target_settings in self.targets}
        if len({webhook.name for webhook in self.webhooks}) < len(self.webhooks):
            raise ValueError("webhooks: two have the same name, expected unique names")
        for webhook in self.webhooks:
            if unknown := sorted(set(webhook.targets) - names):
                raise ValueError(
                    f"webhooks.{webhook.name}.targets: unknown {', '.join(unknown)}; known: {', '.join(sorted(names))}"
                )
        return self

    @model_validator(mode="after")
    def _known_sinks(self) -> "Settings":
        targets = {str(target_settings.target) for target_settings in self.targets}
        kinds = {*self.artifacts.kinds, *self.imports}
        for name, sink in self.sinks.items():
            if not is_slug(name) or name != name.lower():
                raise ValueError(f"sinks.{name}: expected a name of lowercase letters, digits and _")
            for setting, named, names in (("targets", sink.targets, targets), ("kinds", sink.kinds, kinds)):
                if unknown := sorted(set(named) - names):
                    raise ValueError(
                        f"sinks.{name}.{setting}: unknown {', '.join(unknown)}; known: {', '.join(sorted(names))}"
                    )
        return self

    @model_validator(mode="after")
    def _known_kinds(self) -> "Settings":
        # A gate on a misspelt kind would never run.
        kinds = {*self.artifacts.kinds, *DEFAULT_KINDS, *self.imports, BLEND}
        for setting, kind in self.gates.named_kinds.items():
            if kind not in kinds and (kind, setting.split(".")[0]) != (CANONICAL, "custom"):
                raise ValueError(f"gates.{setting}: {kind} is not built or imported; known: {', '.join(sorted(kinds))}")
        return self

    @model_validator(mode="after")
    def _custom_gates_have_rows(self) -> "Settings":
        targets = {str(target_settings.target) for target_settings in self.targets}
        for name, gate in self.gates.custom.items():
            if unknown := sorted(set(gate.targets) - targets):
                raise ValueError(
                    f"gates.custom.{name}.targets: unknown {', '.join(unknown)}; known: {', '.join(sorted(targets))}"
                )
            for kind in gate.kinds:
                form = self.imports[kind].format if kind in self.imports else ImportFormat.PARQUET
                if form not in {ImportFormat.PARQUET, ImportFormat.JSONL}:
                    raise ValueError(
                        f"gates.custom.{name}.kinds: {kind} is {form}, which has no rows; expected parquet or jsonl"
                    )
        return self

    def imports_for(self, target_settings: TargetSettings) -> dict[str, ImportSettings]:
        """Return the settings of the kinds imported for one target, by kind."""
        return {
            kind: rules
            for kind, rules in self.imports.items()
            if not rules.targets or str(target_settings.target) in rules.targets
        }

    def sinks_for(self, target: Target) -> dict[str, SinkSettings]:
        """Return the sinks of one target, by name."""
        return {name: sink for name, sink in self.sinks.items() if not sink.targets or str(target) in sink.targets}

    def kinds_for(self, target_settings: TargetSettings) -> tuple[str, ...]:
        """Return the kinds of a target's releases: first the built ones, then the imported ones."""
        return (*self.artifacts.kinds, *self.imports_for(target_settings))

    def find(self, tenant: str, surface: str) -> TargetSettings:
        """Return the settings of a target. Raises `ConfigurationError` that lists the configured targets."""
        for target_settings in self.targets:
            if (target_settings.tenant, target_settings.surface) == (tenant, surface):
                return target_settings
        choices = name_known(f"{tenant}/{surface}", (str(target_settings.target) for target_settings in self.targets))
        raise ConfigurationError(f"no target {tenant}/{surface} in the configuration: {choices}")

    def gates_for(self, target_settings: TargetSettings) -> GateSettings:
        """Return the gate settings of one target, with its overrides applied."""
        if not target_settings.gates:
            return self.gates
        return GateSettings.model_validate(
            _overridden(self.gates.model_dump(exclude_unset=True), target_settings.gates)
        )

    def retention_for(self, target_settings: TargetSettings) -> RetentionSettings:
        """Return the retention of one target, with its overrides applied."""
        return _with(self.retention, target_settings.retention)

    def automation_for(self, target_settings: TargetSettings) -> AutomationSettings:
        """Return the automation of one target, with its overrides applied."""
        return _with(self.automation, target_settings.automation)

    def freshness_for(self, target_settings: TargetSettings) -> FreshnessSettings:
        """Return the freshness limits of one target, with its overrides applied."""
        return _with(self.freshness, target_settings.freshness)

    def rollout_for(self, target_settings: TargetSettings) -> RolloutSettings:
        """Return the rollout settings of one target, with its overrides applied."""
        return _with(self.rollout, target_settings.rollout)

    def rollback_for(self, target_settings: TargetSettings) -> RollbackSettings:
        """Return the automatic rollback of one target, with its overrides applied."""
        return _with(self.rollback, target_settings.rollback)

    @property
    def resolved_engines(self) -> EngineSettings:
        """Engine settings with folders as absolute paths or URIs."""
        folders = {"scratch": self.engines.scratch, "work": self.engines.work}
        return self.engines.model_copy(update={name: path and self.resolve(path) for name, path in folders.items()})

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """References to the signing keys, with absolute paths of files."""
        split = (location.partition(":") for location in self.signing.places)
        return tuple(f"{form}:{self.resolve(where) if form == 'file' else where}" for form, _, where in split)

    def resolve(self, path: str) -> str:
        """Return URIs and absolute paths unchanged, and other paths relative to the config file's folder."""
        return path if "://" in path else str((self.base / path).absolute())

    def text_at(self, location: str, *, what: str) -> str:
        """Return the value of `env:NAME` or `file:PATH`, or the text itself without such a prefix.

        Raises `ConfigurationError` if the variable is not set or the file cannot be read. It never contains the value.
        """
        form, _, where = location.partition(":")
        if form == "env":
            if not os.environ.get(where):
                raise ConfigurationError(f"${where} is not set, but {what} of the configuration refers to it")
            return os.environ[where].strip()
        if form == "file":
            try:
                return Path(self.resolve(where)).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigurationError(
                    f"{where} cannot be read ({error.strerror}), but {what} refers to it"
                ) from None
        return location


def _with(common: Group, overrides: Table) -> Group:
    """Return the settings of a group of keys with the overrides of one target."""
    return type(common).model_validate({**common.model_dump(), **overrides}) if overrides else common


def _overridden(table: Table, by: Table) -> Table:
    """Return a table with the keys of `by` replaced, recursively."""
    inner = {key: _overridden(table[key], by[key]) for key in table.keys() & by.keys() if isinstance(by[key], dict)}
    return {**table, **by, **inner}
