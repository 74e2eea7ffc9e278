"""Files of a day: found by the template, each once, for the targets that it was named for."""

import os
from datetime import date

import pytest

from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.files import find_files
from recsys_assets.settings.settings import Settings

DAY = date(2026, 1, 1)
HOME, CART = Target("shop", "home"), Target("shop", "cart")


def settings(folder, template, *targets):
    rows = [{"tenant": target.tenant, "surface": target.surface, "slug": f"t{n}"} for n, target in enumerate(targets)]
    return Settings.model_validate({"raw": {"exposures": template}, "targets": rows, "base": folder})


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"{}\n")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param("raw/{day}.jsonl", ["raw/2026-01-01.jsonl"], id="one file"),
        pytest.param(
            "raw/{day}*.jsonl*",
            ["raw/2026-01-01-b.jsonl.gz", "raw/2026-01-01.jsonl", "raw/2026-01-01.jsonl.zst"],
            id="several files, by name",
        ),
        pytest.param("{day:%Y/%m/%d}/*.jsonl", ["2026/01/01/a.jsonl"], id="day in parts"),
        pytest.param("**/{day}.jsonl", ["deep/er/2026-01-01.jsonl", "raw/2026-01-01.jsonl"], id="any folder"),
        pytest.param("raw/{day}", [], id="a folder is no file"),
        pytest.param("nowhere/{day}.jsonl", [], id="no folder"),
    ],
)
def test_the_files_of_a_day_are_found(tmp_path, template, expected):
    write(
        tmp_path,
        "raw/2026-01-01.jsonl",
        "raw/2026-01-01-b.jsonl.gz",
        "raw/2026-01-01.jsonl.zst",
        "raw/2026-01-02.jsonl",
        "raw/x2026-01-01.txt",
        "deep/er/2026-01-01.jsonl",
        "2026/01/01/a.jsonl",
        "2026/01/02/a.jsonl",
    )
    (tmp_path / "raw" / "2026-01-01").mkdir()
    found = find_files(settings(tmp_path, template, HOME), DAY)
    assert [file.name for file in found] == expected
    assert all(file.path == tmp_path / file.name and file.size == 3 for file in found)


def test_a_file_that_several_targets_name_is_found_once_for_all_of_them(tmp_path):
    write(tmp_path, "2026-01-01.jsonl")
    (file,) = find_files(settings(tmp_path, "{day}.jsonl", HOME, CART), DAY)
    assert file.targets == (CART, HOME)


def test_a_file_in_a_targets_own_folder_is_named_for_it_alone(tmp_path):
    write(tmp_path, "shop/home/2026-01-01.jsonl", "shop/cart/2026-01-01.jsonl")
    found = find_files(settings(tmp_path, "{tenant}/{surface}/{day}.jsonl", HOME, CART), DAY)
    assert {file.name: file.targets for file in found} == {
        "shop/home/2026-01-01.jsonl": (HOME,),
        "shop/cart/2026-01-01.jsonl": (CART,),
    }


def test_wildcards_in_names_and_folders_stand_for_themselves(tmp_path):
    base = tmp_path / "odd [1]*"
    write(base, "a[b]c/2026-01-01.jsonl", "abc/2026-01-01.jsonl")
    (file,) = find_files(settings(base, "{tenant}/{day}.jsonl", Target("a[b]c", "home")), DAY)
    assert file.name == "a[b]c/2026-01-01.jsonl"


def test_an_absolute_template_is_taken_as_it_stands(tmp_path):
    write(tmp_path, "2026-01-01.jsonl")
    (file,) = find_files(settings(tmp_path / "elsewhere", f"{tmp_path}/{{day}}.jsonl", HOME), DAY)
    assert (file.name, file.path) == (f"{tmp_path}/2026-01-01.jsonl", tmp_path / "2026-01-01.jsonl")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        pytest.param("raw/*.jsonl", "one file for several days", id="no day"),
        pytest.param("{day:%Y-%m}.jsonl", "one file for several days", id="month only"),
        pytest.param("{day:%d}.jsonl", "one file for several days", id="day of the month only"),
        pytest.param("{day}/{kind}.jsonl", "unknown field 'kind'", id="unknown field"),
        pytest.param("{day}/{}.jsonl", "unknown field ''", id="no name"),
        pytest.param("{day!r}.jsonl", "unknown field 'day'", id="conversion"),
        pytest.param("{day.year}.jsonl", "unknown field 'day.year'", id="attribute"),
        pytest.param("{tenant:>9}/{day}", "unknown field 'tenant'", id="format of a name"),
        pytest.param("{day}.jsonl}", "Single '}'", id="stray brace"),
        pytest.param("{day", "expected '}'", id="open brace"),
    ],
)
def test_a_template_that_cannot_name_a_day_is_refused(tmp_path, template, message):
    with pytest.raises(ConfigurationError, match=r"raw\.exposures") as caught:
        find_files(settings(tmp_path, template, HOME), DAY)
    assert message in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error_and_no_empty_day(tmp_path):
    write(tmp_path, "raw/2026-01-01.jsonl")
    (tmp_path / "raw").chmod(0)
    try:
        with pytest.raises(ConfigurationError, match="cannot be listed"):
            find_files(settings(tmp_path, "raw/{day}*.jsonl", HOME), DAY)
    finally:
        (tmp_path / "raw").chmod(0o700)
