"""Compiled code kept on disk: never older than what it was made of."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLER = """
import numpy as np
from callee import answer
from recsys_assets.compiled.runtime import compiled

@compiled
def ask(result):
    result[0] = answer()

result = np.zeros(1, np.int64)
ask(result)
print(result[0], sum(ask.stats.cache_hits.values()))
"""
CALLEE = """
from recsys_assets.compiled.runtime import inlined

@inlined
def answer():
    return {}
"""


def run(folder, answer):
    (folder / "caller.py").write_text(CALLER)
    (folder / "callee.py").write_text(CALLEE.format(answer))
    program = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]; import caller"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.slow
def test_code_is_compiled_again_when_what_it_calls_changes_in_another_module(tmp_path):
    assert run(tmp_path, 1) == ["1", "0"]
    assert run(tmp_path, 1) == ["1", "1"], "taken from disk while nothing changed"
    assert run(tmp_path, 2) == ["2", "0"]


@pytest.mark.slow
def test_a_process_whose_sources_were_replaced_keeps_nothing_of_what_it_compiles(tmp_path):
    """As by an upgrade in place: the next process would run old code, or find classes that are gone."""
    (tmp_path / "caller.py").write_text(CALLER.partition("result = ")[0])
    callee = tmp_path / "callee.py"
    callee.write_text(CALLEE.format(1))
    program = f"""
import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
import numpy as np, caller, time
time.sleep(0.02)
open({str(callee)!r}, "w").write({CALLEE.format(2)!r})
result = np.zeros(1, np.int64)
caller.ask(result)
print(result[0])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"], "it runs on as it was loaded"
    assert list(tmp_path.glob("**/*.nb?")) == []
    assert run(tmp_path, 2) == ["2", "0"]


def test_numba_is_not_imported_before_something_compiled_is_called():
    """It takes a second to import, which commands that compute nothing need not pay; nor for pandera if all is well."""
    late = {"numba", "pandera", "llvmlite", "narwhals"}
    program = f"import sys, recsys_assets.definitions; print(sorted({late} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_an_environment_in_which_nothing_is_compiled_is_named(tmp_path):
    (tmp_path / "callee.py").write_text(CALLEE.format(7))
    program = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import callee; callee.answer()"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert "ConfigurationError: NUMBA_DISABLE_JIT is set" in done.stderr


def test_threads_that_call_the_same_code_first_all_get_its_answer(tmp_path):
    (tmp_path / "callee.py").write_text(CALLEE.format(7))
    (tmp_path / "caller.py").write_text(CALLER.partition("result = ")[0])
    program = f"""
import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import numpy as np
from caller import ask
together = Barrier(8)
def first(_):
    result = np.zeros(1, np.int64)
    together.wait()
    ask(result)
    return int(result[0])
with ThreadPoolExecutor(8) as pool:
    print(set(pool.map(first, range(8))))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{7}"
