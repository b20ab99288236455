"""Takes the picture of the page in docs/page.md, of a running server.

    deepgenre serve songs/ --weights=mtt_musicnn,gtzan --index=songs.npz --port=8000 &
    python benchmarks/page_picture.py song.mp3 --output=docs/page.png

Needs Playwright and Chromium (`apt-get install chromium-headless-shell`).
"""

import argparse
import shutil

from PIL import Image
from playwright.sync_api import sync_playwright

COLOURS = 256  # a third of the size


def main() -> None:
    """Opens the page, drops a song, explains its best tag, and takes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("song")
    parser.add_argument("--url", default="http://127.0.0.1:8000/")
    parser.add_argument("--output", required=True)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--scheme", choices=["light", "dark"], default="light")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        size = {"width": arguments.width, "height": 900}
        page = browser.new_page(viewport=size, color_scheme=arguments.scheme)  # type: ignore[arg-type]
        page.goto(arguments.url)
        page.set_input_files("#files", arguments.song)
        page.wait_for_selector("#segments li", timeout=120_000)
        page.click("#explain")
        page.wait_for_selector("#explanation:not([hidden])", timeout=120_000)
        page.evaluate("document.getElementById('audio').currentTime = 9")
        page.wait_for_timeout(300)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=arguments.output, full_page=True)
        browser.close()
    with Image.open(arguments.output) as picture:
        picture.quantize(COLOURS).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
