"""A real browser for tests of pages.

Needs Playwright and Chromium (`apt-get install chromium-headless-shell`); tests skip without them.
"""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
PROGRAM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
needed = pytest.mark.skipif(
    PROGRAM is None, reason="no Chromium; apt-get install chromium-headless-shell"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Root has no user namespace for the sandbox, e.g. in a container; the pages are our own.
        started = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield started
        started.close()
