"""Any files in any form: what is counted, quarantined and named as skipped or refused is all that was there."""

import bz2
import gzip
import lzma
import os
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.identity import Target
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.sources.finding import find_inputs
from recsys_assets.settings.settings import Settings
from recsys_assets_tests.ingest.lines import line

DAY = date(2026, 1, 1)
HOME = Target("shop", "home")
MANY = 5_000 if os.environ.get("THOROUGH") else 40  # `make check` is thorough
PACK = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "two members": lambda data: gzip.compress(data[:100]) + gzip.compress(data[100:]),
}
# Forms of a whole file: written so, none of its lines is one.
FORMS = {
    "array": lambda lines: b"[" + b",".join(lines) + b"]",
    "pretty array": lambda lines: b"[\n" + b",\n".join(b"  " + one for one in lines) + b"\n]\n",
    "CR": b"\r".join,
    "concatenated": b"".join,
    "UTF-16": lambda lines: b"\n".join(lines).decode().encode("utf-16"),
    "UTF-16 without a mark": lambda lines: b"\n".join(lines).decode().encode("utf-16-be"),
    "zip": lambda lines: b"PK\x03\x04" + b"\n".join(lines),
    "Parquet": lambda lines: b"PAR1" + b"\n".join(lines),
    "tar": lambda lines: b"a.jsonl".ljust(257, b"\0") + b"ustar\0" + b"\n".join(lines),
    "HTML": lambda _: b"<html>\n<body>503</body>\n</html>\n",
    "two compressions": lambda lines: gzip.compress(gzip.compress(b"\n".join(lines))),
}
ENDINGS = st.sampled_from(["", ".gz", ".GZ", ".zst", ".bz2", ".xz"])
GOOD = st.builds(lambda n: line(item_id=f"i{n}"), st.integers(0, 9))
OTHER = st.sampled_from(
    [b"{", b"", b"[]", line(v=2), line(ts="2026-01-02T00:00:00Z"), line(tenant="x"), b"\xff", line(item_id="\0")]
)


def read(folder, **raw):
    rows = [{"tenant": "shop", "surface": "home"}]
    raw = {"exposures": "raw/{day}*", **raw}
    found = Settings.model_validate({"raw": raw, "targets": rows, "base": folder})
    rejects, skipped = [], []
    report = parse_day(
        find_inputs(found, DAY, skipped=skipped),
        day=DAY,
        targets=[HOME],
        keep_part=lambda *_: None,
        keep_rejects=rejects.extend,
        spill_days=found.raw.spill_days,
    )
    return report, rejects, skipped


@st.composite
def files(draw):
    """Return name, stored bytes and lines of some files."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        lines = draw(st.lists(st.one_of(GOOD, GOOD, OTHER), max_size=12))
        packed = draw(st.sampled_from(sorted(PACK)))
        ending = "" if packed == "plain" else draw(ENDINGS)  # a name that promises a compression is held to it
        spoilt = draw(st.sampled_from(["", "", ".tmp", "~", ".filepart"]))
        data = b"".join(one + b"\n" for one in lines)
        made.append((f"{DAY}-{number}.jsonl{ending}{spoilt}", PACK[packed](data), lines, bool(spoilt)))
    return made


@given(files())
@settings(max_examples=MANY, deadline=None)
def test_every_line_is_counted_quarantined_or_in_a_file_that_is_named(made):
    with TemporaryDirectory() as name:
        folder = Path(name) / "raw"
        folder.mkdir()
        for file, data, _, _ in made:
            (folder / file).write_bytes(data)
        report, rejects, skipped = read(Path(name))
    assert skipped == sorted(f"raw/{file}" for file, _, _, spoilt in made if spoilt)
    read_files = {f"raw/{file}": lines for file, _, lines, spoilt in made if not spoilt}
    assert {record.name: record.lines for record in report.files} == {n: len(lines) for n, lines in read_files.items()}
    counted = report.targets[HOME].events + sum(report.foreign.values())
    assert counted + len(rejects) == sum(map(len, read_files.values()))
    useless = {n for n, lines in read_files.items() if any(lines) and not any(_is_event(one) for one in lines)}
    assert {record.name for record in report.files if record.error} == useless


def _is_event(text):
    return text.startswith(b'{"v": 1') and b"\\u0000" not in text and b"\0" not in text


@pytest.mark.parametrize("pack", ["plain", "gzip", "xz"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json.log"])
def test_a_file_in_another_form_is_refused_by_name_and_never_a_few_bad_lines(tmp_path, form, pack, name):  # F62
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / f"{DAY}{name}").write_bytes(PACK[pack](FORMS[form]([line(item_id=f"i{n}") for n in range(50)])))
    (tmp_path / "raw" / f"{DAY}.jsonl").write_bytes(b"".join(line(item_id=f"i{n}") + b"\n" for n in range(900)))
    report, _, _ = read(tmp_path)
    (error,) = [record.error for record in report.files if record.error]
    assert f"raw/{DAY}{name}" in error
    assert "replace the file" in error or "expected lines" in error


def test_files_cut_by_a_local_day_lose_nothing_with_the_neighbours_files(tmp_path):
    (tmp_path / "raw").mkdir()
    for day, hours in (
        ("2025-12-31", ("30T20", "31T10")),
        ("2026-01-01", ("31T20", "01T10")),
        ("2026-01-02", ("01T20",)),
    ):
        at = [f"2025-12-{hour}" if hour.startswith("3") else f"2026-01-{hour}" for hour in hours]
        text = b"".join(line(ts=f"{hour}:00:00Z") + b"\n" for hour in at)
        (tmp_path / "raw" / f"{day}.jsonl").write_bytes(text)
    alone, with_neighbours = (read(tmp_path, spill_days=days)[0].targets[HOME] for days in (0, 1))
    assert (alone.events, alone.spilled, dict(alone.late)) == (1, 0, {"2025-12-31": 1})
    assert (with_neighbours.events, with_neighbours.spilled) == (2, 2)
    assert dict(with_neighbours.late) == {"2025-12-30": 1}
