"""Import of a file that another team built for a day: an immutable blob, its reference and its gate report."""

import hashlib
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import polars as pl
from msgspec import UNSET

from recsys_assets.artifact_format import Blob
from recsys_assets.errors import CorruptObjectError, InputError, InvalidNodeError, NotFoundError
from recsys_assets.evidence import GateReport, Scalar
from recsys_assets.gates.imported import ImportFacts, Previous, find_rules, import_policy
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.imports.contract import FileContent
from recsys_assets.imports.inspecting import inspect
from recsys_assets.ingest.sources.discovery import find_dropped, read_whole
from recsys_assets.pipeline.artifact import ArtifactBuilt, build_info
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.stored_artifact import keep_blob
from recsys_assets.release import journal
from recsys_assets.release.documents import STAGED_FORMAT, Input, JournalEntry, StagedArtifact
from recsys_assets.release.journal import Actor, this_account
from recsys_assets.release.layout import blob_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.recovery import record_unmoved
from recsys_assets.release.releases import read_release
from recsys_assets.release.shards import read_blob
from recsys_assets.release.staged import (
    find_readable_artifact,
    find_staged_artifact,
    keep_report,
    put_staged,
    read_staged_location,
)
from recsys_assets.settings.artifacts import ImportSettings
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

if TYPE_CHECKING:
    from recsys_assets.ingest.sources.parquet import Seekable

FIELDS = "fields"  # name of the fact with the fields of a file, as JSON


class ReceivedFile(msgspec.Struct, frozen=True):
    """One file as read and inspected: the blob that it will become, its content, and its source."""

    blob: Blob
    content: FileContent
    source: Input


def receive(file: "Seekable", rules: ImportSettings, *, kind: str) -> ReceivedFile:
    """Read a file and check that it matches its format.

    Raises `InputError` if it is empty, does not match, or changed while it was read, and `LimitExceededError` before
    reading or unpacking more than allowed.
    """
    data, digest = read_whole(file, max_bytes=rules.max_bytes, key=f"imports.{kind}")
    if not data:
        raise InputError(f"{file.name} is empty: drop a file that holds something")
    content = inspect(data, rules.format, name=file.name, max_unpacked_bytes=rules.max_unpacked_bytes)
    sha256 = hashlib.sha256(data).hexdigest()
    ref = ArtifactRef(kind, f"{sha256}.{rules.form}", len(data), sha256)
    return ReceivedFile(Blob(ref, data), content, Input(name=file.name, digest=digest, size=len(data)))


class NodePlace(msgspec.Struct, frozen=True):
    """Place of a registered file in its tree: the parent node, and metadata in addition to that of the settings."""

    parent: str | None = None
    metadata: Mapping[str, Scalar] = msgspec.field(default_factory=dict[str, Scalar])


def register(
    context: DayContext,
    received: ReceivedFile,
    *,
    dropped_on: date,
    node: NodePlace | None = None,
    by: Actor | None = None,
) -> ArtifactBuilt:
    """Store a file as the staged artifact of its kind and day. Equal bytes are the same blob, written once.

    If the kind has a hierarchy, a node of the tree refers to the blob. Raises `InvalidNodeError` for an invalid parent.
    """
    store, row, day = context.store, context.row, context.day
    ref = received.blob.ref
    reused = keep_blob(store, row.target, received.blob)
    _show_in_tree(context, received, dropped_on=dropped_on, node=node or NodePlace(), by=by)
    staged = StagedArtifact(
        ref=ref,
        window_first=dropped_on.isoformat(),
        window_last=day.isoformat(),
        inputs=(received.source,),
        facts=_facts(received.content, context.settings.imports[ref.kind]),
        build=build_info(context.settings, context.run_id),
    )
    put_staged(store, row.target, day, staged)
    return ArtifactBuilt(staged, _preview(received.content), reused)


def _show_in_tree(
    context: DayContext, received: ReceivedFile, *, dropped_on: date, node: NodePlace, by: Actor | None
) -> None:
    """Save a tree node that refers to the blob, once for each version. The bytes are not copied."""
    ref, target = received.blob.ref, context.row.target
    rules = context.settings.imports[ref.kind]
    if rules.hierarchy is None:
        if node != NodePlace():
            raise InvalidNodeError(f"a file of {ref.kind} has no parent or metadata: set imports.{ref.kind}.hierarchy")
        return
    from recsys_assets.trees.documents import StoredContent  # noqa: PLC0415 - most days have no trees
    from recsys_assets.trees.tree import open_trees  # noqa: PLC0415 - as above

    tree = open_trees(context.store, context.settings)[rules.hierarchy]
    tree.save(
        {
            "kind": ref.kind,
            "tenant": target.tenant,
            "surface": target.surface,
            "day": dropped_on.isoformat(),
            "version": ref.version,
            "source": received.source.name,
            "rows": received.content.rows,
            **rules.metadata,
            **node.metadata,
        },
        parent=node.parent or rules.parent,
        content=StoredContent(ref.digest, ref.size, rules.media_type, blob_key(target, ref.kind, ref.version)),
        origin=f"import:{target}/{ref.kind}/{ref.version}",
        by=by or Actor(this_account(), f"import of {received.source.name}", context.run_id),
    )


def find_staged(store: ObjectStore, row: TargetSettings, kind: str, day: date) -> ArtifactRef | None:
    """Return the reference that is registered for a kind and day, or None if there is none, or it cannot be read."""
    staged = find_readable_artifact(store, row.target, day, kind)
    return None if staged is None else staged.ref


