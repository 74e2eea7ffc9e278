"""A day's files to parts, rejects and counts: whatever comes in, nothing is lost and nothing is taken twice."""

from collections import Counter
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import ConfigurationError, StoreUnavailableError
from recsys_assets.identity import Target
from recsys_assets.ingest.counts import OTHER
from recsys_assets.ingest.parse import PART_ROWS, parse_day
from recsys_assets.ingest.part_merge import ABSENT, CODED_COLUMNS
from recsys_assets.ingest.quarantine import Reason
from recsys_assets_tests.ingest.lines import LEFT_OUT, line
from recsys_assets_tests.ingest.memory_input import MemoryInput
from recsys_assets_tests.thoroughness import examples

DAY = date(2026, 1, 1)
HOME, CART, OTHERS = Target("shop", "home"), Target("shop", "cart"), Target("other", "home")
BOTH = (CART, HOME)
SMALL_CHUNK = 4096  # so that small inputs are many chunks


class Day:
    """What parsing handed on, as rows of plain Python."""

    def __init__(self, *files, targets=BOTH, **options):
        self.rejects = []
        self.rows = {target: [] for target in targets}
        self.parts = Counter()
        self.report = parse_day(
            files, day=DAY, targets=targets, keep_part=self._part, keep_rejects=self.rejects.extend, **options
        )

    def _part(self, target, part):
        self.parts[target] += 1
        columns = []
        for name in CODED_COLUMNS:
            texts = part.ids[name].texts()
            assert len(set(texts)) == len(texts), "ids of a part are distinct"
            columns.append([None if code == ABSENT else texts[code] for code in part.codes[name].tolist()])
        self.rows[target] += zip(part.ts.tolist(), part.rank.tolist(), *columns, strict=True)

    def items(self, target):
        return [row[4] for row in self.rows[target]]

    def reasons(self):
        return [(reject.file, reject.line, reject.reason) for reject in self.rejects]


def file(*texts, name="a.jsonl", targets=BOTH, end=b"\n"):
    return MemoryInput(name, b"\n".join(texts) + (end if texts else b""), targets)


