"""Whole files in another form, and files cut by a local day: refused by name, or read with their neighbours."""

import bz2
import gzip
import io
import lzma
import re
import zipfile
from datetime import date

import pytest
import zstandard

from recsys_assets.identity import Target
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.quarantine import Reason
from recsys_assets.ingest.sources.discovery import find_inputs
from recsys_assets.settings.settings import Settings
from recsys_assets_tests.ingest.lines import line

DAY = date(2026, 1, 1)
HOME = Target("shop", "home")
PACK = {"plain": bytes, "gzip": gzip.compress, "xz": lzma.compress}
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
    "line separators": "\u2028".encode().join,
    "commas": lambda lines: b",\n".join([*lines, b""]),
    "escaped quotes": lambda lines: b"\n".join(lines).replace(b'"', b'\\"'),
    "HTML": lambda _: b"<html>\n<body>503</body>\n</html>\n",
    "two compressions": lambda lines: gzip.compress(gzip.compress(b"\n".join(lines))),
}


def read(folder, **raw):
    rows = [{"tenant": "shop", "surface": "home"}]
    raw = {"exposures": "raw/{day}*", **raw}
    found = Settings.model_validate({"raw": raw, "targets": rows, "base": folder})
    return parse_day(
        find_inputs(found, DAY),
        day=DAY,
        targets=[HOME],
        keep_part=lambda *_: None,
        keep_rejects=lambda _: None,
        spill_days=found.raw.spill_days,
    )


@pytest.mark.parametrize(
    ("spoil", "lost"),
    [
        pytest.param(lambda text: b"\0" * len(text), 400, id="a hole that a crash left"),
        pytest.param(lambda text: text.replace(b"\n", b""), 400, id="objects without line ends"),
        pytest.param(lambda text: text.replace(b"\n", b"\r"), 400, id="CR"),
        pytest.param(lambda text: b"[" + text.replace(b"\n", b",") + b"]", 400, id="an array in a line"),
        pytest.param(lambda _: b'{"v":1,"note":"' + b"x" * 300 + b'"', 0, id="one bad line that is not much longer"),
    ],
)
def test_lines_that_stand_in_a_long_bad_line_count_as_bad_ones(tmp_path, spoil, lost):  # F62
    (tmp_path / "raw").mkdir()
    lines = [line(item_id=f"i{n:03d}") + b"\n" for n in range(1000)]
    text = b"".join(lines[:300]) + spoil(b"".join(lines[300:700])) + b"\n" + b"".join(lines[700:])
    (tmp_path / "raw" / f"{DAY}.jsonl").write_bytes(text)
    report = read(tmp_path).targets[HOME]
    assert report.events == 600
    assert abs(report.bad - max(lost, 1)) <= 5


@pytest.mark.parametrize(
    ("stored", "what"),
    [
        pytest.param(b"\x5d\0\0\x80\0" + bytes(range(256)) * 4, "binary data", id="lzma without a header"),
        pytest.param(b"\x85\x02\x0c\x03" + bytes(range(255, 0, -1)) * 4, "binary data", id="encrypted"),
        pytest.param(
            b"\x28\xb5\x2f\xfd\x04\xa8\x41\x00\x00" + b"a" * 8, "larger than 128 MB", id="zstd with a window of 2 GB"
        ),
    ],
)
def test_bytes_that_nobody_reads_are_named_for_what_they_are(tmp_path, stored, what):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / f"{DAY}.jsonl").write_bytes(stored)
    assert what in str(read(tmp_path).files[0].error)


def test_a_frame_that_is_skipped_before_the_first_is_no_reason_to_refuse_a_file(tmp_path):
    (tmp_path / "raw").mkdir()
    skipped = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"  # as pzstd writes
    (tmp_path / "raw" / f"{DAY}.jsonl").write_bytes(skipped + zstandard.compress(line() + b"\n"))
    assert read(tmp_path).targets[HOME].events == 1


