"""A day in shards: built, judged, shipped, served, forgotten and killed as a day of single objects is."""

import json
import os
import signal
import sys
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest

from recsys_assets.artifact_format import shard_of
from recsys_assets.errors import CorruptObjectError, LimitExceededError, NotFoundError
from recsys_assets.evidence import Verdict
from recsys_assets.identity import Target
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.backtest_arms import build_holdout
from recsys_assets.pipeline.candidate_gates import judge_whole
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.pipeline.warm_up import build_days
from recsys_assets.privacy.forget import ForgetRequest, forget_user
from recsys_assets.quality.comparison import score
from recsys_assets.quality.tasks import Task, Tasks
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import StagedArtifact
from recsys_assets.release.fault_points import VARIABLE
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import blob_key, staged_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.shards import read_index
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.recommending import recommenders
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests import warm_processes

ROOT = Path(__file__).parents[2]
DAY = date(2026, 1, 1)
TARGET = Target("shop", "home")
ANN = Actor("ann", "asked to")
USERS = 60
KINDS = ("implicit", "session_seq")
EIGHT = "[artifacts.implicit]\nshards = 8\n"
BUILD = """
import sys
from pathlib import Path
from recsys_assets_tests.pipeline.test_shards import EIGHT, build, settings_of
from recsys_assets.storage.filesystem import FilesystemStore
folder = Path(sys.argv[1])
build(FilesystemStore(folder / "store"), settings_of(folder, EIGHT))
"""


def now():
    return datetime.now(UTC)


def settings_of(folder, tables=""):
    text = f"""
[raw]
exposures = "{{day}}.jsonl"
[artifacts]
window_days = 1
kinds = ["popularity", "cooc", "implicit", "session_seq"]
{tables}
[[targets]]
tenant = "shop"
surface = "home"
"""
    return parse_settings(text.encode(), name="recsys.toml", base=folder)


