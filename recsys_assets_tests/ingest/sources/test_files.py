"""Files of a day: found by the template, each once, for the targets that it was named for."""

import os
from datetime import date

import pytest

from recsys_assets.errors import ConfigurationError, InputError
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
        pytest.param("raw/*.jsonl", "gives several days the same file", id="no day"),
        pytest.param("{day:%Y-%m}.jsonl", "gives several days the same file", id="month only"),
        pytest.param("{day:%d}.jsonl", "gives several days the same file", id="day of the month only"),
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


def broken(file):
    with pytest.raises(InputError) as caught:
        file.open()
    return str(caught.value)


@pytest.mark.parametrize("template", ["raw/{day}/*/*.jsonl", "raw/{day}/**/*.jsonl"])
def test_a_folder_that_cannot_be_listed_below_the_wildcard_is_an_error_and_no_empty_day(
    tmp_path, template, monkeypatch
):
    write(tmp_path, "raw/2026-01-01/web/a.jsonl", "raw/2026-01-01/app/a.jsonl")
    real = os.listdir

    def denied(place):
        if str(place).rstrip("/").endswith("app"):
            raise PermissionError(13, "Permission denied")
        return real(place)

    monkeypatch.setattr(os, "listdir", denied)  # root may list everything
    app, web = find_files(settings(tmp_path, template, HOME), DAY)
    assert "raw/2026-01-01/app/ cannot be listed: Permission denied" in broken(app)
    assert web.name == "raw/2026-01-01/web/a.jsonl"


def test_a_folder_of_one_tenant_that_cannot_be_listed_fails_that_tenant_alone(tmp_path):
    write(tmp_path, "raw/shop/2026-01-01.jsonl")
    (tmp_path / "raw" / "other").symlink_to("other")  # a loop: not even root may list it
    found = find_files(settings(tmp_path, "raw/{tenant}/{day}*.jsonl", HOME, Target("other", "home")), DAY)
    assert [(file.targets[0].tenant, file.name) for file in found] == [
        ("other", "raw/other/"),
        ("shop", "raw/shop/2026-01-01.jsonl"),
    ]
    assert "cannot be listed" in broken(found[0])


@pytest.mark.parametrize("template", ["raw/{day}*.jsonl", "raw/{day}.jsonl", "**/{day}.jsonl"])
def test_a_dangling_link_is_an_error_that_names_it(tmp_path, template):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "2026-01-01.jsonl").symlink_to("/not-mounted/a.jsonl")
    (file,) = find_files(settings(tmp_path, template, HOME), DAY)
    assert "raw/2026-01-01.jsonl is a link whose target is missing" in broken(file)


def test_a_linked_folder_that_is_not_mounted_is_an_error_at_any_depth(tmp_path):
    write(tmp_path, "2026-01-01/a.jsonl")
    (tmp_path / "2026-01-01" / "web").symlink_to("/not-mounted/web")
    first, second = find_files(settings(tmp_path, "{day}/**/*.jsonl", HOME), DAY)
    assert first.name == "2026-01-01/a.jsonl"
    assert "2026-01-01/web is a link" in broken(second)


def test_links_are_followed_and_one_to_a_folder_above_ends(tmp_path):
    write(tmp_path, "2026-01-01/a.jsonl", "elsewhere/b.jsonl")
    (tmp_path / "2026-01-01" / "up").symlink_to("..")
    (tmp_path / "2026-01-01" / "other").symlink_to(tmp_path / "elsewhere")
    names = [file.name for file in find_files(settings(tmp_path, "{day}/**/*.jsonl", HOME), DAY)]
    assert "2026-01-01/a.jsonl" in names
    assert "2026-01-01/other/b.jsonl" in names


def test_a_name_that_is_no_text_is_an_error_that_shows_its_bytes(tmp_path):
    (tmp_path / os.fsdecode(b"2026-01-01-caf\xe9.jsonl")).write_bytes(b"{}")
    (file,) = find_files(settings(tmp_path, "{day}*.jsonl", HOME), DAY)
    assert "2026-01-01-caf\\xe9.jsonl is not UTF-8: rename" in broken(file)


