"""Factors: they solve what the paper asks, say who likes what, and are the same bytes however they are computed."""

import hashlib
import os
import subprocess
import sys
from datetime import date

import numpy as np
import pytest
from safetensors.numpy import load

from recsys_assets.encoding.codec import encode_content
from recsys_assets.engines.building import find_definition
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.als_factors import ITEM, USER
from recsys_assets.kinds.contracts import check_content
from recsys_assets.kinds.registry import KINDS
from recsys_assets.kinds.tallies import merge_tallies, tally_day
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets_tests.kinds.event_rows import events_of, row

KIND = KINDS["als_factors"]
TEA, CUP = [f"tea{n}" for n in range(5)], [f"cup{n}" for n in range(5)]
TWO_TASTES = [
    row(place, f"u{user:02}", "s", (TEA, CUP)[user % 2][(user // 2 + step) % 5], "buy" if step == 0 else None)
    for place, (user, step) in enumerate((user, step) for user in range(20) for step in range(4))
]


def built(rows, **params):
    return KIND.build(events_of(rows), KIND.params(**{"factors": 4, **params}), LimitSettings())


def blob_of(found, *, segment=None):
    target, window = Target("shop", "home", segment), Window(date(2026, 1, 1), date(2026, 1, 2))
    return encode_content(found.rows, kind=KIND.name, target=target, window=window, max_bytes=10**7)


def test_who_likes_some_gets_the_one_of_their_kind_that_they_have_not_seen():
    tables = built(TWO_TASTES, alpha=1).rows.tables
    likes = tables[USER].values @ tables[ITEM].values.T
    seen = {(one.user_id, one.item_id) for one in TWO_TASTES}
    for user, row_of_user in zip(tables[USER].ids, likes, strict=True):
        ranked = sorted(zip(row_of_user, tables[ITEM].ids, strict=True), reverse=True)
        best_unseen = next(item for _, item in ranked if (user, item) not in seen)
        assert best_unseen[:3] == ("tea" if int(user[1:]) % 2 == 0 else "cup")


def test_each_user_vector_solves_the_papers_equation():
    """Hu, Koren, Volinsky 2008, equation 4, with confidences of alpha times the weights where there are events."""
    params = {"alpha": 3.0, "weights": {"buy": 2.5, "default": 1.0}, "regularization": 0.1, "iterations": 200}
    tables = built(TWO_TASTES, **params).rows.tables
    items = tables[ITEM].values.astype(float)
    for user, found in zip(tables[USER].ids, tables[USER].values, strict=True):
        confidence = np.ones(len(items))
        mine = [one for one in TWO_TASTES if one.user_id == user]
        for one in mine:
            confidence[tables[ITEM].ids.index_of(one.item_id)] = 3.0 * (2.5 if one.event == "buy" else 1.0)
        liked = np.isin(tables[ITEM].ids.to_list(), [one.item_id for one in mine])
        left = items.T @ (confidence[:, None] * items) + 0.1 * np.eye(4)
        np.testing.assert_allclose(found, np.linalg.solve(left, items.T @ (confidence * liked)), atol=2e-3)


def test_items_past_the_cut_go_and_users_left_without_any_go_with_them():
    rows = [row(0, "u1", "s", "a"), row(1, "u2", "s", "a"), row(2, "u2", "s", "b"), row(3, "u3", "s", "c")]
    found = built(rows, max_items=2)
    assert {column: table.ids.to_list() for column, table in found.rows.tables.items()} == {
        USER: ["u1", "u2"],
        ITEM: ["a", "b"],
    }
    assert (found.numbers["users"], found.numbers["items"], found.numbers["pairs"]) == (2, 2, 4)
    assert len(found.rows) == 4
    assert check_content(found.rows, KIND.params(factors=4, max_items=2)) == ()


def test_a_day_of_nobody_has_no_vectors_and_is_a_file_all_the_same():
    found = built([row(0, None, "s", "a")])
    assert len(found.rows) == 0
    assert {name: array.shape for name, array in load(blob_of(found).data).items()} == {
        "user_id.ends": (0,), "item_id.ends": (0,), "user_factors": (0, 4), "item_factors": (0, 4),
        "user_id.text": (0,), "item_id.text": (0,),
    }  # fmt: skip


def test_a_longer_window_is_made_of_its_days_tallies():
    half = len(TWO_TASTES) // 2
    days = [events_of(TWO_TASTES[:half]), events_of(TWO_TASTES[half:] + TWO_TASTES[:3])]
    merged = merge_tallies([tally_day(day, KIND.event_columns) for day in days])
    window = KIND.build(merged, KIND.params(factors=4), LimitSettings())
    again = [one._replace(ts=one.ts + 1000) for one in TWO_TASTES[:3]]
    assert blob_of(window).ref == blob_of(built(TWO_TASTES + again)).ref


def test_the_file_is_what_the_reference_library_reads_and_says_whose_it_is():
    found = built(TWO_TASTES)
    blob = blob_of(found, segment="new \u00e9")
    arrays = load(blob.data)
    for column, array in KIND.shape.tables.items():
        table, ends = found.rows.tables[column], arrays[f"{column}.ends"]
        text = arrays[f"{column}.text"].tobytes()
        ids = [text[start:end].decode() for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        assert ids == table.ids.to_list()
        np.testing.assert_array_equal(arrays[array], table.values)
    assert blob.ref.version == f"{hashlib.sha256(blob.data).hexdigest()}.safetensors"
    assert b'"segment":"new \xc3\xa9"' in blob.data[:2000]


MANY = [row(n, f"u{n % 3000}", "s", f"i{n * n % 997}") for n in range(12_000)]  # enough for BLAS to part its sums
ONCE = """
from recsys_assets_tests.kinds.test_als_factors import MANY, blob_of, built
print(blob_of(built(MANY, factors=64, iterations=2)).ref.version)
"""


@pytest.mark.slow
def test_threads_and_hash_seed_of_another_process_change_no_byte():
    """F30, as far as a library's floating-point numbers can keep it: on this processor."""
    other = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "7", "PYTHONHASHSEED": "9"}
    done = subprocess.run([sys.executable, "-c", ONCE], check=True, capture_output=True, text=True, env=other)
    assert done.stdout == f"{blob_of(built(MANY, factors=64, iterations=2)).ref.version}\n"


def test_other_seeds_are_other_factors_and_the_numbers_say_what_computed_them():
    assert blob_of(built(TWO_TASTES)).ref != blob_of(built(TWO_TASTES, seed=2)).ref
    numbers = built(TWO_TASTES).numbers
    assert numbers["library"].startswith("implicit 0.")
    assert "openblas" in numbers["blas"]


def test_no_other_engine_builds_it():
    with pytest.raises(ConfigurationError, match="als_factors has no relational definition"):
        find_definition(KIND, KIND.params())


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    with pytest.raises(ConfigurationError, match=r"install recsys-assets\[als\], or remove als_factors"):
        built(TWO_TASTES)