def with_events(folder):
    lines = [event(user, item) for user in range(USERS) for item in range(user % 5, 7)]
    (folder / f"{DAY}.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def folder(tmp_path):
    return with_events(tmp_path)


def event(user, item):
    ids = {"session_id": f"s{user}", "item_id": f"item {item}", "user_id": f"user {user}", "rank": item}
    return json.dumps({"v": 1, "ts": f"{DAY}T12:00:00Z", "tenant": "shop", "surface": "home", **ids}) + "\n"


def build(store, settings, day=DAY):
    build_days(settings, [day], store=store)


def ship(store, settings, day=DAY):
    return ship_day(DayContext(store, settings, settings.targets[0], day, now=now), by=ANN)


def live(tables=""):
    """A store of its own with the day live, which is built once for each form, and its release."""
    objects, release = made_live(tables)
    return MemoryStore(objects=dict(objects)), release


@cache
def made_live(tables):
    with TemporaryDirectory() as name:
        store, settings = MemoryStore(), settings_of(with_events(Path(name)), tables)
        build(store, settings)
        return store.objects, ship(store, settings).outcome.release


def staged_of(store, kind):
    return read_document(store, staged_key(TARGET, DAY, kind), StagedArtifact)


def answers(store):
    with Reader(store, "shop", "home") as reader, reader.snapshot() as snapshot:
        users = [f"user {n}" for n in range(USERS + 1)]
        return [(snapshot.for_user(user), snapshot.next_for_user(user)) for user in users]


@pytest.fixture(scope="module")
def plain():
    """What services are answered where nothing is in shards."""
    return answers(live()[0])


@pytest.mark.parametrize(
    ("tables", "kinds"),
    [
        pytest.param(EIGHT, {"implicit", "implicit.shards", "session_seq"}, id="a number, and the single object"),
        pytest.param(EIGHT + "single_blob = false\n", {"implicit.shards", "session_seq"}, id="a number alone"),
        pytest.param(
            EIGHT + "max_bytes = 4000\n", {"implicit.shards", "session_seq"}, id="the single object does not fit"
        ),
        pytest.param(
            '[artifacts.implicit]\nshards = "over_max_bytes"\nmax_bytes = 4000\n',
            {"implicit.shards", "session_seq"},
            id="over max_bytes",
        ),
        pytest.param(
            '[artifacts.session_seq]\nshards = "over_max_bytes"\n', {"implicit", "session_seq"}, id="not over max_bytes"
        ),
    ],
)
def test_services_are_answered_the_same_whatever_form_the_pointer_names(plain, tables, kinds):
    store, release = live(tables)
    current = read_current(store, TARGET)
    assert set(current.versions) == {"popularity", "cooc"} | kinds
    assert release.id == current.release_id
    assert all(
        finding.verdict is Verdict.PASSED
        for one in release.members
        for finding in one.gates.findings
        if finding.gate in {"contract", "size"}
    )
    assert verify(store, TARGET).ok
    assert answers(store) == plain


def test_a_reader_that_knows_shards_does_not_read_the_single_object_beside_them():
    store, release = live(EIGHT)
    store.delete(blob_key(TARGET, "implicit", release.refs["implicit"].version))
    assert len(answers(store)) == USERS + 1


def test_i10_the_same_events_give_the_same_shards_on_every_engine():
    stores = [live(EIGHT + f'engine = "{engine}"\n')[1] for engine in ("native", "polars")]
    first, second = ([(ref.kind, ref.version) for one in release.members for ref in one.refs] for release in stores)
    assert first == second


def test_more_shards_are_made_as_content_grows_and_none_is_over_the_limit():
    store, _ = live('[artifacts.implicit]\nshards = "over_max_bytes"\nmax_bytes = 4000\n')
    index = read_index(store, TARGET, staged_of(store, "implicit").ref)
    assert len(index.shards) in {4, 8}
    assert max(shard.size for shard in index.shards) <= 4000
    assert (index.whole, index.rows) == (None, USERS)
    for n in range(USERS):
        assert index.shards[shard_of(f"user {n}", len(index.shards))].rows > 0


def test_a_shard_over_the_limit_stops_the_day_and_what_is_live_stays(folder):
    store, release = live()
    settings = settings_of(folder, "[artifacts.implicit]\nshards = 2\nmax_bytes = 2000\n")
    with pytest.raises(LimitExceededError, match=r"shard . of 2 of implicit .*raise artifacts.implicit.shards"):
        build_artifact(DayContext(store, settings, settings.targets[0], DAY, run_id="r"), "implicit")
    assert read_current(store, TARGET).release_id == release.id


def test_the_gates_refuse_a_single_object_with_other_rows_than_the_shards(folder):
    store, settings = MemoryStore(), settings_of(folder, EIGHT)
    build(store, settings)
    elsewhere, release = live("[artifacts.implicit]\nmax_items_per_user = 2\n")
    other = release.refs["implicit"]
    key = blob_key(TARGET, "implicit", other.version)
    store.put(key, elsewhere.get(key, max_bytes=other.size).data)
    staged = staged_of(store, "implicit")
    wrong = msgspec.structs.replace(staged, shards=msgspec.structs.replace(staged.shards, whole=other))
    store.put(staged_key(TARGET, DAY, "implicit"), encode(wrong))
    with pytest.raises(CorruptObjectError, match="other rows than its shards"):
        judge_artifact(DayContext(store, settings, settings.targets[0], DAY), "implicit")


def test_f12_the_rehearsal_refuses_a_candidate_without_a_shard(folder):
    store, settings = MemoryStore(), settings_of(folder, EIGHT)
    build(store, settings)
    for ref in staged_of(store, "implicit").shards.refs:
        store.delete(blob_key(TARGET, "implicit", ref.version))
    report = next(
        one for one in judge_whole(DayContext(store, settings, settings.targets[0], DAY)) if one.subject == "rehearsal"
    )
    (refused,) = [finding for finding in report.findings if finding.verdict is Verdict.REFUSED]
    assert refused.gate == "rehearsal_loads"
    assert "implicit" in refused.message


def test_drift_is_measured_from_shards_to_the_single_object_and_back(folder):
    store, _ = live()
    settings = settings_of(folder, EIGHT)
    build(store, settings)
    report = judge_artifact(DayContext(store, settings, settings.targets[0], DAY), "implicit")
    drift = {one.gate: one for one in report.findings if one.gate.startswith("drift")}
    assert drift["drift_rows"].verdict is Verdict.PASSED
    ship(store, settings)
    back = judge_artifact(DayContext(store, settings_of(folder), settings.targets[0], DAY), "implicit")
    assert {one.gate for one in back.findings if one.gate.startswith("drift")} == set(drift)


def test_a_stand_in_for_a_kind_in_shards_answers_though_one_object_would_be_too_large(folder):
    settings = settings_of(folder, '[artifacts.implicit]\nshards = "over_max_bytes"\nmax_bytes = 4000\n')
    store = MemoryStore()
    build(store, settings)
    until = datetime(2026, 1, 1, 23, tzinfo=UTC)
    stand_in = build_holdout(DayContext(store, settings, settings.targets[0], DAY), until=until, go_on=lambda: None)
    assert stand_in.for_user("user 7") is not None


def test_a_forgotten_user_is_out_of_the_live_shards_and_found_in_the_release_before(folder):
    store, first = live(EIGHT)
    settings = settings_of(folder, EIGHT)
    task = ForgetRequest(store, settings, settings.targets[0], user="user 7", by=ANN, now=now)
    forgot = forget_user(task)
    assert (forgot.live_holds, forgot.still_in) == (False, (first.id,))
    with Reader(store, "shop", "home") as reader, reader.snapshot() as snapshot:
        assert snapshot.for_user("user 7") is None
        assert snapshot.for_user("user 8") is not None


def test_a_user_called_like_a_word_of_the_index_is_not_taken_for_one_that_is_held(folder):
    store, _ = live(EIGHT)
    settings = settings_of(folder, EIGHT)
    forgot = forget_user(
        ForgetRequest(store, settings, settings.targets[0], user="implicit", by=ANN, now=now), dry_run=True
    )
    assert forgot.still_in == ()


def test_a_day_that_goes_back_to_one_object_ships_one_object(folder):
    store, _ = live(EIGHT)
    settings = settings_of(folder)
    build(store, settings)
    release = ship(store, settings).outcome.release
    assert {one.ref.kind for one in release.members} == {"popularity", "cooc", *KINDS}
    assert read_current(store, TARGET).release_id == release.id


@pytest.mark.slow
@pytest.mark.parametrize("point", ["build.after_shard", "build.after_index"])
def test_f1_a_build_that_is_killed_between_shards_ships_nothing_and_converges(folder, plain, point):
    environment = os.environ | {VARIABLE: point}
    killed = warm_processes.run(
        [sys.executable, "-c", BUILD, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    store, settings = FilesystemStore(folder / "store"), settings_of(folder, EIGHT)
    with pytest.raises(NotFoundError):
        staged_of(store, "implicit")
    build(store, settings)
    ship(store, settings)
    assert verify(store, TARGET).ok
    assert answers(store) == plain
    whole, _ = live(EIGHT)
    assert {item.key for item in store.list("artifacts/")} == {item.key for item in whole.list("artifacts/")}


@pytest.mark.parametrize("engine", ["native", "polars"])
def test_a_list_for_everybody_is_cut_to_what_max_bytes_holds(engine):
    """It has no key to be split by; its best rows ship, and how many do not is a fact of the artifact."""
    table = f'[artifacts.popularity]\nengine = "{engine}"\n'
    whole = staged_of(live(table)[0], "popularity")
    store, release = live(f"{table}max_bytes = {whole.ref.size - 1}\n")
    staged = staged_of(store, "popularity")
    assert (staged.facts["rows"], staged.facts["cut_for_max_bytes"]) == (whole.facts["rows"] - 1, 1)
    assert staged.ref.size <= whole.ref.size - 1
    assert "cut_for_max_bytes" not in whole.facts
    assert release.artifacts["popularity"].version == staged.ref.version
    with Reader(store, "shop", "home") as reader, reader.snapshot() as snapshot:
        assert [one.count for one in snapshot.top_items()] == sorted(
            (one.count for one in snapshot.top_items()), reverse=True
        )
        assert len(snapshot.top_items()) == whole.facts["rows"] - 1


def test_rules_in_shards_are_asked_as_in_one_object(folder):
    """The back-test and the reader's `recommend` ask them through the same lookups."""
    answers = []
    for shards in ('"never"', "4"):
        settings = settings_of(
            folder, f"[artifacts.sequential_rules]\nshards = {shards}\nsingle_blob = false\nmax_items = 999\n"
        )
        kinds = settings.artifacts.model_copy(update={"kinds": ("popularity", "sequential_rules")})
        settings, store = settings.model_copy(update={"artifacts": kinds}), MemoryStore()
        build(store, settings)
        ship(store, settings)
        with Reader(store, "shop", "home") as reader, reader.snapshot() as snapshot:
            found = [snapshot.rows("sequential_rules").find(f"item {n}") for n in range(8)]
            tasks = Tasks([Task((), None, ("item 1", "item 2", "item 5"))], frozenset())
            scored = score(recommenders(snapshot.lookups)["sequential_rules"], tasks, k=3)
            answers.append((found, snapshot.recommend(recent=["item 3"]), scored.gains.tolist()))
    assert answers[0] == answers[1]
    assert answers[0][0][3] is not None
