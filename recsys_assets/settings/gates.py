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
    """Enforcement mode of a gate: beyond its limit it does nothing, advises or refuses."""

    OFF = "off"
    ADVISORY = "advisory"
    REQUIRED = "required"


class CountGate(StrEnum):
    """Gates of a day's counts; required by default."""

    VOLUME = "volume"
    BAD_SHARE = "bad_share"
    OUT_OF_WINDOW_SHARE = "out_of_window_share"
    DUPLICATE_SHARE = "duplicate_share"
    NOT_EMPTY = "not_empty"
    DAYS = "days"
    LEFT_OUT_SHARE = "left_out_share"
    BAD_CATALOG_SHARE = "bad_catalog_share"


class DayGate(StrEnum):
    """Gates of a day against the target's ordinary days before it."""

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
    """How far a day may be from the target's own past; every limit is widened by what ordinary days had."""

    mode: Mode = Field(default=Mode.REQUIRED, description="off, advisory or required: for all gates of a day")
    history_days: int = Field(default=28, ge=1, le=366, description="most ordinary days before it that count")
    warm_up_days: int = Field(default=5, ge=2, description="fewest ordinary days to judge by, but for replays")
    min_volume: Share = Field(default=0.7, description="least events and sessions, as a share of those expected")
    max_silent_share: Share = Field(default=0.2, description="largest share of usual activity in hours without events")
    max_hours_distance: Share = Field(default=0.4, description="largest share of events at other hours than usual")
    max_duplicate_rise: Share = Field(default=0.12, description="rise of the shares of duplicates over the past's most")
    max_share_rise: Share = Field(default=0.5, description="rise of the shares of one item, user or session")
    max_shape_factor: float = Field(default=2.0, ge=1, description="factor between events per session etc. and usual")
    max_sizes_distance: Share = Field(default=0.4, description="share of events in sessions of other sizes than usual")
    max_new_item_share: Share = Field(default=0.65, description="rise of the share of events on items not seen before")
    max_new_user_share: Share = Field(default=0.65, description="rise of the share of visits by users new to live")
    min_correlation_ratio: Share = Field(default=0.5, description="least correlation of item counts, to the median's")
    max_surge_rise: Share = Field(default=0.3, description="rise of the share of events that surge on few items")
    max_replayed_share: Share = Field(default=0.5, description="largest share of events that an earlier day had too")
    min_live_ratio: Share = Field(default=0.4, description="least that live is worth on the day, to the usual median")
    max_live_ratio: float = Field(default=1.4, ge=1, description="most that live is worth on the day, to that median")


class CatalogGate(StrEnum):
    """Gates of a catalog against the live one."""

    LOST = "catalog_lost"
    CHANGED = "catalog_changed"
    UNKNOWN = "catalog_unknown"


class CatalogSettings(ClosedModel):
    """How far a catalog may be from the one that is live."""

    mode: Mode = Field(default=Mode.REQUIRED, description="off, advisory or required: for all gates of a catalog")
    max_lost_share: Share = Field(default=0.3, description="largest share of live's items that are gone")
    max_changed_share: Share = Field(default=0.5, description="largest share of items whose tags changed")
    max_unknown_rise: Share = Field(
        default=0.2, description="rise of the share of the day's events on items without a row, over live's catalog"
    )


class DriftGate(StrEnum):
    """Gates of the distance from the live release."""

    ROWS = "drift_rows"
    ITEMS = "drift_items"
    OVERLAP = "drift_overlap"
    RANK = "drift_rank"
    CHURN = "drift_churn"
    COVERAGE = "drift_coverage"
    GINI = "drift_gini"
    UNKNOWN = "drift_unknown"


class DriftLimits(ClosedModel):
    """Limits on the distance from live, and which of them are required."""

    mode: Mode = Field(default=Mode.ADVISORY, description="off, advisory or required: for all numbers")
    required: frozenset[DriftGate] = Field(
        default=frozenset(), description="numbers that are required, whatever `mode` says"
    )
    off: frozenset[DriftGate] = Field(
        default=frozenset(), description="numbers that are off, whatever `mode` and `required` say"
    )
    max_rows_factor: float = Field(default=5, ge=1, description="how many times more or fewer rows than live")
    max_items_factor: float = Field(
        default=5, ge=1, description="how many times more or fewer distinct items than live"
    )
    top_items: int = Field(default=100, ge=1, description="how many of the strongest items are compared")
    min_overlap: Share = Field(default=0.05, description="least share of live's strongest items among the new ones")
    min_rank_correlation: float = Field(
        default=-0.5, ge=-1, le=1, description="least rank correlation of the items that both have"
    )
    max_churn: Share = Field(default=1, description="largest share of changed members in the lists that both have")
    min_coverage_ratio: Share = Field(default=0.2, description="least coverage of the catalog, as a share of live's")
    max_gini_rise: Share = Field(default=0.5, description="how much the Gini coefficient may rise over live's")
    max_unknown_share: Share = Field(default=0.9, description="largest share of items that the catalog does not know")

    def mode_of(self, gate: DriftGate) -> Mode:
        """Return the enforcement mode of one number."""
        if gate in self.off:
            return Mode.OFF
        return Mode.REQUIRED if gate in self.required else self.mode