UNCOMMITTED = [
    "2026-01-01.jsonl.tmp", "2026-01-01.jsonl.filepart", "2026-01-01.jsonl.crdownload", "2026-01-01.jsonl~",
    "2026-01-01.jsonl.bak", "2026-01-01.jsonl.gz.part", "2026-01-01.tmp.gz", "2026-01-01.jsonl.TMP",
    "2026-01-01.jsonl.part.gz", "2026-01-01.jsonl.bak.1", "2026-01-01.jsonl.old-2", "2026-01-01.jsonl.upload",
    "2026-01-01.jsonl.gz.sha256", "2026-01-01.jsonl.aria2", "2026-01-01.jsonl.save", "2026-01-01.jsonl.in-progress",
    "2026-01-01.jsonl.swp",    "2026-01-01.jsonl._COPYING_", "2026-01-01.jsonl.tmp-123", "2026-01-01.jsonl.md5",
    "2026-01-01.jsonl_bak", "2026-01-01.bak.jsonl", "2026-01-01.tmp.jsonl.gz", "2026-01-01.jsonl.tmp-4f2a",
    "2026-01-01.jsonl.sync-conflict-20260105-abc", "2026-01-01.jsonl.gz.asc", "2026-01-01.jsonl.rpmsave",
    "2026-01-01.jsonl.pending", "2026-01-01.jsonl.!qB", "2026-01-01.jsonl.gz.sha256sum", "2026-01-01.jsonl.new",
]  # fmt: skip


@pytest.mark.parametrize("name", UNCOMMITTED)
def test_backups_and_unfinished_uploads_are_passed_over_and_listed(tmp_path, name):  # F62
    write(tmp_path, f"raw/{name}", "raw/2026-01-01.jsonl")
    skipped = []
    (file,) = find_files(settings(tmp_path, "raw/{day}*", HOME), DAY, skipped=skipped)
    assert (file.name, skipped) == ("raw/2026-01-01.jsonl", [f"raw/{name}"])


@pytest.mark.parametrize(
    "name", ["T01", "T01.jsonl", "-part-00001.jsonl", ".web.v2.jsonl", ".news.jsonl", "_new.json.gz"]
)
def test_ordinary_names_are_taken(tmp_path, name):
    write(tmp_path, f"raw/2026-01-01{name}")
    assert len(find_files(settings(tmp_path, "raw/{day}*", HOME), DAY)) == 1


def test_hidden_and_uncommitted_files_of_a_lake_are_passed_over_and_listed(tmp_path):
    write(tmp_path, "d/2026-01-01/_temporary/0/a.parquet", "d/2026-01-01/_b.parquet", "d/2026-01-01/.c.parquet")
    write(tmp_path, "d/2026-01-01/_x=1/d.parquet", "d/2026-01-01/_SUCCESS", "d/2026-01-01/.spark/e.parquet")
    skipped = []
    (file,) = find_files(settings(tmp_path, "d/{day}/**/*", HOME), DAY, skipped=skipped)
    assert file.name == "d/2026-01-01/_x=1/d.parquet"
    below = (".c.parquet", ".spark/", "_SUCCESS", "_b.parquet", "_temporary/")
    assert skipped == [f"d/2026-01-01/{name}" for name in below]


def test_what_the_template_spells_itself_is_asked_for_and_taken(tmp_path):
    write(tmp_path, "_in/_2026-01-01-a.bak", "_in/x/2026-01-01.tmp")
    assert len(find_files(settings(tmp_path, "_in/_{day}*.bak", HOME), DAY)) == 1
    assert len(find_files(settings(tmp_path, "_in/x/{day}.tmp", HOME), DAY)) == 1


def test_a_file_dated_in_the_future_settles_by_the_clock_of_its_file_system(tmp_path):
    write(tmp_path, "2026-01-01.jsonl")
    os.utime(tmp_path / "2026-01-01.jsonl", (10**10, 10**10))
    (file,) = find_files(settings(tmp_path, "{day}.jsonl", HOME), DAY)
    assert file.touched_at().year < 2286


def test_a_file_renamed_since_it_was_listed_is_looked_at_again_later(tmp_path):
    write(tmp_path, "2026-01-01.jsonl")
    (file,) = find_files(settings(tmp_path, "{day}.jsonl", HOME), DAY)
    file.path.rename(tmp_path / "elsewhere")
    assert (file.digest(), file.touched_at().year) == ("", 9999)
    assert file.appearance() == "2026-01-01.jsonl No such file or directory"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_what_could_be_read_without_end_is_no_file(tmp_path, make):
    make(tmp_path / "2026-01-01.jsonl")
    (file,) = find_files(settings(tmp_path, "{day}*.jsonl", HOME), DAY)
    assert "2026-01-01.jsonl is a pipe, socket or device" in broken(file)