BAD = [
    pytest.param(b"{", Reason.NOT_JSON, id="not JSON"),
    pytest.param(b"", Reason.BLANK_LINE, id="blank"),
    pytest.param(b"\xef\xbb\xbf" + line(), Reason.BYTE_ORDER_MARK, id="BOM"),
    pytest.param(line(rank="3"), Reason.WRONG_TYPE, id="wrong type"),
    pytest.param(line(item_id=LEFT_OUT), Reason.MISSING_FIELD, id="missing field"),
    pytest.param(line(v=2), Reason.UNKNOWN_VERSION, id="another version"),
    pytest.param(line(ts="2026-01-01T08:00:00"), Reason.NO_ZONE, id="no zone"),
    pytest.param(line(x="y" * 5_000_000), Reason.TOO_LONG, id="5 MB line"),
    pytest.param(line(x="y" * 10_000_000), Reason.TOO_LONG, id="10 MB line"),
    pytest.param(line(item_id="Q").replace(b"Q", b"\xff"), Reason.BAD_UTF8, id="not UTF-8"),
    pytest.param(line(item_id="\t"), Reason.EMPTY_FIELD, id="blank item"),
    pytest.param(line(item_id="a\0b"), Reason.NUL_CHARACTER, id="NUL in an item"),
    pytest.param(line(user_id="\0"), Reason.NUL_CHARACTER, id="NUL as a user"),
    pytest.param(line(session_id="s\0"), Reason.NUL_CHARACTER, id="NUL behind a session"),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_a_bad_line_is_quarantined_with_its_number_and_the_good_ones_are_kept(text, reason):  # F28
    day = Day(file(line(item_id="i1"), text, line(item_id="i2")))
    assert day.reasons() == [("a.jsonl", 2, reason)]
    assert day.items(HOME) == ["i1", "i2"]
    assert day.rejects[0].size == len(text)
    assert day.rejects[0].text.startswith(text[:10].decode(errors="backslashreplace"))
    counted = {found: n for found, n in day.report.targets[HOME].rejects.items() if found is not Reason.HIDDEN_LINES}
    assert counted == {reason: 1}


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("chunk_bytes", [SMALL_CHUNK, 1 << 20])
def test_parts_and_rejects_do_not_depend_on_threads_or_chunks(threads, chunk_bytes):  # F30
    texts = [line(item_id=f"i{n % 7}", user_id=f"u{n % 50}", rank=n) for n in range(500)]
    texts[::50] = [b"{"] * 10
    day = Day(file(*texts), file(*texts, name="b.jsonl"), threads=threads, chunk_bytes=chunk_bytes)
    assert day.items(HOME) == [f"i{n % 7}" for n in range(500) if n % 50] * 2
    assert day.reasons() == [
        (name, n + 1, Reason.NOT_JSON) for name in ("a.jsonl", "b.jsonl") for n in range(0, 500, 50)
    ]
    assert [(record.lines, record.name) for record in day.report.files] == [(500, "a.jsonl"), (500, "b.jsonl")]


def test_events_go_to_the_target_that_they_name():
    day = Day(file(line(item_id="h"), line(item_id="c", surface=" cart ")))
    assert (day.items(HOME), day.items(CART)) == (["h"], ["c"])
    assert day.report.targets[CART].events == 1


def test_lines_that_only_the_reference_reader_takes_are_events_too():
    hundred = {f"x{n}": n for n in range(100)}  # more unknown fields than the scan follows
    day = Day(file(line(item_id="i1"), line(item_id="i2", **hundred), line(item_id="i3", rank=2**62)))
    assert sorted(day.items(HOME)) == ["i1", "i2", "i3"]
    assert sum(day.report.unknown_fields.values()) == 100
    assert 2**62 in [row[1] for row in day.rows[HOME]]


def test_events_of_others_are_counted_and_neither_kept_nor_bad():
    day = Day(file(line(tenant="x"), line(tenant="x", ts="1999-01-01T00:00:00Z"), line()))
    assert day.report.foreign == {"x/home": 2}
    assert (day.rejects, day.report.targets[HOME].events) == ([], 1)


def test_a_file_serves_only_the_targets_that_it_is_named_for():
    day = Day(file(line(surface="cart"), line(surface="home"), targets=(HOME,)))
    assert (day.items(HOME), day.items(CART)) == (["i1"], [])
    assert day.report.foreign == {"shop/cart": 1}
    assert not day.report.targets[CART].files


def test_events_of_another_day_are_quarantined_by_day_and_are_not_bad():  # F26
    late = [line(ts="2025-12-31T23:59:59.999999999Z"), line(ts="2026-01-02T00:00:00Z"), line(ts="0001-01-01T00:00:00Z")]
    edges = [line(ts="2026-01-01T00:00:00Z"), line(ts="2026-01-01T23:59:59.999999999Z")]
    day = Day(file(*late, *edges))
    assert [(reject.line, reject.reason, reject.day) for reject in day.rejects] == [
        (1, Reason.OUT_OF_WINDOW, "2025-12-31"),
        (2, Reason.OUT_OF_WINDOW, "2026-01-02"),
        (3, Reason.OUT_OF_WINDOW, "0001-01-01"),
    ]
    share = day.report.targets[HOME]
    assert share.late == {"0001-01-01": 1, "2025-12-31": 1, "2026-01-02": 1}
    assert (share.events, share.bad) == (2, 0)
    assert share.rejects == {Reason.OUT_OF_WINDOW: 3}


def test_unknown_fields_are_counted_on_every_well_formed_line():
    day = Day(file(line(x=1, y=2), line(x=1, tenant="other"), line(x=1, ts="2020-01-01T00:00:00Z"), line(x=1, v=2)))
    assert day.report.unknown_fields == {"x": 3, "y": 1}


def test_names_are_counted_up_to_a_bound():
    texts = [line(tenant=f"t{n}", **{f"x{n}": 1}) for n in range(300)]
    report = Day(file(*texts), file(line(tenant="t0"), name="b"), chunk_bytes=SMALL_CHUNK).report
    for counts in (report.foreign, report.unknown_fields):
        assert len(counts) == 101
        assert counts[OTHER] == 200
    assert report.foreign["t0/home"] == 2


@pytest.mark.parametrize(
    ("text", "blamed"),
    [
        pytest.param(line(rank=-1), {HOME}, id="names a target"),
        pytest.param(line(rank=-1, surface=None), {HOME, CART}, id="names a tenant only"),
        pytest.param(line(rank=-1, surface="cart", tenant=5), {CART, OTHERS} - {OTHERS}, id="names a surface only"),
        pytest.param(b"{", {HOME, CART, OTHERS}, id="names nothing"),
        pytest.param(line(rank=-1, tenant="x"), set(), id="names a stranger"),
    ],
)
def test_a_bad_line_counts_against_those_it_may_belong_to(text, blamed):
    targets = (CART, HOME, OTHERS)
    report = Day(file(text, targets=targets), targets=targets).report
    assert {target for target in targets if report.targets[target].bad} == blamed
    assert report.rejects == 1


def test_a_bad_line_counts_against_nobody_whom_its_file_does_not_serve():
    report = Day(file(b"{", targets=(HOME,)), file(line(surface="cart"), targets=(CART,), name="b")).report
    assert (report.targets[HOME].bad, report.targets[CART].bad) == (1, 0)


# What came of a target's files: how many there are, their lines, its events and bad lines, and how many broke off.
COUNTS = [
    pytest.param((), (0, 0, 0, 0, 0), id="no file"),
    pytest.param((file(),), (1, 0, 0, 0, 0), id="empty file"),
    pytest.param((file(line(surface="cart")),), (1, 1, 0, 0, 0), id="events of another target"),
    pytest.param((file(line(ts="2020-01-01T00:00:00Z")),), (1, 1, 0, 0, 0), id="events of another day"),
    pytest.param((file(b"{"),), (1, 1, 0, 1, 1), id="nothing but a bad line"),
    pytest.param((file(*[line()] * 99, b"{"),), (1, 100, 99, 1, 0), id="one bad line of many"),
    pytest.param((file(), file(line(), name="b")), (2, 1, 1, 0, 0), id="an empty file beside a full one"),
    pytest.param((MemoryInput("a", line() * 2, BOTH, breaks_at=5), file(line())), (2, 1, 1, 0, 1), id="breaks off"),
]


@pytest.mark.parametrize(("files", "counts"), COUNTS)
def test_each_kind_of_input_has_its_own_counts(files, counts):  # F27
    found = Day(*files).report.targets[HOME]
    broken = sum(record.error is not None for record in found.files)
    lines = sum(record.lines for record in found.files)
    assert (len(found.files), lines, found.events, found.bad, broken) == counts


@pytest.mark.timeout(60)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "useless",
    [
        pytest.param(MemoryInput("empty", b"", BOTH), id="empty"),
        pytest.param(MemoryInput("broken", line() * 9, BOTH, breaks_at=5), id="breaks off"),
        pytest.param(MemoryInput("long", line(x="y" * 3 * SMALL_CHUNK), BOTH), id="one long line"),
    ],
)
def test_any_number_of_files_without_a_good_line_holds_up_nothing(useless, threads):
    day = Day(*[useless] * 20, file(line()), threads=threads, chunk_bytes=SMALL_CHUNK)
    assert day.items(HOME) == ["i1"]
    assert len(day.report.files) == 21


