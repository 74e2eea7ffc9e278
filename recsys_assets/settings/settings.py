"""The whole of recsys.toml, checked: its tables, its targets, and what single targets override."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, model_validator

from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import CANONICAL
from recsys_assets.identity import Target, check_distinct, is_slug
from recsys_assets.kind_descriptions import BLEND
from recsys_assets.messages import name_known
from recsys_assets.settings.api import ApiSettings
from recsys_assets.settings.artifacts import (
    DEFAULT_KINDS,
    ArtifactSettings,
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
from recsys_assets.settings.outputs import SignalSettings, SinkSettings
from recsys_assets.settings.schedule import AutomationSettings, FreshnessSettings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.settings.upkeep import (
    MetricsSettings,
    OutcomeSettings,
    RetentionSettings,
    RollbackSettings,
    RolloutSettings,
)
from recsys_assets.settings.webhooks import WebhookSettings

# Names of other assets and documents of a target.
_RESERVED = frozenset({"raw", CANONICAL, "manifest", "signals", "sinks", "outcomes"})


class Settings(ClosedModel):
    """The whole configuration of one store: its sources, its targets, its limits."""

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
    webhooks: tuple[WebhookSettings, ...] = Field(default=(), description="who is sent what happens")
    signals: SignalSettings = SignalSettings()
    sinks: Mapping[str, SinkSettings] = Field(
        default_factory=dict[str, SinkSettings], description="[sinks.<name>]: databases that follow the pointer"
    )
    api: ApiSettings = ApiSettings()
    imports: Mapping[str, ImportSettings] = Field(
        default_factory=dict[str, ImportSettings], description="[imports.<kind>]: what other teams build"
    )
    hierarchies: Mapping[str, HierarchySettings] = Field(
        default_factory=dict[str, HierarchySettings], description="[hierarchies.<name>]: artifact trees"
    )
    targets: tuple[TargetSettings, ...] = Field(min_length=1)
    owners: tuple[str, ...] = Field(
        default=("team:recommendations",), description='who is asked about the assets: "team:name" or e-mail'
    )

    base: Path = Field(default=Path(), exclude=True, description="folder of the config file; set when it is read")
    digest: str = Field(default="", exclude=True, description="SHA-256 of the file as read")

    @model_validator(mode="after")
    def _distinct_targets(self) -> "Settings":
        seen: dict[tuple[str, str], TargetSettings] = {}
        slugs: dict[str, TargetSettings] = {}
        for row in self.targets:
            if (row.tenant, row.surface) in seen:
                raise ValueError(f"targets: {row.target} stands twice")
            seen[row.tenant, row.surface] = row
            other = slugs.setdefault("__".join(row.slug_parts).lower(), row)
            if other is not row:
                raise ValueError(f"targets {other.target} and {row.target} have the same slug: give one another slug")
        check_distinct((f"{t}/{s}" for t, s in seen), what="targets")
        return self

    @model_validator(mode="after")
    def _distinct_imports(self) -> "Settings":
        known = {str(row.target) for row in self.targets}
        for kind, one in self.imports.items():
            if not is_slug(kind) or kind in {*self.artifacts.kinds, *DEFAULT_KINDS, *_RESERVED}:
                raise ValueError(
                    f"imports.{kind}: choose a name of letters, digits and _ that no built kind or asset has"
                )
            unknown = sorted(set(one.targets) - known)
            if unknown:
                raise ValueError(
                    f"imports.{kind}.targets names {', '.join(unknown)}: known are {', '.join(sorted(known))}"
                )
        return self

    @model_validator(mode="after")
    def _plain_hierarchies(self) -> "Settings":
        for name in self.hierarchies:
            if not is_slug(name) or name != name.lower():
                raise ValueError(f"hierarchies.{name}: choose a name of small letters, digits and _")
        for kind, one in self.imports.items():
            if one.hierarchy is not None and one.hierarchy not in self.hierarchies:
                raise ValueError(f"imports.{kind}.hierarchy: {name_known(one.hierarchy, self.hierarchies)}")
        return self

    @model_validator(mode="after")
    def _distinct_webhooks(self) -> "Settings":
        known = {str(row.target) for row in self.targets}
        if len({one.name for one in self.webhooks}) < len(self.webhooks):
            raise ValueError("webhooks: two have the same name: give each its own")
        for one in self.webhooks:
            if unknown := sorted(set(one.targets) - known):
                raise ValueError(
                    f"webhooks.{one.name}.targets names {', '.join(unknown)}: known are {', '.join(sorted(known))}"
                )
        return self

    @model_validator(mode="after")
    def _known_sinks(self) -> "Settings":
        targets = {str(row.target) for row in self.targets}
        kinds = {*self.artifacts.kinds, *self.imports}
        for name, one in self.sinks.items():
            if not is_slug(name) or name != name.lower():
                raise ValueError(f"sinks.{name}: choose a name of small letters, digits and _")
            for setting, named, known in (("targets", one.targets, targets), ("kinds", one.kinds, kinds)):
                if unknown := sorted(set(named) - known):
                    raise ValueError(
                        f"sinks.{name}.{setting} names {', '.join(unknown)}: known are {', '.join(sorted(known))}"
                    )
        return self

    @model_validator(mode="after")
    def _known_kinds(self) -> "Settings":
        # A gate of a misspelt kind would be required of nothing.
        known = {*self.artifacts.kinds, *DEFAULT_KINDS, *self.imports, BLEND}
        for setting, kind in self.gates.named_kinds.items():
            if kind not in known and (kind, setting.split(".")[0]) != (CANONICAL, "custom"):
                raise ValueError(f"gates.{setting}: no such kind is built; known are {', '.join(sorted(known))}")
        return self

    @model_validator(mode="after")
    def _custom_gates_have_rows(self) -> "Settings":
        known = {str(row.target) for row in self.targets}
        for name, gate in self.gates.custom.items():
            if unknown := sorted(set(gate.targets) - known):
                raise ValueError(
                    f"gates.custom.{name}.targets names {', '.join(unknown)}: known are {', '.join(sorted(known))}"
                )
            for kind in gate.kinds:
                form = self.imports[kind].format if kind in self.imports else ImportFormat.PARQUET
                if form not in {ImportFormat.PARQUET, ImportFormat.JSONL}:
                    raise ValueError(
                        f"gates.custom.{name}.kinds: {kind} is {form}, which has no rows: parquet and jsonl have"
                    )
        return self

    def imports_for(self, row: TargetSettings) -> dict[str, ImportSettings]:
        """Return what other teams build for one target, by kind."""
        return {kind: one for kind, one in self.imports.items() if not one.targets or str(row.target) in one.targets}

    def sinks_for(self, target: Target) -> dict[str, SinkSettings]:
        """Return the sinks that a target is written to, by name."""
        return {name: one for name, one in self.sinks.items() if not one.targets or str(target) in one.targets}

    def kinds_for(self, row: TargetSettings) -> tuple[str, ...]:
        """Return every kind of a target's releases: those that are built, then those that are imported."""
        return (*self.artifacts.kinds, *self.imports_for(row))

    def find(self, tenant: str, surface: str) -> TargetSettings:
        """Return the row of a target; `ConfigurationError` lists the known ones."""
        for row in self.targets:
            if (row.tenant, row.surface) == (tenant, surface):
                return row
        known = name_known(f"{tenant}/{surface}", (str(row.target) for row in self.targets))
        raise ConfigurationError(f"no target {tenant}/{surface} in the configuration: {known}")

    def gates_for(self, row: TargetSettings) -> GateSettings:
        """Return the gates' limits of one target, its overrides applied."""
        return GateSettings.model_validate(_overridden(self.gates.model_dump(exclude_unset=True), row.gates))

    def retention_for(self, row: TargetSettings) -> RetentionSettings:
        """Return what is kept of one target, its overrides applied."""
        return RetentionSettings.model_validate({**self.retention.model_dump(), **row.retention})

    def automation_for(self, row: TargetSettings) -> AutomationSettings:
        """Return when one target's days are built by themselves, its overrides applied."""
        return AutomationSettings.model_validate({**self.automation.model_dump(), **row.automation})

    def freshness_for(self, row: TargetSettings) -> FreshnessSettings:
        """Return how old one target's data may be, its overrides applied."""
        return FreshnessSettings.model_validate({**self.freshness.model_dump(), **row.freshness})

    def rollout_for(self, row: TargetSettings) -> RolloutSettings:
        """Return how one target's releases are rolled out, its overrides applied."""
        return RolloutSettings.model_validate({**self.rollout.model_dump(), **row.rollout})

    def rollback_for(self, row: TargetSettings) -> RollbackSettings:
        """Return what is undone by itself of one target, its overrides applied."""
        return RollbackSettings.model_validate({**self.rollback.model_dump(), **row.rollback})

    @property
    def resolved_engines(self) -> EngineSettings:
        """What engines need, with its folders as absolute paths or URIs."""
        folders = {"scratch": self.engines.scratch, "work": self.engines.work}
        return self.engines.model_copy(update={name: path and self.resolve(path) for name, path in folders.items()})

    @property
    def signing_keys(self) -> tuple[str, ...]:
        """Where the keys stand that sign, files by their absolute paths."""
        split = (place.partition(":") for place in self.signing.places)
        return tuple(f"{form}:{self.resolve(where) if form == 'file' else where}" for form, _, where in split)

    def resolve(self, path: str) -> str:
        """Return `path` as it stands for URIs and absolute paths, else relative to the config file's folder."""
        return path if "://" in path else str((self.base / path).absolute())

    def text_at(self, place: str, *, what: str) -> str:
        """Return what `env:NAME` or `file:PATH` holds, or the text itself; an error names the place alone."""
        form, _, where = place.partition(":")
        if form == "env":
            if not os.environ.get(where):
                raise ConfigurationError(f"${where} is not set: {what} of the configuration names it")
            return os.environ[where].strip()
        if form == "file":
            try:
                return Path(self.resolve(where)).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ConfigurationError(f"{where} cannot be read ({error.strerror}): {what} names it") from None
        return place


def _overridden(table: Table, by: Table) -> Table:
    """Return a table with single keys said otherwise, in the tables inside it too."""
    inner = {key: _overridden(table[key], by[key]) for key in table.keys() & by.keys() if isinstance(by[key], dict)}
    return {**table, **by, **inner}
