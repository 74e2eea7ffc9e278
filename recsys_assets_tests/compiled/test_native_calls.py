"""Machine code called without numba: the same answers and the same bytes as numba's own calls."""

import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from threading import Lock

import numpy as np
import pytest

from recsys_assets.compiled.native_calls import flatten
from recsys_assets.compiled.runtime import _Entry
from recsys_assets.pipeline.warm_up import warm_up

ROOT = Path(__file__).parents[2]
SMAPS = Path("/proc/self/smaps")
FEWEST_FORMS = 30  # of arguments, with which the days of the warm-up call compiled code
WITHOUT_NUMBA = """
import sys
from recsys_assets.pipeline.warm_up import warm_up
warm_up()
print(sorted({"numba"} & set(sys.modules)))
"""
RESIDENT_CODE = """
from pathlib import Path
mappings = Path("/proc/self/smaps").read_text().split(" r-xp ")
print(sum(int(one.split("Rss:")[1].split()[0]) for one in mappings if "libllvmlite" in one.partition("\\n")[0]))
"""


def twin(value):
    """Return a copy that numba takes for the same: an array keeps whether it may be written to."""
    if isinstance(value, tuple):
        members = [twin(member) for member in value]
        return type(value)(*members) if hasattr(value, "_fields") else tuple(members)
    copied = deepcopy(value)
    if isinstance(value, np.ndarray):
        copied.flags.writeable = value.flags.writeable
    return copied


def content(value):
    if isinstance(value, tuple):
        return [content(member) for member in value]
    return (value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else (type(value), value)


@pytest.mark.slow
def test_every_entry_point_answers_and_writes_the_same_through_numba_and_without_it(monkeypatch):
    warm_up()
    native, forms, one_at_a_time, entries = _Entry.__call__, set(), Lock(), set()

    def both_ways(self, *arguments):
        with one_at_a_time:  # threads write to ranges of the same arrays
            if self not in entries:
                entries.add(self)
                self._native.clear()  # code that numba compiled in this process is kept by now, and is loaded here
            mine = twin(arguments)
            answer, expected = native(self, *arguments), self.ready()(*mine)
            assert content(answer) == content(expected), self._source
            assert content(arguments) == content(mine), self._source
        forms.update((self._source, form) for form, found in self._native.items() if found is not None)
        return answer

    monkeypatch.setattr(_Entry, "__call__", both_ways)
    warm_up()
    assert len(forms) >= FEWEST_FORMS


@pytest.fixture(scope="module")
def without_numba():
    """What a process says that builds days: the second one, where the first still had something to compile."""
    script = WITHOUT_NUMBA + (RESIDENT_CODE if SMAPS.exists() else "")
    for _ in range(2):
        said = run(script)
        if said[0] == "[]":
            break
    return said


def run(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.splitlines()


@pytest.mark.slow
def test_days_are_built_without_numba_where_their_code_is_kept(without_numba):
    assert without_numba[0] == "[]"


@pytest.mark.slow
@pytest.mark.skipif(not SMAPS.exists(), reason="needs /proc")
def test_code_of_llvm_leaves_memory_once_kept_code_is_loaded(without_numba):
    (loaded,) = run("from recsys_assets.compiled.native_calls import engine\nengine()\n" + RESIDENT_CODE)
    assert int(without_numba[1]) < int(loaded) / 4, "in kB"


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="nothing"),
        pytest.param("text", id="text"),
        pytest.param(1 << 63, id="a number past 64 bits"),
        pytest.param([1], id="a list"),
        pytest.param(np.zeros(2, "i8,i8"), id="records"),
        pytest.param(np.zeros(3, object), id="objects"),
        pytest.param(np.zeros(9, np.uint8)[1:].view(np.int64), id="numbers that are not aligned"),
        pytest.param(np.zeros(2, np.int64).view(np.recarray), id="a class of arrays"),
        pytest.param((1, (None,)), id="nothing within"),
    ],
)
def test_what_numba_would_take_for_something_else_is_left_to_it(value):
    assert not flatten(value, [], [])


def test_forms_differ_where_numba_compiles_again():
    grid = np.zeros((3, 3), np.int64)
    fixed = grid.copy()
    fixed.flags.writeable = False
    values = [grid, fixed, grid.T, grid[:, ::2], grid[0], grid.astype(np.uint64), 1, True, (1, 1), (1, (1,)), ((1, 1),)]
    forms = set()
    for value in values:
        form = []
        assert flatten(value, form, [])
        forms.add(tuple(form))
    assert len(forms) == len(values)


def test_the_address_of_an_array_is_that_of_its_first_element():
    base = np.arange(24).reshape(4, 6)
    arrays = [base, base[1:], base[:, 2], base.T[3:], base[::-1], np.frombuffer(b"12345678", np.uint8), np.empty(0)]
    for array in arrays:
        words = []
        flatten(array, [], words)
        assert words[4] == array.ctypes.data
