"""Limits and enforcement modes of all gates: `[gates]` and the tables below it."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from recsys_assets.identity import is_slug
from recsys_assets.settings.model import MAX_SECONDS, ClosedModel, Share

CUSTOM_GATE = "custom_"  # before the name of a custom gate
BACKTEST_GATE = "backtest_"  # before the name of a kind, or the blend
_NAMED = re.compile(rf"({BACKTEST_GATE}|{CUSTOM_GATE})\S+")


class Mode(StrEnum):
    """Enforcement mode of a gate: the effect of a crossed limit is nothing, a warning or a refusal."""

    OFF = "off"
    ADVISORY = "advisory"
    REQUIRED = "required"


class CountGate(StrEnum):
    """Gates on the counts of a day, required by default."""

    VOLUME = "volume"
    BAD_SHARE = "bad_share"
    OUT_OF_WINDOW_SHARE = "out_of_window_share"
    DUPLICATE_SHARE = "duplicate_share"
    NOT_EMPTY = "not_empty"
    DAYS = "days"
    LEFT_OUT_SHARE = "left_out_share"
    BAD_CATALOG_SHARE = "bad_catalog_share"


class DayGate(StrEnum):
    """Gates that compare a day with the target's earlier ordinary days."""

    VOLUME = "day_volume"
    HOURS = "day_hours"
    DUPLICATES = "day_duplicates"
    CONCENTRATION = "day_concentration"
    SHAPE = "day_shape"
    NEW_ITEMS = "day_new_items"
    NEW_USERS = "day_new_users"
    ITEM_MIX = "day_item_mix"
    REPLAY = "day_replay"
    LIVE = "day_live"


class DaySettings(ClosedModel):
    """Limits on how far a day deviates from the target's past. Each is widened by the spread of ordinary days."""

    mode: Mode = Field(default=Mode.REQUIRED, description="off, advisory or required, for all gates of a day")
    history_days: int = Field(default=28, ge=1, le=366, description="earlier ordinary days to compare with")
    warm_up_days: int = Field(default=5, ge=2, description="minimum ordinary days to judge by, except for replays")
    min_volume: Share = Field(default=0.7, description="minimum events and sessions, as a share of those expected")
    max_silent_share: Share = Field(default=0.2, description="maximum share of usual activity in hours without events")
    max_hours_distance: Share = Field(default=0.4, description="maximum share of events at other hours than usual")
    max_duplicate_rise: Share = Field(default=0.12, description="maximum rise of a duplicate share over its past peak")
    max_share_rise: Share = Field(default=0.5, description="maximum rise of the top share of an item, user or session")
    max_shape_factor: float = Field(default=2.0, ge=1, description="maximum factor to usual, e.g. events per session")
    max_sizes_distance: Share = Field(default=0.4, description="maximum share of events in sessions of unusual size")
    max_new_item_share: Share = Field(default=0.65, description="maximum rise of the share of events on unseen items")
    max_new_user_share: Share = Field(default=0.65, description="maximum rise of the share of visits by new users")
    min_correlation_ratio: Share = Field(default=0.5, description="minimum item correlation, as a share of the median")
    max_surge_rise: Share = Field(default=0.3, description="maximum rise of the share of events on surging items")
    max_replayed_share: Share = Field(default=0.5, description="maximum share of events that an earlier day also had")
    min_live_ratio: Share = Field(default=0.4, description="minimum score of the live release, to its usual median")
    max_live_ratio: float = Field(default=1.4, ge=1, description="maximum score of the live release, to that median")


class CatalogGate(StrEnum):
    """Gates that compare a catalog with the live one."""

    LOST = "catalog_lost"
    CHANGED = "catalog_changed"
    UNKNOWN = "catalog_unknown"


class CatalogSettings(ClosedModel):
    """Limits on how far a catalog deviates from the live one."""

    mode: Mode = Field(default=Mode.REQUIRED, description="off, advisory or required, for all gates of a catalog")
    max_lost_share: Share = Field(default=0.3, description="maximum share of the live catalog's items that are missing")
    max_changed_share: Share = Field(default=0.5, description="maximum share of items whose tags changed")
    max_unknown_rise: Share = Field(
        default=0.2, description="maximum rise, over the live catalog, of the share of events on items without a row"
    )


