"""Tuning of neighbour kinds: options are back-tested on a target's last days and ranked."""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import TypeAlias

import msgspec
import numpy as np

from recsys_assets.artifact_format import NEVER
from recsys_assets.encoding.codec import encode_content
from recsys_assets.errors import CorruptObjectError, InputError, NotFoundError
from recsys_assets.events.events import Events
from recsys_assets.identity import Window
from recsys_assets.kinds.registry import KINDS
from recsys_assets.kinds.tallies import merge_tallies, tally_day, with_ages
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.kernel_input import WindowDays, find_days, is_refused
from recsys_assets.pipeline.tune_options import (
    BEAM,
    Option,
    configured,
    most_options,
    scores,
    steps,
    vary,
)
from recsys_assets.quality import comparison, tasks
from recsys_assets.quality.comparison import Floats, paired_interval, score
from recsys_assets.quality.tasks import TASK_COLUMNS, Tasks, next_item_tasks
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_prefix, canonical_record_key, tuning_key, tuning_prefix
from recsys_assets.serving import recommending
from recsys_assets.serving.recommending import recommenders
from recsys_assets.serving.row_index import MAX_INDEXED_BYTES
from recsys_assets.serving.served import prove
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})\.parquet")
NEAR = 0.01
_MAX_RESULT_BYTES = 100_000_000  # limit for one stored result
_LEVEL = 0.95

Report: TypeAlias = Callable[[str], None]


