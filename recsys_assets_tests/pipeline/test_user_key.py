"""User ids that are hashed on their way in: the ids that were sent are nowhere in the store nor in Dagster's home."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow.parquet as pq
import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError, InputError
from recsys_assets.identity import Window
from recsys_assets.ingest.pseudonyms import UserKey, hash_user_id
from recsys_assets.pipeline.arrivals import input_finder, look
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.kernel_input import find_days
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.records import RawRecord
from recsys_assets.privacy.forget import ForgetRequest, forget_user
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import canonical_record_key, raw_record_key
from recsys_assets.serving.reader import Reader
from recsys_assets_tests.small_shop import CONFIG, FIRST, HOME, TARGETS, after, day_lines, open_shop

SENT = "zoe.martin@example.org"
NUMBER = 987_654_321  # an id of a wrong type
KEY, OTHER = UserKey(b"k" * 32), UserKey(b"o" * 32)
BY = Actor("ann", "a request")
HASHED = CONFIG.replace("[partitions]", 'user_key = "env:TEST_USER_KEY"\nsession_gap_minutes = 30\n[partitions]')
HASHED = HASHED.replace("max_bad_share = 0.1", "max_bad_share = 1.0")
TWO_DAYS = '[artifacts]\nwindow_days = 1\nkinds = ["implicit"]\n[artifacts.implicit]\nwindow_days = 2\n'
ONE = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TEST_USER_KEY", "k" * 32)


@pytest.fixture
def shop(tmp_path):
    return configured(open_shop(tmp_path, None))


def configured(shop, text=HASHED, more="", targets=TARGETS):
    (shop.folder / "recsys.toml").write_text(text + more + targets)
    return shop


def lines_of_zoe(day, **changes):
    """Return an ordinary day in which one of the users is Zoe."""
    return [json.dumps(json.loads(line.replace('"u1"', json.dumps(SENT))) | changes) for line in day_lines(day)]


def bad_lines(day):
    """Return lines of every kind that is reported about, each of which names her."""
    good = json.loads(lines_of_zoe(day)[3])
    changed = [
        {"user_id": NUMBER},
        {"user_id": [SENT]},
        {"ts": SENT},
        {"ts": f"{day}T08:00:00"},
        {"ts": f"{after(400)}T08:00:00Z"},
        {"rank": SENT},
        {"v": SENT},
        {"item_id": {SENT: 1}},
        {"item_id": None},
        {"x": "y" * 5_000_000},
    ]
    whole = [json.dumps(good | change) for change in changed]
    return [*whole, json.dumps([SENT]), json.dumps(SENT), whole[-2][:-1], f'{{"user_id": "{SENT}" nonsense}}']


def bytes_below(*folders):
    """Yield name and bytes of every file, what is packed in Parquet and in databases spread out."""
    for file in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        yield file, file.read_bytes()
        if file.suffix == ".parquet":
            yield file, json.dumps(pq.read_table(file).to_pylist(), default=str).encode()
        if file.suffix == ".db":
            with sqlite3.connect(file) as database:
                yield file, "".join(database.iterdump()).encode()


@pytest.mark.slow
def test_ids_that_were_sent_are_in_no_byte_of_the_store_nor_of_dagster(tmp_path):  # F28
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        text = HASHED.replace("[raw]\n", "[raw]\nmax_out_of_window_share = 0.5\n")
        shop = configured(open_shop(tmp_path, instance), text, more=TWO_DAYS, targets=ONE)
        for n in range(2):
            shop.write(after(n), [*lines_of_zoe(after(n)), *bad_lines(after(n))])
        assert shop.run(after(0)).success
        assert shop.build(after(1)).success
        (tmp_path / "raw" / f"{after(2)}.jsonl.gz").write_bytes(b"\x1f\x8b no gzip of " + SENT.encode())
        assert not shop.build(after(2)).success
        with Reader(shop.store, HOME.tenant, HOME.surface) as reader, reader.snapshot() as release:
            assert release.for_user(hash_user_id(f" {SENT}", KEY))
            assert release.for_user(SENT) is None
        forgot = forget(shop)
        assert (forgot.events, forgot.live_holds, forgot.exit_code) == (6, False, 1)
    found = list(bytes_below(tmp_path / "store", home))
    assert {".arrow", ".parquet", ".json", ".jsonl", ".db"} <= {file.suffix for file, _ in found}
    assert [file for file, data in found if SENT.encode() in data or str(NUMBER).encode() in data] == []
    message = [
        json.loads(line)
        for line in next(iter((tmp_path / "store/quarantine").rglob("*.jsonl"))).read_text().splitlines()
    ]
    assert len({reject["reason"] for reject in message}) >= 7
    assert {"file", "line", "reason", "size"} <= set(message[0])


def test_a_day_names_its_key_and_no_user(shop):
    shop.write(FIRST, lines_of_zoe(FIRST))
    record = build(shop)
    assert record.user_key == KEY.id
    assert read_document(shop.store, raw_record_key(FIRST), RawRecord).user_key == KEY.id
    users = read_events(shop.store, HOME, FIRST, record).ids["user_id"].to_list()
    assert users == sorted(KEY.hash(user) for user in (SENT, "u3", "u5"))


def test_sessions_that_are_found_are_named_by_the_hash(shop):
    shop.write(FIRST, lines_of_zoe(FIRST, session_id=None))
    names = read_events(shop.store, HOME, FIRST, build(shop)).ids["session_id"].to_list()
    assert f"{KEY.hash(SENT)}@2026-01-01T09:00:00.000000000Z" in names


def test_without_the_setting_no_document_says_anything_of_a_key(shop):
    configured(shop, CONFIG)
    shop.write(FIRST, lines_of_zoe(FIRST))
    build(shop)
    for key in (raw_record_key(FIRST), canonical_record_key(HOME, FIRST)):
        assert b"user_key" not in shop.store.get(key, max_bytes=100_000).data


@pytest.mark.parametrize(
    ("secret", "message"),
    [pytest.param(None, "not set", id="missing"), pytest.param("short one", "32", id="too short")],
)
def test_a_key_that_is_not_there_stops_the_day_before_anything_is_read(shop, monkeypatch, secret, message):
    monkeypatch.delenv("TEST_USER_KEY")
    if secret:
        monkeypatch.setenv("TEST_USER_KEY", secret)
    (shop.folder / "raw").write_text("a file where a folder is looked for, which nobody gets to see")
    with pytest.raises(ConfigurationError, match=f"TEST_USER_KEY.*{message}") as found:
        build_raw(shop.store, shop.settings, FIRST)
    assert "short one" not in str(found.value)
    with pytest.raises(ConfigurationError, match="TEST_USER_KEY"):
        forget(shop)
    assert list(shop.store.list("")) == []


def test_run_says_a_key_that_is_not_there_before_the_first_day(shop, monkeypatch):
    monkeypatch.delenv("TEST_USER_KEY")
    words = ["run", "--config", str(shop.folder / "recsys.toml"), "--start", str(FIRST)]
    with pytest.raises(ConfigurationError, match="TEST_USER_KEY"):
        recsys_assets.main(words, standalone_mode=False)


def test_a_key_may_stand_in_a_file_beside_the_configuration(shop):
    configured(shop, HASHED.replace("env:TEST_USER_KEY", "file:secrets/key"))
    with pytest.raises(ConfigurationError, match=r"cannot read .*secrets/key"):
        build_raw(shop.store, shop.settings, FIRST)
    (shop.folder / "secrets").mkdir()
    (shop.folder / "secrets/key").write_bytes(KEY.secret + b"\n")
    shop.write(FIRST, lines_of_zoe(FIRST))
    assert build(shop).user_key == KEY.id


def test_a_key_that_stands_in_the_configuration_is_refused_and_not_repeated(shop):
    configured(shop, HASHED.replace("env:TEST_USER_KEY", "0123456789abcdef" * 4))
    with pytest.raises(ConfigurationError, match=r'raw\.user_key: expected "env:NAME" or "file:PATH"') as found:
        shop.settings.raw  # noqa: B018 - read when it is asked for
    assert "0123456789abcdef" not in str(found.value)


def test_another_key_reads_every_day_again_and_days_of_two_keys_are_not_mixed(shop, monkeypatch):
    today = datetime.now(UTC).date()
    days = first, last = today - timedelta(days=2), today - timedelta(days=1)
    for day in days:
        shop.write(day, lines_of_zoe(day))
        build(shop, day)
    assert due(shop) == []
    monkeypatch.setenv("TEST_USER_KEY", "o" * 32)
    assert due(shop) == [first, last]
    assert build(shop, last).user_key == OTHER.id
    context = DayContext(shop.store, shop.settings, shop.settings.find(HOME.tenant, HOME.surface), last)
    with pytest.raises(InputError, match=rf"users of {first} are hashed by another key.*--start {first}"):
        find_days(context, Window(first, last))
    build(shop, first)
    assert len(find_days(context, Window(first, last)).records) == 2
    assert due(shop) == []


def test_forgetting_reaches_days_of_before_the_key_and_names_those_of_another(shop, monkeypatch):
    configured(shop, CONFIG)
    shop.write(after(0), lines_of_zoe(after(0)))
    build(shop, after(0))
    configured(shop)
    monkeypatch.setenv("TEST_USER_KEY", "o" * 32)
    shop.write(after(1), lines_of_zoe(after(1)))
    build(shop, after(1))
    monkeypatch.setenv("TEST_USER_KEY", "k" * 32)
    forgot = forget(shop)
    assert (forgot.days, forgot.other_key, forgot.exit_code) == (("2026-01-01",), ("2026-01-02",), 1)
    for day in (after(0), after(1)):
        assert KEY.hash(SENT) not in read_events(shop.store, HOME, day, build(shop, day)).ids["user_id"].to_list()
    assert (forget(shop).events, forget(shop).exit_code) == (0, 0), "the note reaches the day when it is read again"


def test_forgetting_names_releases_of_another_key_as_ones_that_may_hold_the_user(shop, monkeypatch):
    configured(shop, more='[artifacts]\nkinds = ["implicit"]\n', targets=ONE)
    shop.write(FIRST, lines_of_zoe(FIRST))
    assert shop.run(FIRST).success
    under_first_key = shop.live().release_id
    monkeypatch.setenv("TEST_USER_KEY", "o" * 32)
    blind = forget(shop)
    assert (blind.other_key_in, blind.live_holds, blind.exit_code) == ((under_first_key,), True, 1)

    shop.write(after(1), lines_of_zoe(after(1)))
    for day in (FIRST, after(1)):
        assert shop.run(day).success
    forgot = forget(shop)

    assert forgot.other_key == ()
    assert under_first_key in forgot.other_key_in
    assert shop.live().release_id not in forgot.other_key_in
    assert forgot.exit_code == 0


def build(shop, day=FIRST):
    """Read a day and build it of one target; return its record."""
    settings = shop.settings
    build_raw(shop.store, settings, day)
    return build_canonical(DayContext(shop.store, settings, settings.find(HOME.tenant, HOME.surface), day)).record


def due(shop):
    """Return the days that the sensor on raw files would start."""
    automation = shop.settings.automation.model_copy(update={"settled_minutes": 0, "look_back_days": 3})
    settings = shop.settings.model_copy(update={"automation": automation})
    row = settings.find(HOME.tenant, HOME.surface)
    found = look(shop.store, settings, row, seen={}, now=datetime.now(UTC), find=input_finder(settings))
    return [one.day for one in found.due]


def forget(shop):
    row = shop.settings.find(HOME.tenant, HOME.surface)
    return forget_user(
        ForgetRequest(shop.store, shop.settings, row, SENT, BY, lambda: datetime(2026, 2, 1, tzinfo=UTC))
    )