class DriftSettings(DriftLimits):
    """The limits of all kinds, and, by kind, the keys that differ."""

    kinds: Mapping[str, DriftLimits] = Field(
        default_factory=dict[str, DriftLimits], description="[gates.drift.kinds.<kind>] overrides per key"
    )

    def of_kind(self, kind: str) -> DriftLimits:
        """Return the limits of one kind, its overrides applied."""
        own = self.kinds[kind].model_dump(exclude_unset=True) if kind in self.kinds else {}
        return DriftLimits.model_validate({**self.model_dump(exclude={"kinds"}), **own})


class RehearsalGate(StrEnum):
    """Gates of a candidate before it is live."""

    LOADS = "rehearsal_loads"
    SECONDS = "rehearsal_seconds"
    MEMORY = "rehearsal_memory"
    EMPTY = "rehearsal_empty"
    SHORT = "rehearsal_short"


class AnswerLimits(ClosedModel):
    """How often a kind may have no answer, or a short one."""

    max_empty_share: Share = Field(
        default=0.99, description="largest share of the last day's questions that are answered with nothing"
    )
    max_short_share: Share = Field(
        default=1, description="largest share that is answered with something, but fewer items than full_list"
    )


class RehearsalSettings(AnswerLimits):
    """Rehearsal of a candidate before the swap; the limits let every ordinary day pass."""

    mode: Mode = Field(
        default=Mode.ADVISORY, description="off, advisory or required; what no reader can load is always refused"
    )
    questions: int = Field(default=1000, ge=1, le=100_000, description="items asked for, and users")
    full_list: int = Field(default=5, ge=1, description="items that an answer should have")
    max_load_seconds: float = Field(default=60, gt=0, le=MAX_SECONDS, description="longest time that loading may take")
    max_blob_bytes: int = Field(
        default=256_000_000, ge=1, lt=2**32, description="largest blob that readers take: their Limits.blob_bytes"
    )
    max_held_bytes: int = Field(
        default=1_000_000_000, ge=1, description="most memory of one release; while readers switch they hold two"
    )
    kinds: Mapping[str, AnswerLimits] = Field(
        default_factory=dict[str, AnswerLimits], description="[gates.rehearsal.kinds.<kind>] overrides per key"
    )

    @property
    def off(self) -> bool:
        """Whether there is no rehearsal."""
        return self.mode is Mode.OFF

    def of_kind(self, kind: str) -> AnswerLimits:
        """Return how often one kind may have no answer, its overrides applied."""
        own = self.kinds[kind].model_dump(exclude_unset=True) if kind in self.kinds else {}
        return AnswerLimits(**{"max_empty_share": self.max_empty_share, "max_short_share": self.max_short_share, **own})


class BacktestSettings(ClosedModel):
    """Back-test of a candidate against the live release on the same held-out events.

    Off unless asked for: without a next day every kind is built a second time from the day's first part, and a
    target needs some hundred sessions a day before the answer means anything.
    """

    mode: Mode = Field(default=Mode.OFF, description="off, advisory or required: for all that recommends")
    required: frozenset[str] = Field(
        default=frozenset(), description='kinds, or "blend", that are required whatever `mode` says'
    )
    off: frozenset[str] = Field(
        default=frozenset(), description="kinds that are off, whatever `mode` and `required` say"
    )
    inconclusive: Mode = Field(
        default=Mode.ADVISORY, description="enforcement mode where samples are too few or the difference is not sure"
    )
    k: int = Field(default=20, ge=1, le=1000, description="length of the lists that are scored")
    delta: float = Field(default=0.2, ge=0, le=1, description="allowed loss, as a share of live's nDCG")
    min_samples: int = Field(default=200, ge=1, description="fewest sessions to say anything from")
    max_samples: int = Field(default=5000, ge=1, le=1_000_000, description="most sessions asked, chosen by the seed")
    rounds: int = Field(default=1000, ge=100, le=100_000, description="rounds of the paired bootstrap")
    level: float = Field(
        default=0.99, gt=0.5, lt=1, description="of the bootstrap's interval; five gates a night are asked"
    )
    seed: int = Field(default=1, ge=0, description="of the choice of sessions, their cuts, and the bootstrap")
    held_out_share: float = Field(
        default=0.2, gt=0, lt=1, description="share of the last day that is held out, by time, without a next day"
    )
    max_seconds: float = Field(
        default=300, gt=0, le=MAX_SECONDS, description="longest time; past it the back-test has failed"
    )

    def mode_of(self, name: str) -> Mode:
        """Return the enforcement mode of one recommender."""
        if name in self.off:
            return Mode.OFF
        return Mode.REQUIRED if name in self.required else self.mode


