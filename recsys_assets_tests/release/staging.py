"""A builder of tiny, valid days: blobs in their stored form, canonical records and passing gate reports, in a store."""

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from recsys_assets.artifact_format import ZEROED_BUILD
from recsys_assets.evidence import Finding, GateReport, Verdict
from recsys_assets.identity import ArtifactRef, Target, Window, rfc3339
from recsys_assets.release.candidate import Requirement
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import Build, CanonicalRecord, Input, Shards, StagedArtifact
from recsys_assets.release.forgotten_users import is_anybody_forgotten, read_forgotten_of
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import (
    blob_key,
    canonical_key,
    canonical_record_key,
    staged_key,
)
from recsys_assets.release.publish import publish
from recsys_assets.release.shards import Shard, make_index
from recsys_assets.release.staged import read_staged_location

TARGET = Target("shop", "home")
DAY = date(2026, 3, 1)
KINDS = ("popularity", "cooc")
POLICY = "p" * 64
GATES = frozenset({"contract", "size"})
SHARDED = "implicit"  # is staged as three shards and an index
WITH_SHARDS = (*KINDS, SHARDED)
REQUIREMENTS = {subject: Requirement(POLICY, GATES) for subject in (*WITH_SHARDS, "canonical")}
BUILD = Build(run_id="run-1", config="c" * 64, code="0.1.0", libraries={"msgspec": "0.22"})
BOT = Actor("nightly", "the day's build", "run-1")


@dataclass
class Clock:
    """A clock that moves by a minute at every look, and can be set."""

    at: datetime = datetime(2026, 3, 10, 4, tzinfo=UTC)
    step: timedelta = timedelta(minutes=1)

    def __call__(self):
        self.at += self.step
        return self.at


@dataclass
class Shop:
    """One target in a store, its days staged and shipped by one line each."""

    store: object
    target: Target = TARGET
    clock: Clock = field(default_factory=Clock)
    kinds: tuple[str, ...] = KINDS
    requirements: dict = field(default_factory=lambda: dict(REQUIREMENTS))

    def stage(self, n, content=0, **change):
        """Stage the n-th day with content that differs by `content`."""
        return stage_day(self.store, self.target, day(n), kinds=self.kinds, content=content, **change)

    def publish(self, n, **options):
        """Publish the n-th day as staged."""
        arguments = {"by": BOT, "now": self.clock, "kinds": self.kinds, "requirements": self.requirements}
        return publish(self.store, self.target, day(n), build=BUILD, pause=no_pause, **(arguments | options))

    def ship(self, n, content=0, **options):
        """Stage and publish the n-th day."""
        self.stage(n, content)
        return self.publish(n, **options)


def no_pause(_seconds):
    """Wait for nobody: who would be waited for stands still."""


def day(n):
    return DAY + timedelta(days=n)


