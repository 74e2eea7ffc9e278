"""The warm-up compiles all that an ordinary day calls."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DAY = """
import json, sys, tempfile
from datetime import date, timedelta
from pathlib import Path
from recsys_assets.settings.reading import parse_settings
from recsys_assets.pipeline.warm_up import CONFIG, OF_ROWS, build_days
folder = Path(tempfile.mkdtemp())
days = [date(2026, 3, 1), date(2026, 3, 2)]
for day in days:
    lines = [{"v": 1, "ts": f"{day}T09:00:00.{n:03d}Z", "tenant": "warm", "surface": "up", "session_id": f"s{n // 9}",
              "item_id": f"item {n % 7} é", **({"user_id": f"u{n % 4}"} if n % 3 else {})} for n in range(300)]
    (folder / f"{day}.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\\n" for line in lines))
(folder / "catalog.jsonl").write_text('{"item_id":"a","tags":["x"]}\\n')
config = f"[artifacts]\\nkinds = {[*OF_ROWS]}\\n{CONFIG}"
build_days(parse_settings(config.encode(), name="test", base=folder), days)
"""

WITHOUT_PANDAS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name=name)
sys.meta_path.insert(0, Absent())
"""

FORMS = """
import gc
from recsys_assets.compiled.runtime import _Entry
from recsys_assets.pipeline.warm_up import warm_up
def called():
    entries = [one for one in gc.get_objects() if isinstance(one, _Entry)]
    return {f"{one._source.__module__}.{one._source.__name__} {form}" for one in entries for form in one._native}
warm_up()
warm = called()
"""


@pytest.mark.slow
def test_nothing_is_left_to_compile_after_it():
    """Names without rank, request and event, other characters, other lengths: all run what is there."""
    program = f"{FORMS}\n{DAY}\nprint(len(warm), *sorted(called() - warm), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, cwd=ROOT, timeout=300, capture_output=True, text=True
    )
    number, *left = done.stdout.splitlines()
    assert int(number) > 20
    assert left == []


@pytest.mark.slow
def test_a_day_is_built_where_pandas_is_not_installed():
    """Nothing that is required needs it: pandera judges Polars by itself, and Arrow is handed no object of pandas."""
    subprocess.run([sys.executable, "-c", f"{WITHOUT_PANDAS}\n{DAY}"], check=True, cwd=ROOT, timeout=300)


@pytest.mark.slow
def test_a_day_is_built_without_pandas():
    """Arrow and pandera import it, where it is installed: half a second, and forty MB."""
    pytest.importorskip("pandas")
    program = f'{DAY}\nsys.exit("pandas is imported" if "pandas" in sys.modules else 0)'
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=ROOT, timeout=300, capture_output=True, text=True
    )
    assert (done.returncode, "Warning" in done.stderr) == (0, False), done.stderr
