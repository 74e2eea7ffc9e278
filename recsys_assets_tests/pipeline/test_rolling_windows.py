"""A rolling window is put together from stored tallies, and is what its days' events make, whatever is stored."""

import hashlib
import threading
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import InputError, LimitExceededError
from recsys_assets.events.dictionaries import merge_days
from recsys_assets.events.event_files import encode_events
from recsys_assets.events.events import ID_COLUMNS, SCHEMA, Events
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.tallies import COUNT, decode_tally, tally_address
from recsys_assets.pipeline.artifact import build_artifact
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.kernel_input import read_kernel_input
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_key, canonical_record_key, tally_key, tally_prefix
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.kinds.event_rows import event_rows, events_of, row
from recsys_assets_tests.kinds.row_kinds import ROW_KINDS
from recsys_assets_tests.thoroughness import examples

FIRST = date(2026, 1, 1)
TARGET = Target("shop", "home")
OF_EVENTS = [kind for kind in ROW_KINDS.values() if not kind.from_catalog]
ORDINARY = [row(n, f"u{n % 3}", f"s{n % 4}", item) for n, item in enumerate("abcabdbca")]


def settings_of(days, extra=""):
    tables = "".join(f"[artifacts.{kind.name}]\nwindow_days = {days}\n" for kind in OF_EVENTS)
    text = f'{extra}\n{tables}[[targets]]\ntenant = "shop"\nsurface = "home"\n'
    return parse_settings(text.encode(), name="recsys.toml", base=Path("/"))


def day_of(number, rows):
    """Return events of the day with that number; instants of a later day are later."""
    return events_of([one._replace(ts=one.ts + number * 1000) for one in rows])


def put_day(store, number, events):
    data, day = encode_events(events), FIRST + timedelta(days=number)
    digest, rows = hashlib.sha256(data).hexdigest(), len(events.codes)
    record = CanonicalRecord(
        digest=digest, size=len(data), rows=rows, events=rows, duplicates=0, bad=0, rejects={}, inputs=()
    )
    store.put(canonical_key(TARGET, day), data)
    store.put(canonical_record_key(TARGET, day), encode(record))


def read(store, config, kind, last):
    window = Window.ending(FIRST + timedelta(days=last), days=config.artifacts.tables[kind.name]["window_days"])
    return read_kernel_input(DayContext(store, config, config.find("shop", "home"), window.last), kind, window).read


def built(kind, source):
    made = kind.build(source, kind.params(), LimitSettings())
    return made.rows.frame().rows(), made.left_out, dict(made.numbers)


def only(events, columns):
    """Return the columns that a kernel reads, as `read_events` does."""
    wanted = [name for name in SCHEMA if name in columns]
    return Events(events.codes.select(wanted), {name: events.ids[name] for name in wanted if name in ID_COLUMNS})


def tallies(store, kind):
    return [item.key for item in store.list(tally_prefix(TARGET, kind.name))]


@pytest.fixture
def store():
    return MemoryStore()


@pytest.mark.parametrize("kind", OF_EVENTS, ids=lambda kind: kind.name)
@given(
    days=st.lists(event_rows.filter(bool), min_size=2, max_size=5),
    late=st.none() | st.tuples(st.integers(0, 4), event_rows.filter(bool)),
    length=st.integers(2, 3),
)
@examples(30)
def test_a_window_that_moves_on_makes_what_its_events_make(kind, days, late, length):
    """Each day is built in turn; then one may be delivered again with other events, and the last is built again."""
    store, config = MemoryStore(), settings_of(length)
    events = [day_of(number, rows) for number, rows in enumerate(days)]
    for last, day in enumerate(events):
        put_day(store, last, day)
        read(store, config, kind, last)
    if late is not None:
        number = late[0] % len(days)
        events[number] = day_of(number, late[1])
        put_day(store, number, events[number])
    whole = merge_days([only(day, kind.event_columns) for day in events[-length:]])
    assert built(kind, read(store, config, kind, len(days) - 1)) == built(kind, whole)