class CustomGate(ClosedModel):
    """A gate of your own: a pandera schema that rows keep, or SQL that finds those which break a rule."""

    pandera: str | None = Field(
        default=None, description='schema as "file.py:NAME", or the name of an entry point in recsys_assets.gates'
    )
    sql: str | None = Field(default=None, description="or a query of the table rows that returns the offending ones")
    kinds: tuple[str, ...] = Field(min_length=1, description='built or imported kinds, or "canonical": whose rows')
    targets: tuple[str, ...] = Field(default=(), description='whose, as "tenant/surface"; none: every target\'s')
    mode: Mode = Field(default=Mode.REQUIRED, description="off, advisory or required")
    max_seconds: float = Field(default=60, gt=0, le=MAX_SECONDS, description="of SQL: past it the gate has failed")

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
    """Return whether a gate may be advisory or off, and be overridden; gates of integrity may not."""
    return name in QUALITY_GATES or _NAMED.fullmatch(name) is not None


def check_modes(modes: dict[str, Mode]) -> dict[str, Mode]:
    """Return the modes if each is of a quality gate; `ValueError` names the first that is not, and those that are."""
    for name in modes:
        if not is_quality_gate(name):
            raise ValueError(
                f"{name} is no gate that may be anything but required: contract, envelope, size, rehearsal_loads and "
                f"the proof of hashes always count; known are {', '.join(QUALITY_GATES)}, backtest_<kind>, "
                "custom_<name>"
            )
    return modes


def check_names(gates: Mapping[str, CustomGate]) -> Mapping[str, CustomGate]:
    """Return the gates if their names can stand in commands and reports; `ValueError` names the first that cannot."""
    for name in gates:
        if not is_slug(name):
            raise ValueError(f"{name!r}: choose a name of letters, digits and _")
    return gates


class GateSettings(ClosedModel):
    """Limits and enforcement modes of all gates of a target."""

    min_events: int = Field(default=1, ge=0, description="fewest events of a target and day")
    min_rows: int = Field(default=1, ge=0, description="fewest rows of an artifact; 0 lets an empty one ship")
    max_left_out_share: Share = Field(
        default=0.1, description="largest share of sessions excluded as over-long, or of users as over-active"
    )
    max_duplicate_share: Share = Field(default=0.5, description="largest share of rows dropped as exact duplicates")
    day: DaySettings = Field(default=DaySettings(), description="how far a day may be from the days before it")
    catalog: CatalogSettings = Field(default=CatalogSettings(), description="how far a catalog may be from live's")
    drift: DriftSettings = Field(default=DriftSettings(), description="how far artifacts may be from the live ones")
    rehearsal: RehearsalSettings = Field(
        default=RehearsalSettings(), description="limits on the rehearsal of a candidate"
    )
    backtest: BacktestSettings = Field(default=BacktestSettings(), description="limits on the back-test of a candidate")
    custom: Annotated[Mapping[str, CustomGate], AfterValidator(check_names)] = Field(
        default_factory=dict[str, CustomGate], description="[gates.custom.<name>]: gates of your own"
    )
    modes: Annotated[dict[str, Mode], AfterValidator(check_modes)] = Field(
        default_factory=dict[str, Mode],
        description="off, advisory or required by gate, before all `mode`s; gates of integrity are always required",
    )

    @model_validator(mode="after")
    def _known_custom_gates(self) -> "GateSettings":
        for name in self.modes:
            if name.startswith(CUSTOM_GATE) and name.removeprefix(CUSTOM_GATE) not in self.custom:
                known = ", ".join(f"{CUSTOM_GATE}{one}" for one in self.custom) or "none"
                raise ValueError(
                    f"modes.{name}: there is no [gates.custom.{name.removeprefix(CUSTOM_GATE)}]; known: {known}"
                )
        return self

    @property
    def named_kinds(self) -> dict[str, str]:
        """The kinds that single settings are for, by the name of the setting."""
        kinds = {f"drift.kinds.{kind}": kind for kind in self.drift.kinds}
        kinds |= {f"rehearsal.kinds.{kind}": kind for kind in self.rehearsal.kinds}
        kinds |= {f"backtest.required {kind}": kind for kind in self.backtest.required}
        kinds |= {f"backtest.off {kind}": kind for kind in self.backtest.off}
        asked = (name for name in self.modes if name.startswith(BACKTEST_GATE))
        kinds |= {f"custom.{name}.kinds {kind}": kind for name, one in self.custom.items() for kind in one.kinds}
        return kinds | {f"modes.{name}": name.removeprefix(BACKTEST_GATE) for name in asked}
