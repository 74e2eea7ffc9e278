"""Takes every picture in docs/images of the demo as it is now: `make demo`, then `python docs/_site/screenshots.py`.

It starts the web UI and the API on the demo's data, looks at them with the Chromium of this machine, and ends them.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import FloatRect, Page, sync_playwright

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
PATIENCE_SECONDS = 180
# The folder of whoever takes the pictures is nobody's business.
_ANYWHERE = """(root) => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) walker.currentNode.data = walker.currentNode.data.replaceAll(root, "/srv/recsys");
}"""
MENU = 240  # pixels of Dagster's menu, which no picture shows


def _nothing(_: Page) -> None:
    """Change nothing on a page."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its file, its address, a text that is there when the page is, its size, and what is clicked."""

    name: str
    path: str
    text: str
    size: tuple[int, int]
    prepare: Callable[[Page], None] = _nothing


def _plots(page: Page) -> None:
    page.get_by_text("Plots", exact=True).click()
    page.locator("canvas").first.wait_for()


def _graph(page: Page) -> None:
    page.get_by_text("session_seq").first.wait_for()
    page.wait_for_timeout(8000)  # the graph is laid out, and asks for the state of each asset


def _history(page: Page) -> None:
    page.get_by_text("Execution history").click()
    page.get_by_text("refused").first.wait_for()


def _evaluated(page: Page) -> None:
    page.get_by_text("data_through").first.wait_for()


def _rolled_back(page: Page) -> None:
    page.get_by_text("roll_back").first.wait_for()


PAGES = (
    Picture("api-targets", "/", "books/home", (1200, 620)),
    Picture("api-target", "/targets/books/home", "Next steps", (1200, 1500)),
    Picture("api-recommendations", "/targets/books/home/recommendations?id=the-last-clock", "cooc", (1200, 1000)),
    Picture("api-release", "/targets/books/home/releases/live", "Inputs", (1200, 1650)),
)
_MANIFEST = "/assets/books/home/manifest"
UI = (
    Picture(
        "asset-graph", f"{_MANIFEST}?view=lineage&lineageScope=upstream&lineageDepth=2", "cooc", (1500, 1000), _graph
    ),
    Picture("failed-gate", "/assets/books/home/canonical?view=checks", "Latest execution", (1500, 900), _history),
    Picture("freshness", "/assets/live/books/home?view=checks", "Latest execution", (1500, 700), _evaluated),
    Picture("partition-plots", "/assets/books/home/popularity?view=overview", "Metadata", (1500, 1100), _plots),
    Picture("rollback-launchpad", "/locations/recsys_assets/jobs/roll_back/playground", "Launch Run", (1500, 700)),
    Picture("rollback-event", f"{_MANIFEST}?view=events", "Metadata", (1500, 800), _rolled_back),
    Picture("schedules", "/automation", "nightly_books__home", (1500, 600)),
)


def main(demo: Path, only: Sequence[str]) -> None:
    """Take the pictures, or only those that are named."""
    program = Path(sys.executable).parent
    port, ui_port = _free_port(), _free_port()
    shutil.copy(ROOT / "dagster.yaml", demo / "dagster" / "dagster.yaml")
    (demo / "dagster" / ".nux").mkdir(exist_ok=True)
    (demo / "dagster" / ".nux" / "nux.yaml").write_text("seen: 1\n")  # no dialog before the first page
    environment = {**os.environ, "DAGSTER_HOME": str(demo / "dagster"), "RECSYS_CONFIG": str(demo / "recsys.toml")}
    workspace = ["--workspace", str(ROOT / "workspace.yaml")]
    commands = {
        port: [str(program / "recsys-assets"), "api", "--port", str(port)],
        ui_port: [str(program / "dagster-webserver"), *workspace, "--host", "127.0.0.1", "--port", str(ui_port)],
    }
    daemon = [str(program / "dagster-daemon"), "run", *workspace]  # its sensor evaluates freshness
    reindex = [str(program / "recsys-assets"), "reindex"]  # the demo rolls back by command, which Dagster learns so
    subprocess.run(reindex, env=environment, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    with _running(commands, [daemon], environment), sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(color_scheme="light")
        for base, pictures, left in ((port, PAGES, 0), (ui_port, UI, MENU)):
            for picture in pictures:
                if not only or picture.name in only:
                    page = context.new_page()
                    _take(page, f"http://127.0.0.1:{base}", picture, left=left)
                    page.close()
        browser.close()


def _take(page: Page, base: str, picture: Picture, *, left: int) -> None:
    width, height = picture.size
    page.set_viewport_size({"width": width, "height": height})
    page.set_default_timeout(PATIENCE_SECONDS * 1000)
    page.goto(base + picture.path)
    page.get_by_text(picture.text).first.wait_for()
    picture.prepare(page)
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1500)  # what moves comes to rest
    page.evaluate(_ANYWHERE, str(ROOT))
    clip: FloatRect = {"x": left, "y": 0, "width": width - left, "height": height}
    page.screenshot(path=IMAGES / f"{picture.name}.png", clip=clip)
    print(f"docs/images/{picture.name}.png")  # noqa: T201 - a script


@contextmanager
def _running(
    servers: Mapping[int, Sequence[str]], others: Sequence[Sequence[str]], environment: Mapping[str, str]
) -> Generator[None]:
    quiet = subprocess.DEVNULL
    started = [
        subprocess.Popen(command, env=dict(environment), cwd=ROOT, stdout=quiet, stderr=quiet)  # noqa: S603
        for command in (*servers.values(), *others)
    ]
    try:
        for port in servers:
            _wait_for(port)
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=60)


def _wait_for(port: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        try:
            urlopen(f"http://127.0.0.1:{port}/", timeout=10).close()
        except (URLError, OSError):
            time.sleep(0.5)
        else:
            return
    raise SystemExit(f"nothing answers on port {port} of this machine")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main(ROOT / "demo", sys.argv[1:])
