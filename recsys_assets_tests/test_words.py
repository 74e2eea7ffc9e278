"""The words that the glossary replaced are not used, in code, docs or messages."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RULES = tomllib.loads((ROOT / "recsys_assets_tests/replaced_words.toml").read_text(encoding="utf-8"))
WORDS = [(re.compile(word, re.IGNORECASE), remedy) for word, remedy in RULES["words"].items()]
# Without the border before it a word begins with a letter, which is found eight times as fast.
STARTS = [re.compile(word.removeprefix(r"\b")) for word in RULES["words"]]
ENDINGS = {".py", ".md", ".toml", ".yaml", ".html", ".js", ".css", ".sh", ""}


def checked_files():
    """Return the files that git knows or would take; what an installation adds is not ours."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    paths = (ROOT / name for name in names if name not in RULES["allow"])
    return [path for path in paths if path.suffix in ENDINGS and path.is_file()]


def old_words(text):
    """Yield line number, word and replacement of everything in `text` that the glossary has another word for."""
    low = text.lower().replace("_", " ")
    if not any(start.search(low) for start in STARTS):
        return
    for number, line in enumerate(text.splitlines(), start=1):
        for word, remedy in WORDS:
            yield from ((number, found.group(), remedy) for found in word.finditer(line.replace("_", " ")))


def test_no_file_uses_a_word_that_was_replaced():
    findings = [
        f"{path.relative_to(ROOT)}:{number}: {word!r}: say {remedy}"
        for path in checked_files()
        for number, word, remedy in old_words(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert findings == [], f"{len(findings)} old words, see docs/reference/glossary.md:\n" + "\n".join(findings[:100])


@pytest.mark.parametrize("line", ["it was told", "TELLS of it", "a_told_word", "made anew", "stand-in", "the knob"])
def test_the_check_sees_old_words(line):
    assert list(old_words(line))


@pytest.mark.parametrize("line", ["intelligible", "molding", "shelfless", "amends", "what stands for it"])
def test_the_check_leaves_other_words_alone(line):
    assert not list(old_words(line))
