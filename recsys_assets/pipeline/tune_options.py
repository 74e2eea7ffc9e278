"""Options that `tune` tries: kinds of neighbours with parameters varied step by step, and their configuration."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from recsys_assets.kinds.params import KindParams, TuningGrid
from recsys_assets.kinds.registry import KINDS, read_params
from recsys_assets.pipeline.build import NATIVE
from recsys_assets.settings.editing import with_parameters
from recsys_assets.settings.settings import Settings, TargetSettings

BEAM = 3  # number of best options so far that each step varies


def tuned_kinds() -> Mapping[str, TuningGrid]:
    """Return the tuning grid of each kind that has one, kinds of this package first."""
    return {name: kind.tuning for name, kind in KINDS.items() if kind.tuning is not None}


def steps() -> Mapping[str, int]:
    """Return the settings that are varied one by one, each with the largest number of values that a kind tries."""
    counts: dict[str, int] = {}
    for grid in tuned_kinds().values():
        for name, values in grid.steps.items():
            counts[name] = max(counts.get(name, 0), len(values))
    return counts


def most_options() -> int:
    """Return the maximum number of options that are tried."""
    return 1 + sum(len(grid.scores) for grid in tuned_kinds().values()) + BEAM * sum(steps().values())


def _varied() -> tuple[str, ...]:
    """Return the settings in which options differ: those of the score first, then the others."""
    scores = (name for grid in tuned_kinds().values() for values in grid.scores for name in values)
    return tuple(dict.fromkeys((*scores, *steps())))


class Option(msgspec.Struct, frozen=True):
    """One way to make neighbours: a kind and all of its parameters."""

    kind: str
    params: KindParams

    @property
    def key(self) -> str:
        """Key that distinguishes the option from every other."""
        return json.dumps([self.kind, self.params.model_dump(mode="json")], sort_keys=True)

    @property
    def varied(self) -> dict[str, Any]:
        """Values of the parameters in which options differ."""
        values = self.params.model_dump(mode="json")
        return {name: values[name] for name in _varied() if name in values}

    def changes(self, other: "Option") -> int:
        """Return the number of settings that differ. Another kind counts more than all of them."""
        mine, others, varied = self.varied, other.varied, _varied()
        return sum(mine.get(name) != others.get(name) for name in varied) + len(varied) * (self.kind != other.kind)

    def lines(self, settings: Settings, row: TargetSettings) -> str:
        """Return the lines of a configuration file that give a target this option."""
        target = f"[[targets]]\ntenant = {json.dumps(row.tenant)}\nsurface = {json.dumps(row.surface)}\n"
        return self.edit(target, settings, row)

    def edit(self, text: str, settings: Settings, row: TargetSettings) -> str:
        """Return the text of a configuration file, changed so that the target has this option."""
        now = Option(self.kind, read_params(settings, row, self.kind))
        values = {name: value for name, value in self.varied.items() if value != now.varied[name]}
        engine = self.params.engine or row.engine or settings.artifacts.engine
        if self.params.native_only and engine != NATIVE:
            values["engine"] = NATIVE
        kinds = settings.artifacts.kinds
        return with_parameters(text, row, self.kind, values, kinds=None if self.kind in kinds else [*kinds, self.kind])

    def __str__(self) -> str:
        """Return the kind and the values of the varied settings, for people."""
        shown = (f"{name} = {value}" for name, value in self.varied.items() if value not in (None, False))
        return f"{self.kind}: {', '.join(shown)}"


def configured(settings: Settings, row: TargetSettings) -> Option:
    """Return the target's option for the first configured kind that can be tuned, else for the first such kind."""
    kinds = [*tuned_kinds()]
    kind = next((name for name in kinds if name in settings.artifacts.kinds), kinds[0])
    return Option(kind, read_params(settings, row, kind))


def scores(settings: Settings, row: TargetSettings) -> Iterator[Option]:
    """Yield every score of every kind, with all other parameters as configured."""
    for kind, grid in tuned_kinds().items():
        now = Option(kind, read_params(settings, row, kind))
        for values in grid.scores:
            yield _with(now, values)


def vary(option: Option, setting: str) -> list[Option]:
    """Return the option once with each value of one setting, empty if its kind does not vary that setting."""
    return [_with(option, {setting: value}) for value in tuned_kinds()[option.kind].steps.get(setting, ())]


def _with(option: Option, values: Mapping[str, object]) -> Option:
    # Not model_copy: new values must be validated. Not model_dump: it omits engine and shards.
    current = {name: getattr(option.params, name) for name in type(option.params).model_fields}
    return Option(option.kind, type(option.params).model_validate({**current, **values}))