class DriftGate(StrEnum):
    """Gates on the distance from the live release."""

    ROWS = "drift_rows"
    ITEMS = "drift_items"
    OVERLAP = "drift_overlap"
    RANK = "drift_rank"
    CHURN = "drift_churn"
    COVERAGE = "drift_coverage"
    GINI = "drift_gini"
    UNKNOWN = "drift_unknown"


class DriftLimits(ClosedModel):
    """Limits on the distance from the live release, and the enforcement mode of each."""

    mode: Mode = Field(default=Mode.ADVISORY, description="off, advisory or required, for all drift gates")
    required: frozenset[DriftGate] = Field(
        default=frozenset(), description="gates that are required, regardless of `mode`"
    )
    off: frozenset[DriftGate] = Field(
        default=frozenset(), description="gates that are off, regardless of `mode` and `required`"
    )
    max_rows_factor: float = Field(default=5, ge=1, description="maximum factor between row counts, either direction")
    max_items_factor: float = Field(
        default=5, ge=1, description="maximum factor between the numbers of distinct items, in either direction"
    )
    top_items: int = Field(default=100, ge=1, description="number of strongest items compared")
    min_overlap: Share = Field(default=0.05, description="minimum share of the live strongest items among the new ones")
    min_rank_correlation: float = Field(
        default=-0.5, ge=-1, le=1, description="minimum rank correlation of the items that both contain"
    )
    max_churn: Share = Field(default=1, description="maximum share of changed members in the lists that both contain")
    min_coverage_ratio: Share = Field(default=0.2, description="minimum catalog coverage, as a share of the live one")
    max_gini_rise: Share = Field(default=0.5, description="maximum rise of the Gini coefficient over the live one")
    max_unknown_share: Share = Field(default=0.9, description="maximum share of items that are missing in the catalog")

    def mode_of(self, gate: DriftGate) -> Mode:
        """Return the enforcement mode of one gate."""
        if gate in self.off:
            return Mode.OFF
        return Mode.REQUIRED if gate in self.required else self.mode


class DriftSettings(DriftLimits):
    """Drift limits of all kinds, with overrides per kind."""

    kinds: Mapping[str, DriftLimits] = Field(
        default_factory=dict[str, DriftLimits], description="[gates.drift.kinds.<kind>] overrides per key"
    )

    def of_kind(self, kind: str) -> DriftLimits:
        """Return the limits of one kind, its overrides applied."""
        own = self.kinds[kind].model_dump(exclude_unset=True) if kind in self.kinds else {}
        return DriftLimits.model_validate({**self.model_dump(exclude={"kinds"}), **own})


class RehearsalGate(StrEnum):
    """Gates on the rehearsal of a candidate before it becomes live."""

    LOADS = "rehearsal_loads"
    SECONDS = "rehearsal_seconds"
    MEMORY = "rehearsal_memory"
    EMPTY = "rehearsal_empty"
    SHORT = "rehearsal_short"


class AnswerLimits(ClosedModel):
    """Limits on the shares of empty and short answers of a kind."""

    max_empty_share: Share = Field(
        default=0.99, description="maximum share of the last day's lookups with an empty answer"
    )
    max_short_share: Share = Field(
        default=1, description="maximum share of lookups answered with fewer items than full_list, but not empty"
    )


