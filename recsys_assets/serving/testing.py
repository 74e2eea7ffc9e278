"""Fixture for tests: a real release from a few rows, written, gated and shipped as by the pipeline."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any, Final

from msgspec import structs

from recsys_assets.artifact_format import ESCAPES, head_of, seal, shard_of
from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import CANONICAL, Finding, GateReport, Verdict
from recsys_assets.identity import ArtifactRef, Target, Window, utc_now
from recsys_assets.kind_descriptions import Shape, describe
from recsys_assets.release.candidate import Requirement
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.documents import Build, CanonicalRecord, Input, Shards, StagedArtifact
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.layout import (
    blob_key,
    canonical_key,
    canonical_record_key,
    staged_key,
)
from recsys_assets.release.publish import PublishOutcome, publish
from recsys_assets.release.rollout import Plan
from recsys_assets.release.shards import Shard, make_index
from recsys_assets.serving.served import FORMS, prove
from recsys_assets.storage.store import ObjectStore

DAY: Final = date(2026, 1, 1)
_GATE = "fixture"
_POLICY = hashlib.sha256(_GATE.encode()).hexdigest()
_BUILD = Build(run_id=_GATE, config=_POLICY, code=_GATE)

Counts = Mapping[str, float]
Rows = Counts | Mapping[str, Counts] | Mapping[str, Sequence[str]]


def publish_fixture(
    store: ObjectStore,
    tenant: str,
    surface: str,
    artifacts: Mapping[str, Rows],
    *,
    shards: Mapping[str, int] | None = None,
    day: date = DAY,
    now: Clock = utc_now,
    plan: Plan | None = None,
) -> PublishOutcome:
    """Ship a release with these artifacts and return the outcome. Readers of the store then serve it.

    `artifacts` maps kinds to rows: `popularity` to `{item: count}`, `cooc` and `item_seq` to `{item: {item: count}}`,
    `implicit` and `session_seq` to `{user: {item: score}}`, `content_sim` to `{item: [tag, ...]}`. Rows are sorted as
    the pipeline sorts them. A kind in `shards` is split into that number of shards, without a single object. As in
    production, a day before that of the live release does not ship. With a `plan` the release is rolled out as a
    candidate. Raises `ConfigurationError` for an unknown kind.
    """
    target = Target(tenant, surface)
    used = _put_canonical_day(store, target, day, content=json.dumps(artifacts, sort_keys=True))
    for kind, rows in artifacts.items():
        count = (shards or {}).get(kind)
        put = _put_artifact if count is None else partial(_put_shards, count=count)
        staged = put(store, target, Window(day, day), kind, rows)
        staged = structs.replace(staged, inputs=(used,), gates=_report(kind, staged.ref.version))
        store.put(staged_key(target, day, kind), encode(staged))
    return publish(
        store,
        target,
        day,
        kinds=tuple(artifacts),
        requirements={subject: Requirement(_POLICY, frozenset({_GATE})) for subject in (*artifacts, CANONICAL)},
        build=_BUILD,
        by=Actor(_GATE, "a test's fixture"),
        now=now,
        plan=plan,
    )


def _encoded(target: Target, kind: str, window: Window, rows: Rows) -> tuple[bytes, str]:
    """Return the artifact's bytes as the pipeline's codec writes them, and their version."""
    head = head_of(_shape(kind).body, kind=kind, target=target, window=window)
    body = json.dumps(_rows(_shape(kind), rows), ensure_ascii=False, separators=(",", ":")).translate(ESCAPES)
    return seal(head + body.encode(), window)


def _shape(kind: str) -> Shape:
    description = describe(kind)
    if description is None or not isinstance(description.shape, Shape):
        raise ConfigurationError(f"a fixture of kind {kind!r}: expected one of {', '.join(FORMS)}")
    return description.shape


def _put_artifact(store: ObjectStore, target: Target, window: Window, kind: str, rows: Rows) -> StagedArtifact:
    return _staged(_put_blob(store, target, window, kind, rows), window, rows=len(rows))


def _put_shards(
    store: ObjectStore, target: Target, window: Window, kind: str, rows: Any, *, count: int
) -> StagedArtifact:
    """Put each row into the shard of the hash of its key, and write the index of all shards."""
    parts: list[Rows] = [{key: rows[key] for key in rows if shard_of(key, count) == n} for n in range(count)]
    refs = tuple(_put_blob(store, target, window, kind, part) for part in parts)
    listed = [Shard.of(ref, rows=len(part)) for ref, part in zip(refs, parts, strict=True)]
    ref, data = make_index(target, kind, window, key=_shape(kind).row_id, shards=listed, whole=None)
    store.put(blob_key(target, ref.kind, ref.version), data)
    return structs.replace(_staged(ref, window, rows=len(rows)), shards=Shards(refs=refs))


def _put_blob(store: ObjectStore, target: Target, window: Window, kind: str, rows: Rows) -> ArtifactRef:
    data, version = _encoded(target, kind, window, rows)
    prove(target, kind, version, data, name=f"the fixture of {kind}")  # a fixture must be readable by a reader
    store.put(blob_key(target, kind, version), data)
    return ArtifactRef(kind, version, len(data), hashlib.sha256(data).hexdigest())


def _staged(ref: ArtifactRef, window: Window, *, rows: int) -> StagedArtifact:
    first, last = window.first.isoformat(), window.last.isoformat()
    return StagedArtifact(ref=ref, window_first=first, window_last=last, inputs=(), facts={"rows": rows}, build=_BUILD)


def _put_canonical_day(store: ObjectStore, target: Target, day: date, *, content: str) -> Input:
    """Put the canonical record of the day from which these artifacts are built, with its gate report."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    source = Input(name=f"{_GATE}.jsonl", digest=digest, size=len(content))
    record = CanonicalRecord(
        digest=digest,
        size=len(content),
        rows=1,
        events=1,
        duplicates=0,
        bad=0,
        rejects={},
        inputs=(source,),
        gates=_report(CANONICAL, digest),
    )
    store.put(canonical_record_key(target, day), encode(record))
    return Input(name=canonical_key(target, day), digest=digest, size=len(content))


def _report(subject: str, version: str) -> GateReport:
    finding = Finding(_GATE, Verdict.PASSED, 1, {}, "made by a test")
    return GateReport(subject, version, (finding,), policy=_POLICY)


def _ranked(counts: Counts, value: str) -> list[dict[str, Any]]:
    best_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"item_id": item, value: _number(count)} for item, count in best_first]


def _number(value: float) -> float | int:
    """Write 3.0 as 3, as the pipeline does."""
    return int(value) if float(value).is_integer() else value


def _rows(shape: Shape, rows: Any) -> list[dict[str, Any]]:
    """Return rows in a kind's shape from those of a test, sorted as the pipeline sorts them."""
    if shape.key is None:
        return _ranked(rows, shape.value or "")
    return [{shape.key: key, shape.entries or "": _list(shape, rows[key])} for key in sorted(rows)]


def _list(shape: Shape, members: Any) -> list[Any]:
    return _ranked(members, shape.value) if shape.value else list(members)