@pytest.mark.parametrize("pack", ["plain", "gzip", "xz"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json.log"])
def test_a_file_in_another_form_is_refused_by_name_and_never_a_few_bad_lines(tmp_path, form, pack, name):  # F62
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / f"{DAY}{name}").write_bytes(PACK[pack](FORMS[form]([line(item_id=f"i{n}") for n in range(50)])))
    (tmp_path / "raw" / f"{DAY}.jsonl").write_bytes(b"".join(line(item_id=f"i{n}") + b"\n" for n in range(900)))
    report = read(tmp_path)
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
    alone, with_neighbours = (read(tmp_path, spill_days=days).targets[HOME] for days in (0, 1))
    assert (alone.events, alone.spilled, dict(alone.late)) == (1, 0, {"2025-12-31": 1})
    assert (with_neighbours.events, with_neighbours.spilled) == (2, 2)
    assert dict(with_neighbours.late) == {"2025-12-30": 1}


WRONG = ["", ".jsonl", ".gz", ".zst", ".bz2", ".xz", ".GZ", ".txt", ".json", ".1"]
COMPRESSED = {"gzip": gzip.compress, "zstd": zstandard.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("pack", COMPRESSED)
def test_a_compressed_file_is_read_whatever_its_name_says(tmp_path, pack, name):  # F62
    (tmp_path / "raw").mkdir()
    data = b"".join(line(item_id=f"i{n}") + b"\n" for n in range(50))
    (tmp_path / "raw" / f"{DAY}{name}").write_bytes(COMPRESSED[pack](data))
    report = read(tmp_path)
    assert report.targets[HOME].events == 50
    assert not report.rejects


@pytest.mark.parametrize("name", [".gz", ".GZIP", ".zst", ".zstd", ".bz2", ".XZ", ".parquet"])
def test_plain_lines_under_the_name_of_another_form_are_refused_by_name(tmp_path, name):  # F62
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / f"{DAY}{name}").write_bytes(line() + b"\n")
    (file,) = read(tmp_path).files
    assert f"raw/{DAY}{name} is not a complete" in file.error


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n"], ids=["LF", "CRLF", "blank lines"])
def test_a_byte_order_mark_costs_its_line_alone_and_says_so(tmp_path, end):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / f"{DAY}.jsonl").write_bytes(b"\xef\xbb\xbf" + (line() + end) * 3)
    (tmp_path / "raw" / f"{DAY}-alone.jsonl").write_bytes(b"\xef\xbb\xbf" + line() + end)
    report = read(tmp_path)
    assert report.targets[HOME].events == 2
    assert report.targets[HOME].rejects[Reason.BYTE_ORDER_MARK] == 2
    assert "it seems to hold a byte order mark" in report.files[0].error


def zipped(data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("events.jsonl", data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("compress", "form"),
    [
        pytest.param(gzip.compress, "gzip", id="gzip"),
        pytest.param(zstandard.compress, "zstd", id="zstd"),
        pytest.param(bz2.compress, "bz2", id="bz2"),
        pytest.param(lzma.compress, "xz", id="xz"),
        pytest.param(zipped, "a zip archive", id="zip"),
    ],
)
@pytest.mark.parametrize("end", [b"\n", b""], ids=["after a line end", "in a line"])
def test_compressed_bytes_behind_text_are_never_a_few_bad_lines(tmp_path, compress, form, end):  # F62
    (tmp_path / "raw").mkdir()
    text = b"\n".join(line(item_id=f"i{n:03d}") for n in range(1000))
    (tmp_path / "raw" / f"{DAY}.jsonl").write_bytes(text + end + compress(line(item_id="other") * 3))
    assert re.search(r"line 100[01]|line 1,00[01]", error := str(read(tmp_path).files[0].error)), error
    assert f"the beginning of {form}" in error


def test_a_bad_line_that_names_a_compression_refuses_no_file(tmp_path):
    (tmp_path / "raw").mkdir()
    bad = b"BZh91AY&SY is how bz2 begins\n" + b'{"v":1,"note":"}PK\\u0003\\u0004"\n'
    (tmp_path / "raw" / f"{DAY}.jsonl").write_bytes((line() + b"\n") * 200 + bad)
    found = read(tmp_path)
    assert found.files[0].error is None
    assert found.targets[HOME].bad == 2