class RehearsalSettings(AnswerLimits):
    """Rehearsal of a candidate before the swap. The default limits pass every ordinary day."""

    mode: Mode = Field(
        default=Mode.ADVISORY, description="off, advisory or required; a candidate that does not load is always refused"
    )
    questions: int = Field(default=1000, ge=1, le=100_000, description="number of items looked up, and of users")
    full_list: int = Field(default=5, ge=1, description="number of items that a full answer has")
    max_load_seconds: float = Field(default=60, gt=0, le=MAX_SECONDS, description="maximum time of loading")
    max_blob_bytes: int = Field(
        default=256_000_000, ge=1, lt=2**32, description="maximum blob size; must match the readers' Limits.blob_bytes"
    )
    max_held_bytes: int = Field(
        default=1_000_000_000, ge=1, description="maximum memory of one release; readers hold two while switching"
    )
    kinds: Mapping[str, AnswerLimits] = Field(
        default_factory=dict[str, AnswerLimits], description="[gates.rehearsal.kinds.<kind>] overrides per key"
    )

    @property
    def off(self) -> bool:
        """Whether the rehearsal is skipped."""
        return self.mode is Mode.OFF

    def of_kind(self, kind: str) -> AnswerLimits:
        """Return the answer limits of one kind, with its overrides applied."""
        own = self.kinds[kind].model_dump(exclude_unset=True) if kind in self.kinds else {}
        return AnswerLimits(**{"max_empty_share": self.max_empty_share, "max_short_share": self.max_short_share, **own})


class BacktestSettings(ClosedModel):
    """Back-test of a candidate against the live release on the same held-out events.

    Off by default. Without a next day, every kind is built a second time from the first part of the day. A target
    needs several hundred sessions a day for a meaningful result.
    """

    mode: Mode = Field(default=Mode.OFF, description="off, advisory or required, for all recommenders")
    required: frozenset[str] = Field(
        default=frozenset(), description='kinds, or "blend", that are required regardless of `mode`'
    )
    off: frozenset[str] = Field(
        default=frozenset(), description="kinds that are off, regardless of `mode` and `required`"
    )
    inconclusive: Mode = Field(
        default=Mode.ADVISORY, description="enforcement mode with too few samples or an insignificant difference"
    )
    k: int = Field(default=20, ge=1, le=1000, description="length of the lists that are scored")
    delta: float = Field(default=0.2, ge=0, le=1, description="maximum loss, as a share of the live release's nDCG")
    min_samples: int = Field(default=200, ge=1, description="minimum number of sessions for a verdict")
    max_samples: int = Field(default=5000, ge=1, le=1_000_000, description="maximum sessions, sampled by the seed")
    rounds: int = Field(default=1000, ge=100, le=100_000, description="rounds of the paired bootstrap")
    level: float = Field(
        default=0.99, gt=0.5, lt=1, description="confidence level of the bootstrap interval; five gates run every night"
    )
    seed: int = Field(default=1, ge=0, description="seed of the session sample, the session cuts and the bootstrap")
    held_out_share: float = Field(
        default=0.2, gt=0, lt=1, description="share of the last day that is held out, by time, if there is no next day"
    )
    max_seconds: float = Field(default=300, gt=0, le=MAX_SECONDS, description="time limit; a longer back-test fails")

    def mode_of(self, name: str) -> Mode:
        """Return the enforcement mode of one recommender."""
        if name in self.off:
            return Mode.OFF
        return Mode.REQUIRED if name in self.required else self.mode


class CustomGate(ClosedModel):
    """Custom gate: a pandera schema that rows must satisfy, or SQL that returns the rows that break a rule."""

    pandera: str | None = Field(
        default=None, description='schema as "file.py:NAME", or the name of an entry point in recsys_assets.gates'
    )
    sql: str | None = Field(default=None, description="query of the table `rows` that returns the offending rows")
    kinds: tuple[str, ...] = Field(min_length=1, description='built or imported kinds to check, or "canonical"')
    targets: tuple[str, ...] = Field(default=(), description='targets, as "tenant/surface"; empty: every target')
    mode: Mode = Field(default=Mode.REQUIRED, description="off, advisory or required")
    max_seconds: float = Field(default=60, gt=0, le=MAX_SECONDS, description="time limit; slower SQL fails the gate")

    @model_validator(mode="after")
    def _one_rule(self) -> "CustomGate":
        if (self.pandera is None) is (self.sql is None):
            raise ValueError('a custom gate has either pandera = "file.py:NAME" or sql = "SELECT ..."')
        return self


