"""A real Chromium that looks at pages: in two sizes and both themes, with axe, and without leaving their server."""

import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import axe_playwright_python
import pytest
import uvicorn
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: install one to see the pages in it"
)
LOOKS = [(1440, "light"), (390, "dark"), (1440, "dark"), (390, "light")]
THOROUGH = bool(os.environ.get("THOROUGH"))  # axe then reads each page in every look, else in one, by turns
TALLEST = 16_000  # pixels of a page: what is longer belongs on several
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")


@contextmanager
def chromium(**options):
    """Open a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], **options)
        yield browser
        browser.close()


@contextmanager
def serving(application):
    """Serve an ASGI application on a free port, by a thread of this process, and yield its address."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error", ws="none", lifespan="off"))
    started = threading.Event()
    startup = server.startup

    async def start(*args, **more):
        await startup(*args, **more)
        started.set()

    server.startup = start
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(30)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join(10)


def faults_of(page, *, turn=0, looks=LOOKS, tallest=TALLEST):
    """Return what is wrong with an open page: too wide or tall in a size, or a violation that axe finds."""
    faults = []
    for number, (width, scheme) in enumerate(looks):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        wide, tall = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        if wide > width or tall > tallest:
            faults.append(f"{page.url} at {width} is {wide} wide and {tall} tall")
        if THOROUGH or number == turn % len(looks):
            faults += [f"{page.url} at {width}, {scheme}: {violation}" for violation in violations_of(page)]
    return faults


def violations_of(page, *, tags=()):
    """Return what axe finds on an open page by its rules, or by those of some tags, each with the first place."""
    if not page.evaluate("typeof window.axe == 'object'"):
        page.evaluate(AXE)
    options = {"resultTypes": ["violations"], "preload": False, "iframes": False}
    found = page.evaluate("(given) => axe.run(given)", options | ({"runOnly": [*tags]} if tags else {}))["violations"]
    return [f"{one['id']}: {one['help']}, {one['nodes'][0]['html'][:200]}" for one in found]
