"""The Python that the README and the pages show runs, a page from top to bottom as one program."""

import re
from pathlib import Path

import pytest

from recsys_assets.serving.testing import publish_fixture
from recsys_assets.storage.open import open_store
from recsys_assets_tests.small_shop import CONFIG, TARGETS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TABLES = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN_STORE = "s3://bucket/prefix"


def program(text):
    """The Python blocks of a page, each at the line where it stands, so that errors name the page's own lines."""
    lines = [""] * (text.count("\n") + 1)
    for block in re.finditer(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        first = text[: block.start(1)].count("\n")
        for number, line in enumerate(block[1].splitlines()):
            lines[first + number] = line
    return "\n".join(lines)


SHOWN = [page for page in PAGES if program(page.read_text(encoding="utf-8")).strip()]


@pytest.fixture
def shown_store(request, monkeypatch):
    """Where a real release stands for the bucket that the pages name; asked for only by a page that names one."""

    def stocked():
        server = request.getfixturevalue("s3_server")
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        location = f"s3://{server.bucket}/{server.new_prefix()}"
        shipped = publish_fixture(open_store(location), "shop", "home", {"popularity": {"tea": 3, "cup": 1}})
        assert shipped.live == shipped.release.id
        return location

    return stocked


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, shown_store):
    monkeypatch.chdir(tmp_path)
    page_text = page.read_text(encoding="utf-8")
    text = program(page_text)
    if 'load_settings("recsys.toml")' in text:
        Path("recsys.toml").write_text(f"{CONFIG}{TARGETS}{TABLES.findall(page_text)[0]}")
    if SHOWN_STORE in text:
        text = text.replace(SHOWN_STORE, shown_store())
    exec(compile(text, page, "exec"), {"__name__": "__main__"})  # noqa: S102 - our own pages


def test_a_page_that_shows_wrong_python_fails():
    with pytest.raises(AssertionError):
        exec(program("# A page\n\n```python\nassert 1 == 2\n```\n"), {})  # noqa: S102 - the text above