def test_a_file_that_breaks_off_stops_neither_the_others_nor_other_targets():
    broken = MemoryInput("broken", line() * 100, (HOME,), breaks_at=50)
    day = Day(
        file(line(surface="cart"), targets=(CART,)), broken, file(line(surface="cart"), targets=(CART,), name="c")
    )
    assert day.items(CART) == ["i1", "i1"]
    assert [record.error is None for record in day.report.files] == [True, False, True]
    assert "broken breaks off" in day.report.files[1].error
    assert not any(record.error for record in day.report.targets[CART].files)


def test_quarantine_is_bounded_and_counts_are_not():  # F21
    day = Day(file(*[b""] * 5000, *[line(ts="2020-01-01T00:00:00Z")] * 10, line()), max_kept_rejects=7)
    assert [reject.line for reject in day.rejects] == [1, 2, 3, 4, 5, 6, 7]
    assert (day.report.rejects, day.report.rejects_kept) == (5010, 7)
    assert day.report.targets[HOME].rejects == {Reason.BLANK_LINE: 5000, Reason.OUT_OF_WINDOW: 10}
    assert day.items(HOME) == ["i1"]


def test_more_lines_are_handed_back_than_the_scan_has_room_for():
    texts = [b"{"] * 40_000
    texts[20_000] = line()
    day = Day(file(*texts))
    assert day.report.rejects == 39_999
    assert day.items(HOME) == ["i1"]
    assert day.rejects[20_000].line == 20_002


def test_small_parts_are_collected_into_large_ones():
    texts = [line(surface=("home", "cart")[n % 2], item_id=f"i{n}") for n in range(2000)]
    day = Day(file(*texts), chunk_bytes=SMALL_CHUNK)
    assert day.parts == {HOME: 1, CART: 1}
    assert day.items(HOME) == [f"i{n}" for n in range(0, 2000, 2)]


def test_a_day_that_no_timestamp_can_hold_is_refused():
    with pytest.raises(ConfigurationError, match="expected a year from 1971 to 2198"):
        parse_day([], day=date(2262, 5, 1), targets=[HOME], keep_part=print, keep_rejects=print)


EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "item_id": st.sampled_from(["a", "b", " a", "é\u2028", 'q"', "", None]),
        "user_id": st.sampled_from(["u", None, " "]),
        "surface": st.sampled_from(["home", "cart", "x"]),
        "ts": st.sampled_from(["2026-01-01T23:00:00-01:00", "2026-01-01T10:00:00+01:00", "now"]),
        "x": st.integers(),
    },
)


@given(st.lists(EVENTS, max_size=40), st.integers(1, 3))
@examples(60)
def test_every_line_is_counted_exactly_once(events, threads):
    texts = [line(**event) for event in events]
    day = Day(file(*texts, end=b""), threads=threads, chunk_bytes=512)
    kept = sum(map(len, day.rows.values()))
    assert kept + day.report.rejects + sum(day.report.foreign.values()) == len(texts) == day.report.files[0].lines
    assert len({reject.line for reject in day.rejects}) == day.report.rejects


def test_a_part_that_cannot_be_kept_ends_the_reading():
    """F15: the disk is full at a part in the middle of a day; nothing waits for ever, and the rest is not read."""
    rows, kept = PART_ROWS // 2, []

    def keep(_target, part):
        kept.append(len(part))
        raise StoreUnavailableError("no space left")

    files = [file(*[line(item_id=f"i{number}")] * rows, name=f"{number}.jsonl") for number in range(8)]
    with pytest.raises(StoreUnavailableError, match="no space left"):
        parse_day(files, day=DAY, targets=BOTH, keep_part=keep, keep_rejects=print, chunk_bytes=1 << 20)
    assert len(kept) < len(files) // 2
