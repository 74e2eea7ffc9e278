"""The Python that the README and the pages show runs, a page from top to bottom as one program."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def program(text):
    """The Python blocks of a page, each at the line where it stands, so that errors name the page's own lines."""
    lines = [""] * (text.count("\n") + 1)
    for block in re.finditer(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        first = text[: block.start(1)].count("\n")
        for number, line in enumerate(block[1].splitlines()):
            lines[first + number] = line
    return "\n".join(lines)


SHOWN = [page for page in PAGES if program(page.read_text(encoding="utf-8")).strip()]


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = compile(program(page.read_text(encoding="utf-8")), page, "exec")
    exec(code, {"__name__": "__main__"})  # noqa: S102 - our own pages


def test_a_page_that_shows_wrong_python_fails():
    with pytest.raises(AssertionError):
        exec(program("# A page\n\n```python\nassert 1 == 2\n```\n"), {})  # noqa: S102 - the text above