class OptionResult(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one option on one held-out day: nDCG and hits of each session, bytes and seconds of the build."""

    gains: list[float]
    hits: list[float]
    answered: float
    coverage: float
    size: int
    seconds: float


class Tuned(msgspec.Struct, frozen=True):
    """Result of one option over all held-out days. `low` and `high` bound its nDCG minus the configured option's."""

    option: Option
    ndcg: float
    hit_rate: float
    unanswered: float
    coverage: float
    size: int  # bytes of the largest build
    seconds: float  # average of a build
    difference: float
    low: float
    high: float
    too_large: bool  # over max_bytes, and shards are off

    @property
    def is_surely_better(self) -> bool:
        """Whether the whole interval is above the configured option."""
        return self.low > 0


class Tuning(msgspec.Struct, frozen=True):
    """All tried options, best first, with the configured option, the held-out days and the number of sessions."""

    options: tuple[Tuned, ...]
    configured: Option
    days: tuple[date, ...]
    sessions: int

    @property
    def winner(self) -> Tuned:
        """The recommended option: the one with the fewest changes, of those that can ship and are as good as the best.

        An option is as good if its nDCG is within the share `NEAR` of the best: a smaller gain is noise, and every
        changed setting has to be maintained.
        """
        able = [tuned for tuned in self.options if not tuned.too_large] or self.options
        near = [tuned for tuned in able if tuned.ndcg >= able[0].ndcg * (1 - NEAR)]
        return min(near, key=lambda tuned: tuned.option.changes(self.configured))


def tune(
    store: ObjectStore, settings: Settings, row: TargetSettings, *, days: int, end: date | None = None, report: Report
) -> Tuning:
    """Back-test options for neighbours on the last `days` days with events up to `end`, and return them best first.

    Each option is built from the days before each held-out day, and then predicts the next items of that day's sessions
    through the reader's lookups. At most `most_options` are tried: first every score, then, setting by setting, every
    value with the best `BEAM` options so far. Each result is stored at once, so an interrupted call resumes. Nothing
    else in the store changes. `report` is called before each build.

    Raises `InputError` if there are not two days with events.
    """
    run = _TuningRun(store, settings, row, report=report, held_out=_held_out(store, settings, row, days=days, end=end))
    now = configured(settings, row)
    run.measure([now, *scores(settings, row)])
    for setting in steps():
        run.measure([option for best in run.best(BEAM) for option in vary(best, setting)])
    run.delete_unused()
    results = [run.tuned(option, now) for option in run.options]
    ranked = sorted(results, key=lambda tuned: (-tuned.ndcg, tuned.option.key))
    return Tuning(tuple(ranked), now, tuple(run.days), len(run.gains(now)))


def _held_out(
    store: ObjectStore, settings: Settings, row: TargetSettings, *, days: int, end: date | None
) -> dict[date, CanonicalRecord]:
    """Return the last days with events that were not refused. The first stored day is excluded: no day precedes it."""
    prefix = canonical_prefix(row.target)
    names = (_DAY.fullmatch(item.key.removeprefix(prefix)) for item in store.list(prefix))  # None for other files
    stored = sorted(date.fromisoformat(name[1]) for name in names if name)
    candidates = [day for day in stored if end is None or day <= end]
    held_out: dict[date, CanonicalRecord] = {}
    for day in reversed(candidates[1:]):
        record = find_document(store, canonical_record_key(row.target, day), CanonicalRecord)
        if record and record.rows and not is_refused(DayContext(store, settings, row, day), day, record):
            held_out[day] = record
        if len(held_out) == days:
            break
    if not held_out:
        raise InputError(
            f"{row.target}: options are compared on a day after the first one, and there is none with events"
            f"{f' up to {end}' if end else ''}: build two days (recsys-assets run), then retry"
        )
    return dict(sorted(held_out.items()))


@dataclass(slots=True)
class _TuningRun:
    """One call of `tune`: the options, their results on the held-out days, and caches of tasks and tallies."""

    store: ObjectStore
    settings: Settings
    row: TargetSettings
    report: Report
    held_out: Mapping[date, CanonicalRecord]
    results: dict[tuple[str, date], OptionResult] = field(default_factory=dict[tuple[str, date], OptionResult])
    options: list[Option] = field(default_factory=list[Option])
    used: set[str] = field(default_factory=set[str])
    tasks: dict[date, Tasks] = field(default_factory=dict[date, Tasks])
    tallies: dict[tuple[str, date], Events] = field(default_factory=dict[tuple[str, date], Events])

    @property
    def days(self) -> list[date]:
        """The held-out days on which every option has a result."""
        return [day for day in self.held_out if all((option.key, day) in self.results for option in self.options)]

    def measure(self, options: Iterable[Option]) -> None:
        """Measure options that have no result yet, each on every day."""
        measured = {option.key for option in self.options}
        unique = {option.key: option for option in options}
        new = [option for key, option in unique.items() if key not in measured]
        self.options += new
        most = most_options()
        for number, option in enumerate(new, start=1):
            for day, record in self.held_out.items():
                self.report(f"option {len(measured) + number} of at most {most}: {option}, {day}")
                self.results[option.key, day] = self._result(option, day, record)

    def best(self, count: int) -> list[Option]:
        """Return the best options so far."""
        return sorted(self.options, key=lambda option: (-float(self.gains(option).mean()), option.key))[:count]

    def gains(self, option: Option) -> Floats:
        """Return the nDCG of every session (float64), day by day."""
        return np.concatenate([np.array(self.results[option.key, day].gains, np.float64) for day in self.held_out])

    def tuned(self, option: Option, configured: Option) -> Tuned:
        """Return the result of an option over all days."""
        results = [self.results[option.key, day] for day in self.held_out]
        sessions = [len(result.gains) for result in results]
        gains, hits = self.gains(option), np.concatenate([result.hits for result in results])
        differences = gains - self.gains(configured)
        limits = self.settings.gates_for(self.row).backtest
        low, high = paired_interval(differences, rounds=limits.rounds, seed=limits.seed, level=_LEVEL)
        size = max(result.size for result in results)
        return Tuned(
            option,
            ndcg=float(gains.mean()) if len(gains) else 0.0,
            hit_rate=float(hits.mean()) if len(hits) else 0.0,
            unanswered=1 - float(np.average([result.answered for result in results], weights=sessions))
            if sum(sessions)
            else 1.0,
            coverage=float(np.mean([result.coverage for result in results])),
            size=size,
            seconds=float(np.mean([result.seconds for result in results])),
            difference=float(differences.mean()) if len(differences) else 0.0,
            low=low,
            high=high,
            too_large=option.params.shards == NEVER and size > option.params.max_bytes,
        )

    def delete_unused(self) -> None:
        """Delete stored results of other days, options and code, which are never read again."""
        for item in self.store.list(tuning_prefix(self.row.target)):
            if item.key not in self.used:
                self.store.delete(item.key)

    def _result(self, option: Option, day: date, record: CanonicalRecord) -> OptionResult:
        """Return a stored result, or measure and store it."""
        window = Window.ending(day - timedelta(days=1), days=option.params.window_days)
        days = self._window(window)
        limits = self.settings.gates_for(self.row).backtest
        inputs = [used.digest for used in days.inputs] if days else []
        address = [option.key, record.digest, inputs, limits.k, limits.max_samples, limits.seed, _code(option.kind)]
        key = tuning_key(self.row.target, hashlib.sha256(json.dumps(address).encode()).hexdigest())
        self.used.add(key)
        try:
            return msgspec.json.decode(self.store.get(key, max_bytes=_MAX_RESULT_BYTES).data, type=OptionResult)
        except (NotFoundError, CorruptObjectError, msgspec.DecodeError):
            result = self._measure(option, day, window, days)
        self.store.put(key, msgspec.json.encode(result))
        return result

    def _window(self, window: Window) -> WindowDays | None:
        try:
            return find_days(DayContext(self.store, self.settings, self.row, window.last), window)
        except InputError:
            return None  # no events in the window: the recommender stays empty

    def _measure(self, option: Option, day: date, window: Window, days: WindowDays | None) -> OptionResult:
        limits = self.settings.gates_for(self.row).backtest
        size, seconds, recommender = 0, 0.0, recommending.Recommender()
        if days is not None:
            kind, target = KINDS[option.kind], self.row.target
            records = sorted(days.records.items())
            tallies = [self._tally(option, day_of_tally, record) for day_of_tally, record in records]
            events = merge_tallies(
                with_ages(tallies, [(window.last - day_of_tally).days for day_of_tally, _ in records])
            )
            started = perf_counter()
            rows = kind.build(events, option.params, self.settings.limits).rows
            blob = encode_content(rows, kind=kind.name, target=target, window=window, max_bytes=MAX_INDEXED_BYTES)
            size, seconds = blob.ref.size, perf_counter() - started
            served = prove(target, kind.name, blob.ref.version, blob.data, name=str(option))
            recommender = recommenders({kind.name: served.rows} if served.rows else {}).get(kind.name, recommender)
        scores = score(recommender, self._tasks(day), k=limits.k)
        return OptionResult(
            gains=scores.gains.tolist(),
            hits=scores.hits.tolist(),
            answered=scores.answered,
            coverage=scores.coverage,
            size=size,
            seconds=seconds,
        )

    def _tasks(self, day: date) -> Tasks:
        if day not in self.tasks:
            limits = self.settings.gates_for(self.row).backtest
            events = read_events(self.store, self.row.target, day, self.held_out[day], columns=TASK_COLUMNS)
            self.tasks[day] = next_item_tasks(events, limit=limits.max_samples, seed=limits.seed)
        return self.tasks[day]

    def _tally(self, option: Option, day: date, record: CanonicalRecord) -> Events:
        """Return a day's tally from memory, or make it. Tallies in the store are only for windows that ship."""
        columns = KINDS[option.kind].reading(option.params).event_columns
        key = (" ".join(columns), day)
        if key not in self.tallies:
            self.tallies[key] = tally_day(
                read_events(self.store, self.row.target, day, record, columns=columns), columns
            )
        return self.tallies[key]


@cache
def _code(kind: str) -> str:
    """Return a digest of the source code that builds and scores neighbours. Results of other code are not reused."""
    files = [inspect.getsourcefile(source) for source in (KINDS[kind].kernel, comparison, tasks, recommending)]
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files if file)).hexdigest()