@pytest.mark.parametrize("name", ["cooc", "session_seq"])
@given(days=st.lists(event_rows.filter(bool), min_size=2, max_size=3))
@examples(20)
def test_a_window_of_chosen_events_makes_what_those_events_make(name, days):
    params = ROW_KINDS[name].params(events=("", "click"))
    kind, store, config = ROW_KINDS[name].reading(params), MemoryStore(), settings_of(3)
    events = [day_of(number, rows) for number, rows in enumerate(days)]
    for number, day in enumerate(events):
        put_day(store, number, day)
    whole = merge_days([only(day, kind.event_columns) for day in events])
    window = read(store, config, kind, len(days) - 1)
    made, expected = (kind.build(source, params, LimitSettings()) for source in (window, whole))
    assert made.rows.frame().rows() == expected.rows.frame().rows()


@pytest.mark.parametrize("kind", OF_EVENTS, ids=lambda kind: kind.name)
def test_the_next_day_reads_the_events_of_no_day_but_its_own(store, kind):
    config = settings_of(3)
    for number in range(3):
        put_day(store, number, day_of(number, ORDINARY))
    read(store, config, kind, 2)
    for number in range(3):
        store.delete(canonical_key(TARGET, FIRST + timedelta(days=number)))
    put_day(store, 3, day_of(3, ORDINARY))
    whole = merge_days([only(day_of(number, ORDINARY), kind.event_columns) for number in (1, 2, 3)])
    assert built(kind, read(store, config, kind, 3)) == built(kind, whole)


def test_stored_tallies_are_asked_for_side_by_side_where_the_store_is_remote():
    class Remote(MemoryStore):
        together = threading.Barrier(1)

        @property
        def root_uri(self):
            return "s3://bucket/prefix"

        def get(self, key, *, max_bytes):
            if key.startswith(prefix):
                self.together.wait(timeout=30)
            return super().get(key, max_bytes=max_bytes)

    kind, store, config = OF_EVENTS[0], Remote(), settings_of(3)
    prefix = tally_prefix(TARGET, kind.name)
    for number in range(3):
        put_day(store, number, day_of(number, ORDINARY))
    first = built(kind, read(store, config, kind, 2))
    store.together = threading.Barrier(3)
    assert built(kind, read(store, config, kind, 2)) == first


def test_a_day_delivered_again_is_counted_as_it_is_now_and_its_old_tally_goes(store):
    kind, config = ROW_KINDS["popularity"], settings_of(2)
    put_day(store, 0, day_of(0, [row(1, "u", "s", "a")]))
    put_day(store, 1, day_of(1, [row(1, "u", "s", "b")]))
    read(store, config, kind, 1)
    before = tallies(store, kind)
    put_day(store, 0, day_of(0, [row(1, "u", "s", "c")]))
    assert built(kind, read(store, config, kind, 1))[0] == [("b", 1), ("c", 1)]
    after = tallies(store, kind)
    assert (len(before), len(after), len(set(before) & set(after))) == (2, 2, 1)


def test_code_that_changed_does_not_read_what_older_code_stored(store):
    """F51: what an older version of this package kept is made again, not trusted."""
    kind, config = ROW_KINDS["popularity"], settings_of(2)
    for number in range(2):
        put_day(store, number, day_of(number, ORDINARY))
    expected = built(kind, read(store, config, kind, 1))
    keys = tallies(store, kind)
    older = [older_tally(store, number, kind) for number in range(2)]
    put_day(store, 5, day_of(5, ORDINARY[:2]))
    put_day(store, 6, day_of(6, ORDINARY[:2]))
    read(store, config, kind, 6)
    other = store.get(tallies(store, kind)[-1], max_bytes=10**9).data  # whole, and of other events
    for key in tallies(store, kind):
        store.delete(key)
    for former in older:
        store.put(former, other)
    assert built(kind, read(store, config, kind, 1)) == expected
    assert tallies(store, kind) == keys
    assert not set(older) & set(keys)


