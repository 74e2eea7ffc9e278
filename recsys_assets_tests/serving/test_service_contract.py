"""Reading rules of the reference service, line by line, over our objects: written from its description."""

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from recsys_assets.errors import NotFoundError
from recsys_assets.gates.policy import artifact_policy
from recsys_assets.identity import ArtifactRef, Target, Window
from recsys_assets.kinds.registry import read_params
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import StagedArtifact
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import blob_key, pointer_key, staged_key
from recsys_assets.release.shards import read_blob
from recsys_assets.settings.reading import load_settings, parse_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.roots import GRACE, KEEP, Retention
from recsys_assets_tests.kinds.row_kinds import ROW_KINDS
from recsys_assets_tests.release.staging import artifact
from recsys_assets_tests.serving.releases import TARGET, Clock, Shop, rows_of

FIRST = date(2026, 1, 1)
MAX_BYTES = 10_000_000
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def shop(tmp_path):
    return Shop(FilesystemStore(tmp_path / "store"))


def get(shop, uri):
    """Fetch as the service does: the path of a file URI, below the store's root."""
    parts = urlsplit(uri)
    assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("file", "", "", "")
    root = urlsplit(shop.store.root_uri).path
    assert parts.path.startswith(root + "/")
    return shop.store.get(parts.path[len(root) + 1 :], max_bytes=MAX_BYTES).data


def manifest(shop):
    return shop.store.get(pointer_key(shop.target), max_bytes=MAX_BYTES).data


def artifacts(shop):
    return {kind: json.loads(get(shop, uri)) for kind, uri in json.loads(manifest(shop))["current"].items()}


def test_the_manifest_is_plain_json_of_five_keys(shop):
    shop.ship(1)
    data = manifest(shop)
    document = json.loads(data)
    assert list(document) == ["v", "tenant", "surface", "current", "updated_at"]
    assert (document["v"], document["tenant"], document["surface"]) == (1, "shop", "home")
    assert not data.startswith(b"\xef\xbb\xbf")
    assert datetime.fromisoformat(document["updated_at"]).tzinfo is not None
    assert document["updated_at"].endswith("Z")


@pytest.mark.parametrize("name", ["shop", "Läden", "a b", "店", "a<b>&"])
def test_names_equal_byte_for_byte_what_requests_carry(tmp_path, name):
    shop = Shop(FilesystemStore(tmp_path / "store"), Target(name, name))
    shop.ship(1)
    assert (json.loads(manifest(shop))["tenant"], json.loads(manifest(shop))["surface"]) == (name, name)
    for document in artifacts(shop).values():
        assert (document["tenant"], document["surface"]) == (name, name)


def test_an_envelope_has_what_is_else_refused_with_422(shop):
    shop.ship(1)
    for kind, document in artifacts(shop).items():
        assert document["v"] == 1
        assert document["artifact_type"] == kind
        assert document["tenant"]
        assert set(document["window"]) == {"start", "end"}
        assert all(INSTANT.fullmatch(instant) for instant in document["window"].values())  # a bare date is refused


def test_counts_are_integers_and_scores_positive_numbers(shop):
    shop.ship(1, implicit={"user": {"a": 1.0, "b": 0.5}}, popularity={"a": 2.0, "b": 1})
    data = b"".join(get(shop, uri) for uri in json.loads(manifest(shop))["current"].values())
    assert re.findall(rb'"count":(?![0-9]+[,}])', data) == []
    scores = [float(score) for score in re.findall(rb'"score":([^,}]+)', data)]
    assert scores
    assert min(scores) > 0
    assert not re.search(rb"NaN|Infinity|null", data)


def test_what_the_service_sorts_in_place_is_sorted_already(shop):
    shop.ship(1, popularity={"b": 2, "a": 2, "c": 9}, cooc={"x": {"b": 2, "a": 2, "c": 9}})
    found = artifacts(shop)
    (neighbors,) = [row["items"] for row in found["cooc"]["neighbors"]]
    for items in (found["popularity"]["items"], neighbors):
        assert items == sorted(items, key=lambda row: (-row["count"], row["item_id"]))


