"""The laws that every kernel keeps: it agrees with its oracle, and no order, id or day outside its input touches it."""

from random import Random

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.kinds.contracts import check_rows
from recsys_assets.kinds.cooc_scan import Score
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets_tests.kinds import oracles
from recsys_assets_tests.kinds.event_rows import ITEMS, KINDS_OF_EVENT, event_rows, events_of, row
from recsys_assets_tests.kinds.row_kinds import ROW_KINDS
from recsys_assets_tests.thoroughness import examples

LIMITS = LimitSettings()
OF_EVENTS = [pytest.param(kind, id=kind.name) for kind in ROW_KINDS.values() if not kind.from_catalog]
CHOICES = [("click",), ("", "purchase"), ("nothing",), ("", "click", "default", "purchase")]
WHOLE_WEIGHTS = [{"click": 3}, {"default": 0, "purchase": 10_000}, {"default": 2, "click": 0}]
WEIGHTS = [{"default": 1.0}, {"default": 0.1, "click": 2.5, "purchase": 1_000.000001}, {"click": 3.0}]
SMALL = {
    "max_items": st.integers(1, 6),
    "max_neighbors": st.integers(1, 6),
    "max_next": st.integers(1, 6),
    "min_support": st.integers(1, 3),
    "max_items_per_session": st.integers(2, 6),
    "max_items_per_user": st.integers(1, 6),
    "max_events_per_user": st.integers(1, 12),
    "weights": st.sampled_from(WEIGHTS),
}
NATIVE = {  # what only the native engine knows
    "score": st.sampled_from(Score),
    "shrinkage": st.integers(1, 20),
    "half_life_days": st.integers(1, 3),
    "events": st.sampled_from(CHOICES),
    "by_support": st.booleans(),
    "self_entry": st.booleans(),
}


@st.composite
def params_of(draw, kind, *, native=False):
    """Parameters whose cuts and limits bite in a few dozen events, and the defaults, whose do not."""
    small = SMALL | NATIVE if native else SMALL
    if kind.name == "popularity":
        small = {**small, "weights": st.sampled_from(WHOLE_WEIGHTS if native else [{}])}
    chosen = {name: draw(st.none() | small[name]) for name in sorted(small.keys() & kind.params.model_fields)}
    if chosen.get("score") in {None, Score.COUNT}:
        chosen.pop("shrinkage", None)
    return kind.params(**{name: value for name, value in chosen.items() if value is not None})


def build(kind, source, params):
    return kind.build(source, params, LIMITS)


def as_people_read(kind, body):
    """Lay the oracle's JSON body out as `Rows.frame` does."""
    shape, found = kind.shape, []
    for one in body if shape.key else [{shape.entries: body}]:
        head = (one[shape.key],) if shape.key else ()
        entries = [
            (e[shape.member], number(shape, e[shape.value])) if shape.value else (e,) for e in one[shape.entries]
        ]
        nothing = [(None, None)] if shape.key else []
        found += [(*head, *entry) for entry in entries or nothing]
    return found


def number(shape, value):
    return value if shape.scale == 1 else float(value)


@pytest.mark.parametrize("kind", OF_EVENTS)
@examples(50)
@given(data=st.data(), rows=event_rows)
def test_a_kernel_agrees_with_its_oracle(kind, data, rows):
    params = data.draw(params_of(kind, native=True))
    expected = getattr(oracles, kind.name)(oracles.chosen(rows, params), params)
    assert build(kind, events_of(rows), params).rows.frame().rows() == as_people_read(kind, expected)


@pytest.mark.parametrize("kind", OF_EVENTS)
@examples(50)
@given(data=st.data(), rows=event_rows)
def test_rows_keep_the_contract_and_the_declared_columns(kind, data, rows):
    params = data.draw(params_of(kind, native=True))
    built = build(kind, events_of(rows), params)
    assert check_rows(built.rows, params) == ()
    assert built.rows.frame().schema == pl.Schema(kind.columns)


@pytest.mark.parametrize("kind", OF_EVENTS)
@examples(50)
@given(data=st.data(), rows=event_rows)
def test_ids_that_no_event_names_change_nothing(kind, data, rows):
    params = data.draw(params_of(kind, native=True))
    plain = build(kind, events_of(rows), params)
    spared = build(kind, events_of(rows, spare_ids=["", "b1", "\U0010ffff"]), params)
    assert spared.rows.frame().equals(plain.rows.frame())
    assert (spared.left_out, spared.numbers) == (plain.left_out, plain.numbers)


