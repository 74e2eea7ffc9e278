"""Gates of a candidate as a whole, and its rehearsal: loaded like in a reader, and queried with the day's events."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from time import perf_counter
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.evidence import GateReport
from recsys_assets.gates.candidate import BACKTEST, REHEARSAL, NotLoaded, RehearsalAnswers, Rehearsed
from recsys_assets.gates.gate import Policy
from recsys_assets.gates.policy import backtest_policy, rehearsal_policy
from recsys_assets.identity import Target, Window
from recsys_assets.kind_descriptions import VectorShape
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.run_backtest import backtest_day
from recsys_assets.release.document_encoding import find_document, if_readable
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_record_key
from recsys_assets.release.pointer import release_id_of
from recsys_assets.release.staged import find_readable_artifact, find_report_together, is_left_out, keep_report_together
from recsys_assets.serving.loading import Limits, load_trial
from recsys_assets.serving.recommending import Ids
from recsys_assets.serving.row_index import Lookup
from recsys_assets.serving.served import Neighbors, TaggedItem, UserItems
from recsys_assets.settings.gates import RehearsalSettings
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

_MAX_RELEASE_BYTES = 2**40
_POLICIES: Final[Mapping[str, Callable[[Settings, TargetSettings], Policy[Any]]]] = {
    REHEARSAL: rehearsal_policy,
    BACKTEST: backtest_policy,
}


class Questions(msgspec.Struct, frozen=True):
    """Queries of a rehearsal: item ids and user ids of a day's events, each as often as it occurs in the sample."""

    items: Sequence[str]
    users: Sequence[str]


def rehearse_day(context: DayContext, versions: Mapping[str, str]) -> GateReport:
    """Rehearse the release of `versions` (by kind) with queries from the day's events, and return the gate report.

    The queries are sampled at even distances in the canonical order, so the same day always gives the same queries.
    """
    store, settings, row, day = context.store, context.settings, context.row, context.day
    limits = settings.gates_for(row).rehearsal
    policy = rehearsal_policy(settings, row)
    questions = read_questions(store, row.target, day, limit=limits.questions)
    outcome = rehearse(store, row.target, versions, questions=questions, settings=limits, at=Window(day, day).end)
    numbers = outcome.numbers if isinstance(outcome, Rehearsed) else {}
    return policy.judge(release_id_of(row.target, versions), outcome, numbers=numbers)


def read_questions(store: ObjectStore, target: Target, day: date, *, limit: int) -> Questions:
    """Return at most `limit` items and at most `limit` users of a canonical day, and none if the day does not exist."""
    record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
    if record is None:
        return Questions((), ())
    events = read_events(store, target, day, record, columns=("item_id", "user_id"))
    return Questions(*(_sample(events.codes[name], events.ids[name], limit) for name in ("item_id", "user_id")))


def rehearse(
    store: ObjectStore,
    target: Target,
    versions: Mapping[str, str],
    *,
    questions: Questions,
    settings: RehearsalSettings,
    at: datetime,
) -> Rehearsed | NotLoaded:
    """Load a release like a reader, and count the responses of each kind.

    Returns `NotLoaded` if a reader would refuse it.
    """
    limits = Limits(
        blob_bytes=settings.max_blob_bytes, release_bytes=_MAX_RELEASE_BYTES
    )  # memory is limited by a separate gate
    started = perf_counter()
    try:
        snapshot = load_trial(store, target, versions, at=at, limits=limits)
        seconds = perf_counter() - started
        answers = {
            kind: _query(artifact.rows, questions, settings.full_list)
            for kind, artifact in snapshot.artifacts.items()
            if artifact.rows is not None
        }
        answers |= {kind: _query_vectors(snapshot.arrays(kind), shape, questions) for kind, shape in _vectors(versions)}
    except (CorruptObjectError, NotFoundError) as error:  # a shard may be loaded only when it is queried
        return NotLoaded(str(error))
    return Rehearsed(seconds, snapshot.size, snapshot.held_bytes, answers)


