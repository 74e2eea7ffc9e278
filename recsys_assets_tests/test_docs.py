"""The documentation: its site builds without a warning and asks nobody, its commands run, its reference is complete."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_assets.cli.main import COMMANDS
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.gates import GateSettings
from recsys_assets.settings.settings import TargetSettings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.trees.content import json_content
from recsys_assets.trees.tree import open_trees
from recsys_assets_tests.browsing import chromium, needs_chromium, violations_of
from recsys_assets_tests.pages import follow, missing_lines, read_page, run_line
from recsys_assets_tests.small_shop import after, day_lines, open_shop

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FETCHED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=\"((?:https?:)?//[^\"]+)\"[^>]*>")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a warning of MkDocs, such as a dead link, fails it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def level():
    before = logging.getLogger("dagster").level
    yield
    logging.getLogger("dagster").setLevel(before)


@pytest.mark.slow
def test_the_site_fetches_nothing_from_anywhere(site):
    pages = list(site.rglob("*.html"))
    found = {
        url for page in pages for url in FETCHED.findall(page.read_text(encoding="utf-8")) if "canonical" not in url
    }
    assert len(pages) > 20
    assert found == set()


@pytest.mark.slow
@needs_chromium
def test_axe_finds_nothing_on_pages_with_code_tables_and_notes_in_both_themes(site):
    with chromium() as browser:
        page = browser.new_page()
        for scheme, name in (("light", "api.html"), ("dark", "how-to/add-a-gate.html")):
            page.emulate_media(color_scheme=scheme)
            page.goto((site / name).as_uri())
            page.locator(".md-code__nav[aria-label]").first.wait_for()
            assert violations_of(page) == []


@pytest.mark.slow
def test_the_reference_names_every_setting_and_every_command(site):
    settings = (site / "reference" / "configuration.html").read_text(encoding="utf-8")
    keys = {*GateSettings.model_fields, *TargetSettings.model_fields}
    keys |= {key for kind in KINDS.values() for key in kind.params.model_fields}
    assert {key for key in keys if f"<code>{key}</code>" not in settings} == set()
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert {name for name in COMMANDS if f"<code>recsys-assets {name}</code>" not in commands} == set()
    assert "generated:" not in settings + commands


def test_the_generated_references_read_on_a_code_host_too():
    """In a process of its own: the kinds that other tests install are not of this project."""
    assert "## `recsys-assets rollback`" in (DOCS / "reference" / "commands.md").read_text(encoding="utf-8")
    program = f"""
import importlib.util, sys
spec = importlib.util.spec_from_file_location("reference", {str(DOCS / "_site" / "reference.py")!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
texts = {{page.name: page.read_text(encoding="utf-8") for page in module.PAGES}}
old = [name for name, text in texts.items() if module.fill(text, keep_marks=True) != text]
sys.exit(f"run: python docs/_site/reference.py; old is {{old}}" if old or not texts else 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("level")
def test_following_the_tutorial_to_the_letter_does_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECSYS_CONFIG", "set by the page")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    follow(DOCS / "tutorial.md", capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("level")
@pytest.mark.parametrize(
    "page", ["add-a-target", "backfill", "roll-back", "block-an-item", "release-report", "forget-a-user"]
)
def test_the_commands_of_a_how_to_run(page, tmp_path, monkeypatch, capsys):
    shop = open_shop(tmp_path)
    for n in range(3):
        shop.write(after(n), day_lines(after(n), shift=n))
    for n in range(2):
        shop.run(after(n))
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    follow(DOCS / "how-to" / f"{page}.md", capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("level")
def test_a_store_is_backed_up_and_restored_as_the_page_says(tmp_path, monkeypatch, capsys):
    shop = open_shop(tmp_path)
    shop.configure('[artifacts]\nkinds = ["popularity"]\n[hierarchies.documents]\nlevels = ["project"]\n')
    for n in range(2):
        shop.write(after(n), day_lines(after(n), shift=n))
    assert shop.run(after(0)).success
    node = open_trees(shop.store, shop.settings)["documents"].save({"name": "x"}, content=json_content("kept"))
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    monkeypatch.setenv("STORE", str(tmp_path / "store"))
    monkeypatch.setenv("BACKUP", str(tmp_path / "backup"))
    monkeypatch.setenv("DAY", str(after(1)))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    follow(DOCS / "operate" / "backup.md", capsys)
    assert shop.live().pointer.updated_at > "2026"
    assert (tmp_path / "backup" / "registry" / "current").is_dir()
    restored = open_trees(FilesystemStore(tmp_path / "store"), shop.settings)["documents"]
    assert restored.read_content(restored.find(node.id)) == b'"kept"'


@pytest.mark.slow
@pytest.mark.usefixtures("level")
def test_moving_to_s3_as_the_page_says_leaves_the_same_versions_live(tmp_path, monkeypatch, capsys, s3_server):
    shop = open_shop(tmp_path)
    for n in range(2):
        shop.write(after(n), day_lines(after(n), shift=n))
        shop.run(after(n))
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    follow(DOCS / "how-to" / "move-to-s3.md", capsys)


@pytest.mark.slow
@pytest.mark.usefixtures("level")
def test_the_commands_of_the_page_on_imports_run(tmp_path, monkeypatch, capsys):
    page = DOCS / "how-to" / "import-artifacts.md"
    (table,) = re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    shop = open_shop(tmp_path)
    shop.configure(table)
    (tmp_path / "drop").mkdir()
    for n in range(3):
        shop.write(after(n), day_lines(after(n), shift=n))
    (tmp_path / "drop" / f"{after(1)}.jsonl").write_text('{"item_id":"i1","score":0.25}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    run_line("recsys-assets run --tenant shop --surface home --start 2026-01-02", capsys)
    follow(page, capsys)


def test_a_page_that_promises_what_is_not_printed_is_found_out():
    printed = "shop/home  2026-01-01\nok\n"
    assert list(missing_lines(("shop/home … 2026-01-01", "ok"), printed)) == []
    assert list(missing_lines(("ok", "shop/home … 2026-01-01"), printed)) == ["shop/home … 2026-01-01"]


def test_a_here_document_is_one_command(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\ncat > f <<'END'\na\nb\nEND\nls \\\n  f\n```\n")
    assert [step.lines for step in read_page(page)] == [("cat > f <<'END'\na\nb\nEND", "ls    f")]