@dataclass(frozen=True)
class RepeatingDay:
    """A day built by the real stages: each line twice, each id in several spellings, each item often in the catalog."""

    folder: Path
    store: MemoryStore = field(default_factory=MemoryStore)

    @property
    def settings(self):
        return load_settings(self.folder / "recsys.toml")

    def build(self):
        spellings = ["{}", " {}", "{}\u3000", "\t{}"]
        names = [(f"i{n % 3}", f"u{n % 2}", f"s{n % 4}") for n in range(36)]
        lines = [
            json.dumps(
                {"v": 1, "ts": f"2026-01-01T08:00:{n:02d}Z", "tenant": "shop", "surface": "home", "rank": n}
                | dict(zip(("item_id", "user_id", "session_id"), (spelled.format(i) for i in ids), strict=True))
            )
            for n, (ids, spelled) in enumerate(zip(names, cycle(spellings), strict=False))
        ]
        (self.folder / "2026-01-01.jsonl").write_text("\n".join(lines * 2))
        tagged = [
            {"item_id": spelled.format(f"i{n}"), "tags": ["red", "Red "]} for n in range(3) for spelled in spellings
        ]
        (self.folder / "catalog.jsonl").write_text("\n".join(map(json.dumps, tagged)))
        config = '[raw]\nexposures = "{day}.jsonl"\ncatalog = "catalog.jsonl"\n'
        (self.folder / "recsys.toml").write_text(f'{config}[[targets]]\ntenant = "shop"\nsurface = "home"\n')
        settings, row = self.settings, self.settings.targets[0]
        build_raw(self.store, settings, FIRST)
        build_canonical(DayContext(self.store, settings, row, FIRST))
        judge_canonical(DayContext(self.store, settings, row, FIRST))
        for kind in ROW_KINDS:
            build_artifact(DayContext(self.store, settings, row, FIRST, run_id="test"), kind)
        return self

    def judge(self, kind):
        return judge_artifact(DayContext(self.store, self.settings, self.settings.targets[0], FIRST), kind)

    def staged(self, kind):
        return read_document(self.store, staged_key(TARGET, FIRST, kind), StagedArtifact)

    def rows(self, kind):
        return json.loads(read_blob(self.store, TARGET, self.staged(kind).ref))[ROW_KINDS[kind].shape.body]

    def restage(self, kind, rows):
        """Put other rows in the place of what was built, under a version that proves itself."""
        staged = self.staged(kind)
        window = Window(date.fromisoformat(staged.window_first), date.fromisoformat(staged.window_last))
        data, version = artifact(TARGET, kind, window, rows)
        ref = ArtifactRef(kind, version, len(data), hashlib.sha256(data).hexdigest())
        self.store.create(blob_key(TARGET, kind, version), data)
        self.store.put(staged_key(TARGET, FIRST, kind), encode(msgspec.structs.replace(staged, ref=ref)))


@pytest.fixture
def repeating(tmp_path):
    return RepeatingDay(tmp_path).build()


def names_in(rows):
    """The ids of rows, in their order."""
    return [row.get("item_id", row.get("user_id")) for row in rows]


def test_no_id_has_two_rows_however_often_and_in_whatever_spelling_it_came(repeating):
    """The service answers from the first row of an id: a second one would be lost, and nobody would see it."""
    known = {"users": ["u0", "u1"], "items": ["i0", "i1", "i2"], "neighbors": ["i0", "i1", "i2"]}
    for kind in ROW_KINDS:
        assert repeating.judge(kind).passed
        rows = repeating.rows(kind)
        assert sorted(names_in(rows)) == known[ROW_KINDS[kind].shape.body], kind
        for row in rows:
            members = row.get("tags") or names_in(row.get("items", []))
            assert len(members) == len(set(members)), kind
    assert sum(row["count"] for row in repeating.rows("popularity")) == 36  # and nothing was lost or reported twice