def older_tally(store, number, kind):
    """The key of a day's tally as another version of the code would have stored it."""
    day = FIRST + timedelta(days=number)
    digest = read_document(store, canonical_record_key(TARGET, day), CanonicalRecord).digest
    return tally_key(TARGET, kind.name, day, tally_address(digest, kind.event_columns, code="another"))


@pytest.mark.parametrize("damage", [lambda data: data[:-40] + b"\0" * 40, lambda _: b"", lambda data: data[1:]])
def test_a_damaged_tally_is_made_again(store, damage):
    """F13: what bit rot makes of a tally is no count that anybody is shown."""
    kind, config = ROW_KINDS["cooc"], settings_of(2)
    for number in range(2):
        put_day(store, number, day_of(number, ORDINARY))
    expected = built(kind, read(store, config, kind, 1))
    key = tallies(store, kind)[0]
    whole = store.get(key, max_bytes=10**9).data
    store.put(key, damage(whole))
    assert built(kind, read(store, config, kind, 1)) == expected
    assert store.get(key, max_bytes=10**9).data == whole


def test_tallies_of_days_that_left_the_window_go_and_those_of_later_days_stay(store):
    kind, config = ROW_KINDS["implicit"], settings_of(2)
    for number in range(4):
        put_day(store, number, day_of(number, ORDINARY))
    read(store, config, kind, 3)
    read(store, config, kind, 1)
    days = {FIRST + timedelta(days=number) for number in range(4)}
    assert {key.split("/")[-2] for key in tallies(store, kind)} == {str(day) for day in days}
    read(store, config, kind, 3)
    assert {key.split("/")[-2] for key in tallies(store, kind)} == {"2026-01-03", "2026-01-04"}


def test_a_tally_holds_each_row_once_and_no_other_column(store):
    kind, config = ROW_KINDS["popularity"], settings_of(2)
    put_day(store, 0, day_of(0, ORDINARY))
    read(store, config, kind, 0)
    tally = decode_tally(store.get(tallies(store, kind)[0], max_bytes=10**9).data)
    assert tally.codes.columns == ["item_id", COUNT]
    assert tally.codes.height == len({one.item_id for one in ORDINARY})


def test_a_window_of_one_day_stores_no_tally(store):
    kind, config = ROW_KINDS["popularity"], settings_of(1)
    put_day(store, 0, day_of(0, ORDINARY))
    read(store, config, kind, 0)
    assert tallies(store, kind) == []


def test_events_are_counted_of_all_days_though_their_tallies_have_fewer_rows(store):
    config = settings_of(2)
    for number in range(2):
        put_day(store, number, day_of(number, ORDINARY))
    day, target = FIRST + timedelta(days=1), config.find("shop", "home")
    staged = build_artifact(DayContext(store, config, target, day, run_id="r"), "popularity").staged
    assert (staged.facts["events"], staged.facts["days"]) == (2 * len(ORDINARY), 2)
    assert [found.name for found in staged.inputs] == [canonical_key(TARGET, FIRST), canonical_key(TARGET, day)]


def test_a_window_of_too_many_events_fails_before_a_byte_of_them_is_read(store):
    """F21: limits.max_events counts the window's events by its records."""
    config = settings_of(2, extra=f"[limits]\nmax_events = {2 * len(ORDINARY) - 1}")
    for number in range(2):
        put_day(store, number, day_of(number, ORDINARY))
        store.delete(canonical_key(TARGET, FIRST + timedelta(days=number)))
    with pytest.raises(LimitExceededError, match=r"limits\.max_events"):
        read(store, config, ROW_KINDS["cooc"], 1)


def test_a_window_without_a_day_says_what_to_build(store):
    with pytest.raises(InputError, match="build canonical first"):
        read(store, settings_of(2), ROW_KINDS["cooc"], 1)