def _sample(codes: pl.Series, ids: pl.Series, limit: int) -> list[str]:
    """Return the ids of at most `limit` rows at even distances. Rows without an id are skipped."""
    present = codes.drop_nulls()
    count = min(limit, len(present))
    positions = np.arange(count, dtype=np.int64) * len(present) // max(count, 1)
    return ids.gather(present.gather(positions)).to_list()


def _query(rows: Lookup[Any], questions: Questions, full_list: int) -> RehearsalAnswers:
    """Query a kind for every item or user. A single-list kind is queried once."""
    if rows.form.close == b"}":
        return _count([len(rows)], full_list)
    ids = questions.users if rows.form.key == "user_id" else questions.items
    return _count([_length(rows.find(id_), full_list) for id_ in ids], full_list)


def _vectors(kinds: Iterable[str]) -> Iterator[tuple[str, VectorShape]]:
    """Yield the kinds whose content is vectors, with their shape. Imported arrays of other teams are skipped."""
    for kind in kinds:
        shape = KINDS[kind].shape if kind in KINDS else None
        if isinstance(shape, VectorShape):
            yield kind, shape


def _query_vectors(arrays: Mapping[str, Any], shape: VectorShape, questions: Questions) -> RehearsalAnswers:
    """Query a kind for the vector of every item and user. Each vector counts as a full response."""
    queries = {"item_id": questions.items, "user_id": questions.users}
    hits = [
        ids.find(query) is not None
        for column in shape.tables.keys() & queries.keys()
        for ids in [Ids.of(arrays, column)]
        for query in queries[column]
    ]
    return RehearsalAnswers(asked=len(hits), empty=hits.count(False), short=0)


def _length(row: object, full_list: int) -> int:
    """Return the number of items in a row. Any number of tags counts as a full list."""
    match row:
        case Neighbors() | UserItems():
            return len(row.items)
        case TaggedItem():
            return full_list if row.tags else 0
        case _:
            return 0


def _count(lengths: Sequence[int], full_list: int) -> RehearsalAnswers:
    return RehearsalAnswers(
        asked=len(lengths),
        empty=sum(1 for length in lengths if length == 0),
        short=sum(1 for length in lengths if 0 < length < full_list),
    )


Judge = Callable[[DayContext, Mapping[str, str]], GateReport]

_JUDGES: Final[Mapping[str, Judge]] = {REHEARSAL: rehearse_day, BACKTEST: backtest_day}


def whole_policies(settings: Settings, row: TargetSettings) -> list[Policy[Any]]:
    """Return the policies that judge a candidate of this target as a whole. Those without gates are omitted."""
    policies = [make(settings, row) for make in _POLICIES.values()]
    return [policy for policy in policies if policy.gates]


def judge_whole(context: DayContext, *, only_missing: bool = False) -> list[GateReport]:
    """Judge the staged artifacts of a day as a whole, store the reports for publishing, and return them.

    With `only_missing`, subjects with a report on exactly these artifacts and today's limits are skipped. If an
    artifact is missing or cannot be read, nothing is judged and the result is empty: publishing reports the error.
    """
    store, row, day = context.store, context.row, context.day
    versions = _staged_versions(context)
    if versions is None:
        return []
    reports: list[GateReport] = []
    for policy in whole_policies(context.settings, row):
        basis = (release_id_of(row.target, versions), policy.digest)
        if only_missing and _basis_of_report(context, policy.subject) == basis:
            continue
        report = _JUDGES[policy.subject](context, versions)
        keep_report_together(store, row.target, day, report)
        reports.append(report)
    return reports


def _basis_of_report(context: DayContext, subject: str) -> tuple[str, str] | None:
    report = if_readable(partial(find_report_together, context.store, context.target, context.day, subject))
    return (report.version, report.policy) if report else None  # a damaged report is replaced


def _staged_versions(context: DayContext) -> dict[str, str] | None:
    versions: dict[str, str] = {}
    for kind in context.settings.kinds_for(context.row):
        staged = find_readable_artifact(context.store, context.target, context.day, kind)
        if staged is None:
            return None
        if is_left_out(context.store, context.target, context.day, staged):
            continue
        versions |= {ref.kind: ref.version for ref in staged.named}
    return versions or None
