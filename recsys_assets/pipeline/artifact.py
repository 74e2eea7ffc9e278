"""Artifact stage: builds one immutable blob from a window of days or the catalog, with reference and gate report."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from functools import cache
from importlib.metadata import version
from itertools import islice

import msgspec
import polars as pl
from msgspec import UNSET
from msgspec.structs import replace

from recsys_assets.artifact_format import index_kind
from recsys_assets.encoding.rows import Rows, columns_of_rows
from recsys_assets.encoding.safetensors_codec import Vectors
from recsys_assets.errors import ConflictError
from recsys_assets.evidence import GateReport, Scalar
from recsys_assets.gates.artifact import ArtifactFacts
from recsys_assets.gates.policy import artifact_policy
from recsys_assets.identity import Target, Window, rfc3339
from recsys_assets.kinds.contracts import check_content
from recsys_assets.kinds.registry import KINDS, read_params
from recsys_assets.pipeline.baseline import catalog_change_of, drift_of, require_day
from recsys_assets.pipeline.build import make_artifact
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.records import fact_of_key
from recsys_assets.pipeline.stored_artifact import BuildResult, BuildSpec, read_staged
from recsys_assets.release.blocking import blocked_ids
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.documents import Build, CanonicalRecord, StagedArtifact
from recsys_assets.release.forgotten_users import ForgottenUsers, read_forgotten_of
from recsys_assets.release.layout import (
    TALLIES,
    canonical_key,
    canonical_record_key,
)
from recsys_assets.release.pointer import read_current
from recsys_assets.release.staged import (
    find_staged_artifact,
    keep_report,
    read_staged_location,
    remove_staged,
)
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.store import ObjectStore

PREVIEW_ROWS = 10
LIBRARIES = ("dagster", "numba", "numpy", "pandera", "polars", "pyarrow")


class ArtifactBuilt(msgspec.Struct, frozen=True):
    """One artifact as it was staged, its first rows, and whether its blob existed already."""

    staged: StagedArtifact
    preview: pl.DataFrame
    reused: bool

    @property
    def numbers(self) -> Mapping[str, Scalar]:
        """Numbers that are shown and plotted over days."""
        staged = self.staged
        size = sum(ref.size for ref in staged.refs)
        window = f"{staged.window_first} to {staged.window_last}"
        return {"version": staged.ref.version, "bytes": size, "window": window, "reused": self.reused, **staged.facts}


def build_artifact(context: DayContext, kind_name: str, *, judged: bool = False) -> ArtifactBuilt:
    """Build one kind for the window that ends with the day. Equal content is the same blob, written once.

    With `judged`, its gates evaluate the stored blob at once, and reference and report are written together.
    `find_own_report` returns that report to the run. Raises `InputError` when the day itself has no canonical events,
    `LimitExceededError` before work that cannot fit, `ConflictError` if a user was forgotten during the build, and what
    `make_artifact` raises.
    """
    built = _build(context, kind_name)
    if judged:
        report = _judge(context, kind_name, built.staged)
        built = replace(built, staged=msgspec.structs.replace(built.staged, gates=report))
    context.stage(built.staged)
    if not (context.is_whole_run or KINDS[kind_name].from_catalog):
        forgotten = read_forgotten_of(context.origin, context.target)
        if withdraw_forgotten(context, [kind_name], forgotten):
            raise ConflictError(f"{context.target}: {kind_name} was built while a user was forgotten: build it again")
    return built


def _build(context: DayContext, kind_name: str) -> ArtifactBuilt:
    """Write the objects of an artifact, and return the staged reference to them."""
    row, day = context.row, context.day
    kind, params = KINDS[kind_name], read_params(context.settings, row, kind_name)
    window = Window.ending(day, days=params.window_days)
    record = require_day(context.store, row.target, day)
    blocked = blocked_ids(context.store, row.target, now=context.now())
    built = make_artifact(context, BuildSpec(row, kind, params, window, blocked))
    staged = StagedArtifact(
        ref=built.stored.ref,
        window_first=window.first.isoformat(),
        window_last=window.last.isoformat(),
        inputs=built.inputs,
        facts=_facts(built, window)
        | ({"blocked_items": len(blocked)} if blocked else {})
        | ({} if kind.from_catalog else fact_of_key(record)),
        build=build_info(context.settings, context.run_id),
        shards=built.stored.shards,
    )
    preview = head(built.first, PREVIEW_ROWS) if built.first else pl.DataFrame(schema=kind.columns)
    return ArtifactBuilt(staged, preview, built.stored.reused)


def withdraw_forgotten(context: DayContext, kinds: Iterable[str], forgotten: ForgottenUsers) -> list[str]:
    """Withdraw staged artifacts of these kinds that were built from a day of which a user has been erased since.

    A `forget` that ended during their build could not see them. `forgotten` must be read after they were staged. If
    any artifact is withdrawn, the target's tallies are deleted too. Returns the kinds that must be built again.
    """
    store, target = context.origin, context.target
    digests: dict[str, str] = {}

    def is_stale(staged: StagedArtifact) -> bool:
        used = {item.name: item.digest for item in staged.inputs}
        window = Window(date.fromisoformat(staged.window_first), date.fromisoformat(staged.window_last))
        for day in window.days:
            key = canonical_key(target, day)
            if key in used and key not in digests:
                record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
                digests[key] = used[key] if record is None else record.digest
        return any(digests.get(key, digest) != digest for key, digest in used.items())

    withdrawn: list[str] = []
    for kind in kinds if forgotten else ():
        staged = find_staged_artifact(context.store, target, context.day, kind)
        if staged is not None and is_stale(staged):
            remove_staged(context.store, target, context.day, kind)
            withdrawn.append(kind)
    if withdrawn:
        for item in store.list(f"{TALLIES}{target.tenant}/{target.surface}/"):
            store.delete(item.key)
    return withdrawn


def judge_artifact(context: DayContext, kind_name: str) -> GateReport:
    """Evaluate the gates on the stored blob, store the report with the staged reference, and return it.

    Raises `ConflictError` if the artifact was rebuilt in the meantime.
    """
    location = read_staged_location(context.store, context.target, context.day, kind_name)
    report = _judge(context, kind_name, location.artifact)
    keep_report(context.store, location.artifact, report, over=location)
    return report


def find_own_report(context: DayContext, kind_name: str) -> GateReport | None:
    """Return the gate report of an artifact if this same run built and judged it by the current limits, else None."""
    staged = find_staged_artifact(context.store, context.target, context.day, kind_name)
    if staged is None or staged.gates is UNSET or staged.build.run_id != context.run_id:
        return None
    params = read_params(context.settings, context.row, kind_name)
    policy = artifact_policy(context.settings, context.row, kind_name, params)
    return staged.gates if staged.gates.policy == policy.digest else None


def _judge(context: DayContext, kind_name: str, staged: StagedArtifact) -> GateReport:
    store, settings, row, day = context.store, context.settings, context.row, context.day
    kind, params = KINDS[kind_name], read_params(settings, row, kind_name)
    window = Window.ending(day, days=params.window_days)
    envelope, rows = read_staged(store, row.target, staged, kind.shape)
    policy = artifact_policy(settings, row, kind.name, params)
    facts = ArtifactFacts(
        version=staged.ref.version,
        size=max(ref.size for ref in staged.refs),
        rows=len(rows),
        envelope={
            "kind": envelope.kind,
            "tenant": envelope.tenant,
            "surface": envelope.surface,
            "segment": envelope.segment,
            "window_start": envelope.window_start,
            "window_end": envelope.window_end,
        },
        expected_window={"window_start": rfc3339(window.start), "window_end": rfc3339(window.end)},
        days=int(staged.facts.get("days") or 0),
        left_out_share=float(staged.facts.get("left_out_share") or 0.0),
        bad_catalog_share=float(staged.facts.get("bad_catalog_share") or 0.0),
        bad_catalog_rows=str(staged.facts.get("bad_catalog_reasons") or ""),
        contract=check_content(rows, params),
        drift=drift_of(context, kind.name, rows, policy),
        catalog=catalog_change_of(context, kind.name, rows) if kind.from_catalog else None,
        is_live=len(rows) == 0 and _is_live(store, row.target, kind.name),
        content=rows,
    )
    return policy.judge(facts.version, facts)


def _is_live(store: ObjectStore, target: Target, kind: str) -> bool:
    current = read_current(store, target)
    return current is not None and not {kind, index_kind(kind)}.isdisjoint(current.versions)


def build_info(settings: Settings, run_id: str) -> Build:
    """Return the provenance of a build: run, hash of the configuration, package version and library versions."""
    return Build(
        run_id=run_id,
        config=settings.digest,
        code=_installed("recsys-assets"),
        libraries={name: _installed(name) for name in LIBRARIES},
    )


@cache
def _installed(distribution: str) -> str:
    """Return the version of a package. Cached, because each lookup reads and parses a file."""
    return version(distribution)


def head(rows: Rows | Vectors, limit: int) -> pl.DataFrame:
    """Return the first `limit` members of an artifact as a readable table."""
    if isinstance(rows, Vectors):
        return rows.frame(limit // len(rows.tables))
    return pl.DataFrame(list(islice(_readable(rows), limit)), columns_of_rows(rows.shape), orient="row")


def _readable(rows: Rows) -> Iterator[tuple[Scalar, ...]]:
    """Yield the rows of `Rows.frame` one by one."""
    shape, width = rows.shape, 2 if rows.shape.value else 1
    for number in range(len(rows.offsets) - 1):
        key = (rows.key_ids[int(rows.keys[number])],) if shape.key else ()
        first, last = rows.offsets[number : number + 2].tolist()
        if first == last and shape.key:
            yield (*key, *[None] * width)
        for position in range(first, last):
            value = int(rows.values[position])
            member = (rows.member_ids[int(rows.members[position])], value if shape.scale == 1 else value / shape.scale)
            yield (*key, *member[:width])


def _facts(built: BuildResult, window: Window) -> dict[str, Scalar]:
    left = built.left_out
    facts: dict[str, Scalar] = {"rows": built.lists, **built.numbers}
    if built.events is not None:
        facts["events"] = built.events
    facts["days"] = len(window.days) - len(built.missing) - len(built.refused)
    if built.missing:
        facts["missing_days"] = ", ".join(day.isoformat() for day in built.missing)
    if built.refused:
        facts["refused_days"] = ", ".join(day.isoformat() for day in built.refused)
    if left.what:
        facts |= {f"left_out_{left.what}": left.groups, "left_out_events": left.events, "left_out_share": left.share}
    return facts
