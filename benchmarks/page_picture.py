"""Takes the picture of the page in docs/page.md, of a running server.

    deepgenre serve songs/ --weights=mtt_musicnn,gtzan --index=songs.npz --port=8000 &
    python benchmarks/page_picture.py song.mp3 --path jazz.00000 metal.00003 --output=docs/page.png

Needs Playwright and Chromium (`apt-get install chromium-headless-shell`).
"""

import argparse
import shutil

from PIL import Image
from playwright.sync_api import sync_playwright

TIMEOUT_SECONDS = 600
COLOURS = 256  # a third of the size


def main() -> None:
    """Opens the page, drops a song, explains its best tag, and takes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("song")
    parser.add_argument("--path", nargs=2, default=(), help="names of two songs of the library")
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
        page.set_default_timeout(1000 * TIMEOUT_SECONDS)
        page.goto(arguments.url)
        page.set_input_files("#files", arguments.song)
        page.wait_for_selector("#segments li")
        page.wait_for_selector("#similar li")
        page.click("#explain")
        page.wait_for_selector("#explanation:not([hidden])")
        for name in arguments.path:
            page.fill("#search", name)
            page.locator("#table tbody input").first.check()
        page.fill("#search", "")
        if arguments.path:
            page.click("#find-path")
            page.wait_for_selector("#path li")
        page.get_by_text("Near songs are similar").wait_for()
        page.evaluate("document.getElementById('audio').currentTime = 9")
        page.wait_for_timeout(300)
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=arguments.output, full_page=True)
        browser.close()
    with Image.open(arguments.output) as picture:
        fewer = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
        fewer.save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