QUALITY_GATES = (
    *(gate.value for gate in CountGate),
    *(gate.value for gate in DayGate),
    *(gate.value for gate in CatalogGate),
    *(gate.value for gate in DriftGate),
    *(gate.value for gate in RehearsalGate if gate is not RehearsalGate.LOADS),
)


def is_quality_gate(name: str) -> bool:
    """Return whether a gate may be advisory, off or overridden. Integrity gates may not."""
    return name in QUALITY_GATES or _NAMED.fullmatch(name) is not None


def check_modes(modes: dict[str, Mode]) -> dict[str, Mode]:
    """Return the modes. Raises `ValueError` for the first name that is not a quality gate, with the names that are."""
    for name in modes:
        if not is_quality_gate(name):
            raise ValueError(
                f"{name} is not a gate with a choice of modes: contract, envelope, size, rehearsal_loads and "
                f"the hash check are always required; known: {', '.join(QUALITY_GATES)}, backtest_<kind>, "
                "custom_<name>"
            )
    return modes


def check_names(gates: Mapping[str, CustomGate]) -> Mapping[str, CustomGate]:
    """Return the gates. Raises `ValueError` for the first name that commands and reports cannot carry."""
    for name in gates:
        if not is_slug(name):
            raise ValueError(f"{name!r}: choose a name of letters, digits and _")
    return gates


class GateSettings(ClosedModel):
    """Limits and enforcement modes of all gates of a target."""

    min_events: int = Field(default=1, ge=0, description="minimum number of events of a target and day")
    min_rows: int = Field(default=1, ge=0, description="minimum rows of an artifact; 0 allows empty ones")
    max_left_out_share: Share = Field(
        default=0.1, description="maximum share of sessions excluded as too long, or of users as too active"
    )
    max_duplicate_share: Share = Field(default=0.5, description="maximum share of rows dropped as exact duplicates")
    day: DaySettings = Field(default=DaySettings(), description="limits on the deviation of a day from earlier days")
    catalog: CatalogSettings = Field(default=CatalogSettings(), description="limits on the distance from the live one")
    drift: DriftSettings = Field(default=DriftSettings(), description="limits on the distance from live artifacts")
    rehearsal: RehearsalSettings = Field(
        default=RehearsalSettings(), description="limits on the rehearsal of a candidate"
    )
    backtest: BacktestSettings = Field(default=BacktestSettings(), description="limits on the back-test of a candidate")
    custom: Annotated[Mapping[str, CustomGate], AfterValidator(check_names)] = Field(
        default_factory=dict[str, CustomGate], description="[gates.custom.<name>]: custom gates"
    )
    modes: Annotated[dict[str, Mode], AfterValidator(check_modes)] = Field(
        default_factory=dict[str, Mode],
        description="off, advisory or required by gate; overrides every `mode`; integrity gates are always required",
    )

    @model_validator(mode="after")
    def _known_custom_gates(self) -> "GateSettings":
        for name in self.modes:
            if name.startswith(CUSTOM_GATE) and name.removeprefix(CUSTOM_GATE) not in self.custom:
                names = ", ".join(f"{CUSTOM_GATE}{custom}" for custom in self.custom) or "none"
                raise ValueError(
                    f"modes.{name}: [gates.custom.{name.removeprefix(CUSTOM_GATE)}] is missing; known: {names}"
                )
        return self

    @property
    def named_kinds(self) -> dict[str, str]:
        """Kinds that settings refer to, by the name of the setting."""
        kinds = {f"drift.kinds.{kind}": kind for kind in self.drift.kinds}
        kinds |= {f"rehearsal.kinds.{kind}": kind for kind in self.rehearsal.kinds}
        kinds |= {f"backtest.required {kind}": kind for kind in self.backtest.required}
        kinds |= {f"backtest.off {kind}": kind for kind in self.backtest.off}
        modes = (name for name in self.modes if name.startswith(BACKTEST_GATE))
        kinds |= {f"custom.{name}.kinds {kind}": kind for name, gate in self.custom.items() for kind in gate.kinds}
        return kinds | {f"modes.{name}": name.removeprefix(BACKTEST_GATE) for name in modes}