def import_day(context: DayContext, kind: str) -> ArtifactBuilt:
    """Register the day's file of a kind, or the newest older one that `max_age_days` allows.

    A day without a file keeps the file that was imported for it manually. Raises `InputError` if there is no file.
    """
    store, settings, row, day = context.store, context.settings, context.row, context.day
    rules = find_rules(settings, row, kind)
    for back in range(rules.max_age_days + 1):
        dropped_on = day - timedelta(days=back)
        dropped = find_dropped(settings, row, dropped_on, template=rules.path, key=f"imports.{kind}.path")
        if dropped is not None:
            received = receive(dropped, rules, kind=kind)
            return register(context, received, dropped_on=dropped_on)
        staged = find_staged_artifact(store, row.target, dropped_on, kind)
        if staged is not None and staged.window_first == dropped_on.isoformat():
            staged = msgspec.structs.replace(staged, window_last=day.isoformat(), gates=UNSET, v=STAGED_FORMAT)
            put_staged(store, row.target, day, staged)
            return ArtifactBuilt(staged, _preview(_content_of(staged.facts)), reused=True)
    allowed = f", nor of the {rules.max_age_days} days before" if rules.max_age_days else ""
    raise InputError(
        f"{row.target}: no file of {kind} for {day}{allowed}: drop one at {rules.path}, or raise "
        f"imports.{kind}.max_age_days if an older one may be used"
    )


def judge_received(
    store: ObjectStore, settings: Settings, row: TargetSettings, received: ReceivedFile, *, age_days: int = 0
) -> GateReport:
    """Judge a file that is not registered yet, and return its gate report. Nothing is written."""
    ref = received.blob.ref
    return _judge(store, settings, row, ref, data=received.blob.data, content=received.content, age_days=age_days)


def judge_import(context: DayContext, kind: str) -> GateReport:
    """Read the stored file back, judge it, store the report with the staged reference, and return it."""
    store, settings, row, day = context.store, context.settings, context.row, context.day
    rules = find_rules(settings, row, kind)
    location = read_staged_location(store, row.target, day, kind)
    staged = location.artifact
    data = read_blob(store, row.target, staged.ref)
    content = inspect(data, rules.format, name=staged.inputs[0].name, max_unpacked_bytes=rules.max_unpacked_bytes)
    age = (day - date.fromisoformat(staged.window_first)).days
    report = _judge(store, settings, row, staged.ref, data=data, content=content, age_days=age)
    keep_report(store, staged, report, over=location)
    return report


def _judge(
    store: ObjectStore,
    settings: Settings,
    row: TargetSettings,
    ref: ArtifactRef,
    *,
    data: bytes,
    content: FileContent,
    age_days: int,
) -> GateReport:
    previous = _previous(store, row, ref.kind)
    facts = ImportFacts(ref.kind, ref.version, ref.size, content, age_days, previous, settings.imports[ref.kind], data)
    return import_policy(settings, row, ref.kind).judge(ref.version, facts)


def _previous(store: ObjectStore, row: TargetSettings, kind: str) -> Previous | None:
    """Return fields and rows of the live artifact of a kind, if any. A damaged live release is reported, not raised."""
    current = read_current(store, row.target)
    if current is None or kind not in current.versions:
        return None
    try:
        members = read_release(store, row.target, current.release_id).members
        (facts,) = [member.facts for member in members if member.ref.kind == kind]
        content = _content_of(facts)
    except (NotFoundError, CorruptObjectError) as error:
        return Previous(current.release_id, {}, None, fault=str(error))
    return Previous(current.release_id, content.fields, content.rows)


def _facts(content: FileContent, rules: ImportSettings) -> dict[str, Scalar]:
    fields = msgspec.json.encode(content.fields, order="deterministic").decode()
    return {"rows": content.rows, "format": rules.format.value, "content_type": rules.content_type, FIELDS: fields}


def _content_of(facts: Mapping[str, Scalar]) -> FileContent:
    stored = msgspec.convert(facts, _StoredContent)
    return FileContent(msgspec.json.decode(stored.fields, type=dict[str, str]), stored.rows)


class _StoredContent(msgspec.Struct, frozen=True):
    """Facts of an imported file that a release stores and that are read back."""

    fields: str = "{}"
    rows: int | None = None


def _preview(content: FileContent) -> pl.DataFrame:
    return pl.DataFrame(
        {"field": list(content.fields), "type": list(content.fields.values())},
        schema={"field": pl.String, "type": pl.String},
    )


def journal_import(
    store: ObjectStore,
    target: Target,
    ref: ArtifactRef,
    day: date,
    *,
    by: Actor,
    now: datetime,
    report: GateReport | None = None,
) -> JournalEntry:
    """Write to the journal that a file was registered for a day and, if it was judged at once, the outcome.

    The live release does not change: shipping the file has an entry of its own. Raises what the store raises.
    """
    current = read_current(store, target)
    details: dict[str, Scalar] = {"day": day.isoformat(), "kind": ref.kind, "version": ref.version, "bytes": ref.size}
    return record_unmoved(
        store,
        target,
        current,
        action=journal.IMPORT,
        outcome=journal.DONE if report is None or report.passed else journal.REFUSED,
        by=by,
        now=lambda: now,
        message=f"{ref.kind} of {day}: {ref.version[:12]}, {ref.size:,} bytes, {describe_test(report)}",
        details=details,
    )


def describe_test(report: GateReport | None, *, did: str = "registered") -> str:
    """Return a clause with the action on a file and the result of its gates (None: not judged yet)."""
    if report is None:
        return did
    if report.passed:
        return f"{did}, and its gates passed"
    return f"{did}, and refused: " + "; ".join(f"{finding.gate}: {finding.message}" for finding in report.refusals)
