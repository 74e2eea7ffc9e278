"""The stored form of an artifact: one module writes and parses it, and stays light."""

import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

import recsys_assets
from recsys_assets.artifact_format import ZEROED_BUILD, Envelope, head_of, parse, seal, version_of
from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import MAX_SEGMENT_BYTES, Target, Window

WINDOW = Window.ending(date(2026, 1, 5), days=2)
LONGEST = "&" * MAX_SEGMENT_BYTES  # each byte takes six when it is escaped


SHOP = Target("shop", "home")


def blob(target=SHOP):
    return seal(head_of("items", kind="popularity", target=target, window=WINDOW) + b"[]", WINDOW)[0]


@pytest.mark.parametrize(
    "target", [Target("shop", "home"), Target("é<&>", "a\u3042", 'x"\\'), Target(LONGEST, LONGEST, LONGEST)]
)
def test_what_is_written_is_parsed_up_to_the_longest_names(target):
    data = blob(target)
    document = parse(data, name="it")
    window = ("2026-01-04T00:00:00Z", "2026-01-06T00:00:00Z")
    assert document.envelope == Envelope("popularity", target.tenant, target.surface, target.segment, *window)
    assert (document.body, data[document.start : document.stop]) == ("items", b"[]")
    assert version_of(data, name="it") in data.decode()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda data: data.replace(b'"v":1', b'"v":2'), "does not begin"),
        (lambda data: data + b" ", "ends with"),
        (
            lambda data: data.replace(b'"built_at":"2026-01-06', b'"built_at":"2026-01-05'),
            "has a build time other than",
        ),
        (lambda data: data.replace(b'"tenant":"shop"', b'"tenant":"sh\\u006fp"'), "no writer produces"),
    ],
)
def test_bytes_that_no_writer_leaves_are_refused(changed, message):
    with pytest.raises(CorruptObjectError, match=message):
        parse(changed(blob()), name="it")


def test_other_bytes_prove_no_version():
    with pytest.raises(CorruptObjectError, match="but its bytes have version"):
        version_of(blob().replace(b"[]", b"[1]"), name="it")


def test_the_module_loads_no_library_of_frames():
    code = (
        "import sys, recsys_assets.artifact_format; print({'numpy', 'polars', 'msgspec', 'numba'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_no_other_module_spells_an_end_of_the_format():
    ends = (ZEROED_BUILD.decode()[:10], "artifact_type" + '":')
    modules = Path(recsys_assets.__file__).parent.rglob("*.py")
    spelled = {path.name for path in modules if any(end in path.read_text() for end in ends)}
    assert spelled == {"artifact_format.py"}
