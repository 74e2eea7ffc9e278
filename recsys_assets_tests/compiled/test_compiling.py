"""Compiled code kept on disk: never older than what it was made of."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_assets_tests import warm_processes

ROOT = Path(__file__).parents[2]
CALLER = """
import os
import sys
import numpy as np
from callee import answer
from recsys_assets.compiled.runtime import compiled

@compiled
def ask(result):
    result[0] = answer(result[0])

result = np.full(1, int(os.environ.get("FIRST", "0")), np.int64)
ask(result)
print(result[0], "numba" in sys.modules and f"{sum(ask.stats.cache_hits.values())} read")
"""
CALLEE = """
import math
from recsys_assets.compiled.runtime import inlined

@inlined
def answer(given):
    return {}
"""


# A process that is forked takes the time for its start that its imports took for theirs.
STARTS_NOW = "import time; from recsys_assets.compiled import runtime; runtime._STARTED = time.time(); "


def run(folder, answer, **environment):
    write_sources(folder, answer)
    program = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]; import caller"
    whole = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=whole)
    return done.stdout.strip()


def run_beside_numba(folder, answer, **environment):
    """Run it where numba is imported already, which takes as long as all the rest: for what is compiled anyway."""
    write_sources(folder, answer)
    program = f"{STARTS_NOW}import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]; import caller"
    whole = {**os.environ, **environment}
    line = [sys.executable, "-c", program]
    return warm_processes.run(line, capture_output=True, text=True, check=True, env=whole).stdout.strip()


def write_sources(folder, answer):
    (folder / "caller.py").write_text(CALLER)
    (folder / "callee.py").write_text(CALLEE.format(answer))


def kept_files(folder):
    return sorted(folder.rglob("*.code"))


@pytest.mark.slow
def test_code_is_compiled_again_when_what_it_calls_changes_in_another_module(tmp_path):
    assert run_beside_numba(tmp_path, 1) == "1 0 read"
    assert run(tmp_path, 1) == "1 False", "machine code, without numba, while nothing changed"
    assert run(tmp_path, 1, NUMBA_DISABLE_JIT="0") == "1 1 read", "by numba, from its own cache"
    assert run_beside_numba(tmp_path, 2) == "2 0 read"
    assert run(tmp_path, 2) == "2 False"
    assert len(kept_files(tmp_path)) == 1, "new code takes the place of old"
    assert run(tmp_path, 2, NUMBA_OPT="1") == "2 1 read", "other settings of numba are other code"


@pytest.mark.slow
def test_machine_code_that_is_not_as_it_was_written_is_never_run_and_is_written_again(tmp_path):
    run_beside_numba(tmp_path, 1)
    (file,) = kept_files(tmp_path)
    whole = file.read_bytes()
    digest, header, code = whole.split(b"\n", 2)
    for damaged in (
        whole[:-1],
        whole[:-1] + bytes([whole[-1] ^ 1]),
        b"",
        b"\n".join([digest, header.replace(b'"layout":""', b'"layout":"q"'), code]),
        sealed(header.replace(b'"made_of":"', b'"made_of":"0'), code),
        sealed(b"{}", code),
    ):
        file.write_bytes(damaged)
        assert run_beside_numba(tmp_path, 1) == "1 1 read"
        assert file.read_bytes() == whole
    assert run(tmp_path, 1) == "1 False"


def sealed(header, code):
    rest = header + b"\n" + code
    return hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest


@pytest.mark.slow
def test_code_that_needs_what_only_numba_has_is_left_to_it(tmp_path):
    """LLVM ends the process at a symbol that it does not know."""
    assert run_beside_numba(tmp_path, "int(math.gamma(given + 3.0))") == "2 0 read"
    assert run_beside_numba(tmp_path, "int(math.gamma(given + 3.0))") == "2 1 read"
    assert kept_files(tmp_path) == []


@pytest.mark.slow
def test_an_error_in_machine_code_is_the_one_that_numba_raises(tmp_path):
    run_beside_numba(tmp_path, "8 // given", FIRST="2")
    assert len(kept_files(tmp_path)) == 1
    with pytest.raises(subprocess.CalledProcessError) as native:
        run(tmp_path, "8 // given")
    with pytest.raises(subprocess.CalledProcessError) as by_numba:
        run(tmp_path, "8 // given", NUMBA_DISABLE_JIT="0")
    assert native.value.stderr.splitlines()[-1] == by_numba.value.stderr.splitlines()[-1]
    assert "ZeroDivisionError" in native.value.stderr


@pytest.mark.slow
def test_machine_code_is_kept_with_the_user_where_the_sources_take_nothing_and_where_numba_is_set_to(tmp_path):
    sources, user, chosen = tmp_path / "sources", tmp_path / "user", tmp_path / "chosen"
    sources.mkdir()
    (sources / "__pycache__").write_text("a file, so that nothing can be written into it")
    assert run(sources, 1, XDG_CACHE_HOME=str(user), PYTHONDONTWRITEBYTECODE="1") == "1 0 read"
    assert run(sources, 1, XDG_CACHE_HOME=str(user), PYTHONDONTWRITEBYTECODE="1") == "1 False"
    assert run(sources, 1, NUMBA_CACHE_DIR=str(chosen)) == "1 0 read"
    assert run(sources, 1, NUMBA_CACHE_DIR=str(chosen)) == "1 False"
    assert [len(kept_files(folder)) for folder in (sources, user, chosen)] == [0, 1, 1]


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
    assert list(tmp_path.glob("**/*.nb?")) + kept_files(tmp_path) == []
    assert run_beside_numba(tmp_path, 2) == "2 0 read"


def test_numba_is_not_imported_before_something_compiled_is_called():
    """It takes a second to import, which commands that compute nothing need not pay; nor for pandera if all is well."""
    late = {"numba", "pandera", "llvmlite", "narwhals"}
    program = f"import sys, recsys_assets.definitions; print(sorted({late} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_an_environment_in_which_nothing_is_compiled_is_named(tmp_path):
    (tmp_path / "callee.py").write_text(CALLEE.format(7))
    program = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import callee; callee.answer(0)"
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
    done = warm_processes.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{7}"