@pytest.mark.parametrize("kind", OF_EVENTS)
@examples(50)
@given(data=st.data(), rows=event_rows)
def test_a_kernel_reads_no_other_column_than_it_says_and_leaves_its_input_alone(kind, data, rows):
    params = data.draw(params_of(kind, native=True))
    events = events_of(rows)
    before = events.codes.clone()
    columns = kind.reading(params).event_columns
    narrow = type(events)(events.codes.select(columns), {name: events.ids[name] for name in columns if name != "ts"})
    assert build(kind, narrow, params).rows.frame().equals(build(kind, events, params).rows.frame())
    assert events.codes.equals(before)


@pytest.mark.parametrize("kind", [k for k in OF_EVENTS if k.id not in {"session_seq", "item_seq", "sequential_rules"}])
@examples(50)
@given(data=st.data(), rows=event_rows, seed=st.integers(0, 2**32))
def test_the_order_of_events_changes_nothing(kind, data, rows, seed):
    """Sequences are about order: for them the canonical one is part of the input."""
    params = data.draw(params_of(kind, native=True))
    events = events_of(rows)
    shuffled = type(events)(events.codes.sample(fraction=1, shuffle=True, seed=seed), events.ids)
    assert build(kind, shuffled, params).rows.frame().equals(build(kind, events, params).rows.frame())


catalogs = st.lists(
    st.tuples(
        st.sampled_from(ITEMS), st.lists(st.sampled_from(["Red", " red\u2003", "", " ", "\u0130x", "\u03a3", "b&w"]))
    ),
    max_size=20,
)


@examples(50)
@given(catalog=catalogs, max_items=st.integers(1, 6))
def test_tags_agree_with_their_oracle_and_keep_the_contract(catalog, max_items):
    kind = ROW_KINDS["content_sim"]
    params = kind.params(max_items=max_items)
    frame = pl.DataFrame(catalog, schema={"item_id": pl.String, "tags": pl.List(pl.String)}, orient="row")
    built = build(kind, frame, params)
    assert built.rows.frame().rows() == as_people_read(kind, oracles.content_sim(catalog, params))
    assert check_rows(built.rows, params) == ()


@pytest.mark.parametrize("kind", OF_EVENTS)
def test_a_crowd_agrees_with_the_oracle(kind, crowd):
    """Large enough for blocks, threads and every branch of the sorts to come into play."""
    params = kind.params(**({"weights": WEIGHTS[1]} if kind.name == "implicit" else {}))
    expected = getattr(oracles, kind.name)(crowd, params)
    assert build(kind, events_of(crowd), params).rows.frame().rows() == as_people_read(kind, expected)


@pytest.fixture(scope="module")
def crowd():
    random = Random(7)  # noqa: S311 - a seeded crowd
    users = [None, *(f"u{n}" for n in range(40))]
    return [
        row(
            n,
            random.choice(users),
            f"s{random.randrange(900)}",
            f"i{int(random.paretovariate(0.5)) % 5000}",
            random.choice(KINDS_OF_EVENT),
        )
        for n in range(12_000)
    ]


# Every one of these sorts otherwise, by what it stands for.
RENAMED = dict(zip(ITEMS, reversed(ITEMS), strict=True))
SCORED = {
    "cooc": {"score": st.sampled_from(Score)},
    "sequential_rules": {"self_entry": st.booleans(), "by_support": st.booleans()},
}


@pytest.mark.parametrize("name", ["cooc", "implicit", "item_seq", "popularity", "sequential_rules"])
@examples(50)
@given(data=st.data(), rows=event_rows)
def test_other_names_of_items_give_the_same_scores(name, data, rows):
    """Same instant means no order: nothing may hang on the order of ids, where no cut has to choose among equals."""
    kind = ROW_KINDS[name]
    params = kind.params(**{setting: data.draw(values) for setting, values in SCORED.get(name, {}).items()})
    plain = build(kind, events_of(rows), params).rows.frame()
    renamed = build(kind, events_of([r._replace(item_id=RENAMED[r.item_id]) for r in rows]), params).rows.frame()
    items = [column for column in plain.columns if column in {"item_id", "neighbor_id", "next_id"}]
    back = renamed.with_columns(pl.col(items).replace(RENAMED))
    assert back.sort(plain.columns).equals(plain.sort(plain.columns))