@pytest.mark.parametrize("kind", ROW_KINDS)
def test_a_second_row_of_an_id_does_not_pass_the_gates(repeating, kind):
    rows = repeating.rows(kind)
    repeating.restage(kind, [rows[0], *rows])
    report = repeating.judge(kind)
    assert [finding.gate for finding in report.refusals] == ["contract"]


@pytest.mark.parametrize(
    ("kind", "gate", "limits"),
    [
        pytest.param("popularity", "not_empty", {"min_rows": 1}, id="an empty popularity, which falls back"),
        *(pytest.param(kind, "size", {"max_bytes": MAX_BYTES}, id=f"a {kind} too big is a 500") for kind in ROW_KINDS),
    ],
)
def test_what_the_service_cannot_answer_from_is_refused_by_default(kind, gate, limits):
    settings = parse_settings(b'[[targets]]\ntenant = "shop"\nsurface = "home"\n', name="defaults", base=Path("/"))
    row = settings.find("shop", "home")
    assert artifact_policy(settings, row, kind, read_params(settings, row, kind)).gates[gate].params == limits


def test_lists_are_never_null(shop):
    shop.ship(1, session_seq={"idle": {}})
    assert artifacts(shop)["session_seq"]["users"] == [{"user_id": "idle", "items": []}]


def collect_as_if_written_long_ago(shop, **options):
    """Collect where no blob is young any more, by files' times: what is kept then is kept for a reason."""
    for path in Path(urlsplit(shop.store.root_uri).path, "artifacts").rglob("*.json"):
        os.utime(path, (0, 0))
    by = Actor("cron", "daily")
    return collect(shop.store, shop.target, by=by, now=shop.clock, apply=True, retention=Retention(**options))


def is_readable(shop, cached):
    """Return whether every URI of a manifest that somebody holds can be fetched."""
    try:
        return {json.loads(get(shop, uri))["v"] for uri in cached["current"].values()} == {1}
    except NotFoundError:
        return False


def test_what_was_superseded_is_readable_past_both_caches_and_as_far_back_as_one_can_roll(shop):
    """A replica holds a manifest for a minute and its blobs for another; a rollback brings an old one back."""
    cached = []
    for n in range(KEEP):
        shop.ship(n)
        cached.append(json.loads(manifest(shop)))
    for passed in (timedelta(minutes=2, seconds=1), 2 * GRACE, 2 * GRACE):  # what one took, the last would have emptied
        shop.clock.at += passed
        collect_as_if_written_long_ago(shop)
        assert all(is_readable(shop, old) for old in cached)


@pytest.mark.parametrize("keep", [1, 2])
def test_what_was_superseded_a_moment_ago_is_readable_though_it_is_old_and_no_more_kept(shop, keep):
    """A backfill ships a row of days in seconds: what was live before it is in every cache still."""
    shop.ship(0)  # long past: the first collection takes it, and reports from which entry on releases count
    shop.ship(1)
    cached = json.loads(manifest(shop))
    shop.clock.at += timedelta(days=30)
    for n in range(2, 6):
        shop.ship(n)
    for _ in range(3):
        shop.clock.at += timedelta(minutes=2)
        collect_as_if_written_long_ago(shop, keep=keep)
        assert is_readable(shop, cached)
    shop.clock.at += GRACE
    collect_as_if_written_long_ago(shop, keep=keep)
    assert not is_readable(shop, cached)


def test_a_uri_never_changes_its_content(shop):
    shop.ship(1)
    before = {uri: get(shop, uri) for uri in json.loads(manifest(shop))["current"].values()}
    shop.ship(2)
    shop.ship(1)
    assert {uri: get(shop, uri) for uri in before} == before


def test_the_time_of_the_manifest_is_that_of_its_swap(shop):
    shop.clock = Clock(datetime(2026, 5, 1, 12, tzinfo=UTC))
    shop.ship(1)
    assert json.loads(manifest(shop))["updated_at"] == "2026-05-01T12:00:00Z"


def test_a_fixture_fits_the_service(shop):
    shop.ship(1)
    assert rows_of(1).keys() == artifacts(shop).keys()
    assert max(len(get(shop, uri)) for uri in json.loads(manifest(shop))["current"].values()) <= MAX_BYTES