def go_json(value):
    """Compact JSON as Go's encoder writes it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def artifact(target, kind, window, rows):
    """The stored bytes of one artifact, and their version."""
    named = dict.fromkeys(("cooc", "item_seq", "sequential_rules"), "neighbors")
    named |= dict.fromkeys(("popularity", "content_sim"), "items")
    body = named.get(kind, "users")
    envelope = {"v": 1, "artifact_type": kind, "tenant": target.tenant, "surface": target.surface}
    if target.segment:
        envelope["segment"] = target.segment
    envelope["window"] = {"start": rfc3339(window.start), "end": rfc3339(window.end)}
    head = go_json(envelope | {body: rows})[:-1].encode()
    version = hashlib.sha256(head + ZEROED_BUILD).hexdigest()
    build = {"built_at": rfc3339(window.end), "version": version, "source_hash": version}
    return head + b',"build":' + go_json(build).encode() + b"}", version


def rows_of(kind, content):
    ranked = [{"item_id": f"i{n}", "count": 9 - n + content} for n in range(3)]
    return [{"item_id": "i0", "items": ranked[1:]}] if kind == "cooc" else ranked


def report_of(subject, version, **change):
    findings = tuple(
        Finding(gate, Verdict.PASSED, 1, {"limit": 2}, f"{gate} is as it should be") for gate in sorted(GATES)
    )
    return replace(GateReport(subject, version, findings, policy=POLICY), **change)


def stage_blob(store, target, on, kind, *, content=0, window_days=1, inputs=(), rows=None):
    """Put one artifact of a day and its reference; of these rows, or of some that differ by `content`."""
    window = Window.ending(on, days=window_days)
    if kind == SHARDED:
        ref, shards = put_shards(store, target, kind, window, content)
    else:
        rows = rows_of(kind, content) if rows is None else rows
        ref, shards = put_object(store, target, kind, *artifact(target, kind, window, rows)), UNSET
    staged = StagedArtifact(
        ref=ref,
        window_first=window.first.isoformat(),
        window_last=window.last.isoformat(),
        inputs=tuple(inputs),
        facts={"rows": 3},
        build=BUILD,
        shards=shards,
        gates=report_of(kind, ref.version),
    )
    store.put(staged_key(target, on, kind), encode(staged))
    return ref


def change_staged(store, target, on, kind, **change):
    """Change fields of what a day staged of a kind; `gates=UNSET` are gates that did not run."""
    found = read_staged_location(store, target, on, kind)
    document = changed = msgspec.structs.replace(found.artifact, **change)
    if found.together is not None:
        artifacts = {**found.together.artifacts, kind: changed}
        document = msgspec.structs.replace(found.together, artifacts=artifacts)
    store.put(found.key, encode(document))


def stored_report(store, target, on, kind):
    """The report of what a day staged of a kind."""
    return read_staged_location(store, target, on, kind).artifact.gates


def change_canonical(store, target, on, **change):
    """Change fields of a canonical day's record; `gates=UNSET` are gates that did not run."""
    key = canonical_record_key(target, on)
    store.put(key, encode(msgspec.structs.replace(read_document(store, key, CanonicalRecord), **change)))


def put_report_of_day(store, target, on, report):
    """Put what gates said of a day's events, in a record of no events."""
    record = CanonicalRecord(
        digest=report.version, size=0, rows=0, events=0, duplicates=0, bad=0, rejects={}, inputs=(), gates=report
    )
    store.put(canonical_record_key(target, on), encode(record))


def put_object(store, target, kind, data, version):
    key = blob_key(target, kind, version)
    if store.stat(key) is None:
        store.create(key, data)
    return ArtifactRef(kind, version, len(data), hashlib.sha256(data).hexdigest())


def put_shards(store, target, kind, window, content):
    """Put three shards of one user each, and their index; with other content only the last shard is another."""
    users = [[{"user_id": f"u{n}", "items": [{"item_id": "i", "score": 1 + content * (n == 2)}]}] for n in range(3)]
    refs = [put_object(store, target, kind, *artifact(target, kind, window, rows)) for rows in users]
    ref, data = make_index(
        target, kind, window, key="user_id", shards=[Shard.of(one, rows=1) for one in refs], whole=None
    )
    return put_object(store, target, ref.kind, data, ref.version), Shards(refs=tuple(refs))


def stage_canonical(store, target, on, *, content=0):
    """Put one canonical day's record and report, and return it as an input."""
    digest = hashlib.sha256(f"{target} {on} {content}".encode()).hexdigest()
    raw = (Input(name=f"raw/{on}.jsonl", digest="a" * 64, size=10),)
    mark = read_forgotten_of(store, target).mark(on) if is_anybody_forgotten(store, target) else None
    canonical = CanonicalRecord(
        digest=digest,
        size=7,
        rows=5,
        events=6,
        duplicates=1,
        bad=0,
        rejects={},
        inputs=raw,
        erased=mark or UNSET,
        gates=report_of("canonical", digest),
    )
    store.put(canonical_record_key(target, on), encode(canonical))
    return Input(name=canonical_key(target, on), digest=digest, size=7)


def stage_day(store, target, on, *, kinds=KINDS, content=0, window_days=1, rows=None):
    """Put everything that a day's build leaves behind when all is well; return the references by kind.

    `rows` are those of each kind; else some that differ by `content`.
    """
    inputs = [stage_canonical(store, target, one, content=content) for one in Window.ending(on, days=window_days).days]
    return {
        kind: stage_blob(
            store,
            target,
            on,
            kind,
            content=content,
            window_days=window_days,
            inputs=inputs,
            rows=(rows or {}).get(kind),
        )
        for kind in kinds
    }


def ids(prefix):
    """Counting names, for tests that need many."""
    return (f"{prefix}{n}" for n in itertools.count())
