"""Small files that unpack to gigabytes: each is refused by name, within the memory that a process was given."""

import bz2
import io
import json
import lzma
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys_assets.catalog.catalog import read_catalog
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.imports.inspecting import inspect
from recsys_assets.ingest.sources.parquet import ParquetStream
from recsys_assets.ingest.sources.streams import FileStream, SeekableFile
from recsys_assets.settings.artifacts import ImportFormat
from recsys_assets.settings.inputs import RawSettings

ALLOWED = 700_000_000  # bytes of memory beside what the libraries take
ADDRESSES = 3_000_000_000  # bytes of address space: threads reserve much that they never use
SMALL = 1_000_000
TEXT = "x" * 1_000_000
EVENT = {"ts": "2026-01-01T00:00:00Z", "tenant": "shop", "surface": "home", "session_id": "s", "item_id": "i"}


def parquet(columns, **options):
    stored = io.BytesIO()
    pq.write_table(pa.table(columns), stored, compression="zstd", **options)
    return stored.getvalue()


def events(items, **options):
    return parquet(
        {name: pa.repeat(value, len(items)) for name, value in EVENT.items()} | {"item_id": items}, **options
    )


def repeated(rows):
    """A long text that stands once, and in a million rows."""
    text = pa.array([TEXT])
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), text)


def prefixed(columns, groups=8):
    """Texts of 1 MB of which each is the one before it but for a digit, a hundred to a row group."""
    texts = pa.array([f"{TEXT}{n}" for n in range(100)])
    table = pa.table({name: pa.repeat("a", len(texts)) for name in columns} | {"item_id": texts})
    stored = io.BytesIO()
    encoding = dict.fromkeys(table.column_names, "DELTA_BYTE_ARRAY")
    with pq.ParquetWriter(stored, table.schema, compression="zstd", column_encoding=encoding, **PLAIN) as writer:
        for _ in range(groups):
            writer.write_table(table)
    return stored.getvalue()


PLAIN = {"use_dictionary": False, "data_page_size": 1 << 40, "write_statistics": False}


def one_list(values):
    return pa.ListArray.from_arrays(pa.array([0, values], pa.int32()), pa.nulls(values, pa.int8()))


def varint(number):
    number *= 2  # not negative, in zigzag
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


def lying():
    """A page of 300 MB of which the footer says that it is small."""
    data = events([b"\0" * 300_000_000], **PLAIN)
    metadata = pq.ParquetFile(io.BytesIO(data)).metadata
    chunk = metadata.row_group(0).column(4)
    true = varint(chunk.total_uncompressed_size)
    small = bytes([*[0x80 | 8] + [0x80] * (len(true) - 2), 0])
    assert true in data
    return data.replace(true, small)


def huge_window():
    """One block of zstd in a frame that asks for a window of 2 GB."""
    line = b'{"v":1}\n'
    return b"\x28\xb5\x2f\xfd\x00\xa8" + (len(line) << 3 | 1).to_bytes(3, "little") + line


def zstd(line, times):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        for _ in range(times):
            stream.write(line * (1_000_000 // len(line)))
    return sink.getvalue().to_pybytes()


def lzma_zip():
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w", zipfile.ZIP_LZMA) as archive:
        header = io.BytesIO()
        np.save(header, np.zeros(1000))
        archive.writestr("a.npy", header.getvalue())
    data = stored.getvalue()
    place = data.index(b"\x5d", data.index(b"a.npy"))
    return data[: place + 1] + b"\xff\xff\xff\xff" + data[place + 5 :]  # the window that the file asks for


def many_axes():
    header = {"a": {"dtype": "F32", "shape": [1] * 65, "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(4)


BOMBS = {
    "raw repeated.parquet": lambda: events(repeated(100_000)),
    "raw prefixed.parquet": lambda: prefixed(EVENT),
    "raw lying.parquet": lying,
    "raw nulls.parquet": lambda: events(pa.nulls(1_500_000, pa.string())),
    "raw window.zst": huge_window,
    "raw lines.zst": lambda: zstd(b"\n", 200),
    "raw members.bz2": lambda: bz2.compress(b"\n" * 1_000_000) * 100,
    "raw streams.xz": lambda: lzma.compress(b"\n" * 1_000_000) * 100,
    "catalog rows.jsonl.zst": lambda: zstd(b'{"item_id":"%s"}\n' % (b"a" * 5000), 200),
    "import repeated.parquet": lambda: parquet({"a": repeated(100_000)}),
    "import prefixed.parquet": lambda: prefixed(["a"]),
    "import lists.parquet": lambda: parquet(
        {"a": pa.array([[TEXT] * 300])}, column_encoding={"a.list.element": "DELTA_BYTE_ARRAY"}, **PLAIN
    ),
    "import one list.parquet": lambda: parquet({"a": one_list(35_000_000)}),
    "import window.npz": lzma_zip,
    "import axes.safetensors": many_axes,
}


def defuse(path):
    """Read a file as its name says; return the error that refuses it."""
    what, _, name = path.name.partition(" ")
    try:
        if what == "catalog":
            read_catalog(path)
        elif what == "import":
            form = ImportFormat(path.suffix[1:])
            inspect(path.read_bytes(), form, name=name, max_unpacked_bytes=500_000_000)
        else:
            settings = RawSettings(exposures="{day}.parquet")
            is_parquet = path.suffix == ".parquet"
            stored = SeekableFile(path, name=name) if is_parquet else FileStream(path, name=name)
            with ParquetStream(stored, name=name, settings=settings) if is_parquet else stored as stream:
                buffer = memoryview(bytearray(1 << 20))
                while stream.readinto(buffer):
                    pass
    except RecsysAssetsError as error:
        return f"{type(error).__name__}: {error}"
    except MemoryError:
        return "MemoryError"
    return "it was read"


def address_space():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def peak_memory():
    """The most that this process held; what `getrusage` says is that of the process before `exec`, too."""
    (line,) = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process with little memory says of each bomb, and its peak in bytes above what libraries take."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, make in BOMBS.items():
        data = make()
        assert len(data) < SMALL, name
        (folder / name).write_bytes(data)
    line = [sys.executable, "-m", "recsys_assets_tests.ingest.test_bombs", folder]
    done = subprocess.run(line, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="address space is bounded on Linux alone")
@pytest.mark.parametrize("name", BOMBS)
def test_f60_a_small_file_that_unpacks_to_gigabytes_is_refused_within_little_memory(found, name):
    assert found[name].startswith(("LimitExceededError: ", "InputError: ")), found[name]
    assert name.partition(" ")[2] in found[name]


@pytest.mark.skipif(sys.platform != "linux", reason="address space is bounded on Linux alone")
def test_f60_the_peak_of_memory_stays_under_the_bound(found):
    assert 0 < found["peak"] < ALLOWED


def main():
    used = address_space()
    before = peak_memory()
    resource.setrlimit(resource.RLIMIT_AS, (used + ADDRESSES, used + ADDRESSES))
    said = {path.name: defuse(path) for path in sorted(Path(sys.argv[1]).iterdir())}
    sys.stdout.write(json.dumps(said | {"peak": peak_memory() - before}))


if __name__ == "__main__":
    main()
