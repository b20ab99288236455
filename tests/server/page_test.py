"""The page in a real browser: a song is dropped, shown, played, explained; nothing is requested
from elsewhere, and axe-core finds no serious fault.

Needs Playwright and Chromium (`apt-get install chromium-headless-shell`).
"""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import pytest
from serving import Server

import deepgenre
from deepgenre.library import file_tags

pytestmark = chromium.needed
browser = chromium.browser
TIMEOUT_SECONDS = 90  # a machine that runs other tests explains slowly
PAGE_BYTES = 150_000
DROP = """([name, content]) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, {type: "audio/mpeg"}));
  document.getElementById("drop").dispatchEvent(
    new DragEvent("drop", {dataTransfer, bubbles: true, cancelable: true}));
}"""


@pytest.fixture
def open_page(browser: Any, server: Server) -> Iterator[Any]:
    """Opens the page; the test fails where it has problems: messages, requests to elsewhere."""
    problems, contexts = [], []

    def check(request: Any) -> None:
        if not request.url.startswith((server.url, "blob:", "data:")):
            problems.append(f"request: {request.url[:80]}")

    def start(**options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(1000 * TIMEOUT_SECONDS)
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("request", check)
        page.goto(server.url)
        page.wait_for_selector("#table tbody tr")
        return page

    yield start
    for context in contexts:
        context.close()
    assert not problems


def until(page: Any, condition: str) -> None:
    """Waits for a JavaScript expression; Playwright's own way needs eval, which is forbidden."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, (condition, page.inner_text("#status"))
        page.wait_for_timeout(30)


def says(page: Any, text: str, element: str = "status") -> None:
    """Waits until an element of the page contains a text."""
    until(page, f"document.getElementById('{element}').textContent.includes({json.dumps(text)})")


def drop(page: Any, song: Path, name: str = "") -> None:
    """Drops a song on the page, and waits until it is shown."""
    content = base64.b64encode(song.read_bytes()).decode()
    page.evaluate(DROP, [name or song.name, content])
    says(page, "analysed")
    page.wait_for_selector("#segments li")


def open_song(page: Any, name: str) -> None:
    """Opens a song of the library, and waits until it is shown."""
    page.get_by_role("button", name=name, exact=True).first.click()
    says(page, f"{name}: analysed with run.")


def seconds(page: Any) -> float:
    return page.evaluate("document.getElementById('audio').currentTime")


def test_a_dropped_song_is_shown_played_and_explained(open_page, server):
    page = open_page()
    drop(page, server.song, "<img src=x onerror=alert(1)>.mp3")
    assert page.inner_text("#song-name") == "<img src=x onerror=alert(1)>.mp3"
    assert page.locator("main img").count() == 0
    assert {*page.locator("#tags label").all_inner_texts()} == {"low", "mid", "high"}
    scores = [*map(float, page.locator("#tags .score").all_inner_texts())]
    assert scores == sorted(scores, reverse=True)
    assert "0:12" in page.inner_text("#facts")
    assert page.locator("#rows button").count() == 3

    page.click("#play")
    until(page, "document.getElementById('audio').currentTime > 0.3")
    assert page.inner_text("#play") == "Pause"
    left = page.evaluate("parseFloat(document.getElementById('cursor').style.left)")
    assert 0 < left < 100
    page.click("#play")

    box = page.locator("#plot").bounding_box()
    page.click("#plot", position={"x": box["width"] / 2, "y": 10})
    assert seconds(page) == pytest.approx(6.0, abs=0.3)
    page.click("#wave", position={"x": box["width"] / 4, "y": 40})
    until(page, "Math.abs(document.getElementById('audio').currentTime - 3) < 0.3")

    page.get_by_role("button", name="low", exact=True).click()
    page.wait_for_selector("#explanation:not([hidden])")
    assert "low, score" in page.inner_text("#explain-text")
    colours = page.evaluate("""() => {
      const map = document.getElementById("map");
      const data = map.getContext("2d").getImageData(0, 0, map.width, map.height).data;
      return new Set(data).size;
    }""")
    assert colours > 30
    ready = "one => new Promise(done => one.readyState ? done() : (one.onloadedmetadata = done))"
    page.locator("#parts").evaluate(ready)
    assert page.evaluate("document.getElementById('parts').duration") == pytest.approx(1.7, abs=0.1)
    assert page.locator("#edit").is_hidden()  # no file to write into
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_timeout(300)
    progress, regions = page.evaluate("""() => {
      const wave = document.querySelector("#wave > div").shadowRoot;
      const regions = wave.querySelectorAll("[part*='region ']").length;
      return [parseFloat(wave.querySelector(".progress").style.width), regions];
    }""")
    assert progress == pytest.approx(25, abs=3)
    assert regions == 1

    page.wait_for_selector("#similar li")
    name = page.locator("#similar .open").first.inner_text()
    page.locator("#similar button").first.click()
    until(page, "document.getElementById('audio').currentTime > 0.1")
    assert page.inner_text("#song-name") == name


def test_a_bad_file_gets_a_sentence(open_page, server):
    page = open_page()
    content = base64.b64encode(b"no music").decode()
    page.evaluate(DROP, ["notes.mp3", content])
    says(page, "not audio")
    drop(page, server.song)
    assert page.inner_text("#song-name") == server.song.name


def test_tags_are_edited_written_and_taken_back(open_page, server):
    page = open_page()
    path = server.library / "odd" / "tone 5.mp3"
    before = path.read_bytes()
    open_song(page, "tone 5.mp3")
    for box in page.locator("#tags input:checked").all():
        box.uncheck()
    page.fill("#more", "night music")
    page.press("#more", "Enter")
    assert page.locator("#write").is_disabled()
    page.click("#preview")
    page.wait_for_selector("#write:enabled")
    assert page.inner_text("#change") == "genre: nothing → Night Music"
    assert path.read_bytes() == before
    page.click("#write")
    says(page, "Written", "change")
    assert file_tags.read(path)["genre"] == ("Night Music",)
    page.click("#undo")
    says(page, "restored", "change")
    assert path.read_bytes() == before


def test_the_library_is_searched_sorted_filtered_and_saved(open_page):
    page = open_page()
    names = "#table tbody td:nth-child(2)"
    for _ in range(2):
        page.get_by_role("button", name="Song", exact=True).press("Enter")
    assert page.locator(names).all_inner_texts() == [f"tone {n}.mp3" for n in (5, 4, 3, 2, 1, 0)]
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Song")
    page.fill("#search", "even tone")
    assert page.locator(names).all_inner_texts() == [f"tone {n}.mp3" for n in (4, 2, 0)]
    page.click("#analyse")
    says(page, "Analysed")
    predicted = page.locator("#table tbody td:nth-child(5)").all_inner_texts()
    assert predicted[:2] == ["mid", "waltz"]  # of the file of predictions
    page.fill("#search", "")
    page.get_by_role("button", name="Drone", exact=True).click()  # in the legend of the map
    assert page.locator(names).all_inner_texts() == ["tone 3.mp3"]
    page.select_option("#filter", "waltz")
    assert page.locator(names).all_inner_texts() == ["tone 2.mp3"]
    page.check("#all")
    says(page, "1 of 6 songs, 1 chosen", "count")
    with page.expect_download() as saved:
        page.click("#playlist")
    assert Path(saved.value.path()).read_text().startswith("#EXTM3U")
    assert page.locator("#map-figure").is_visible()


def test_a_path_between_two_songs_is_found_played_and_saved(open_page):
    page = open_page()
    for name in ("tone 5.mp3", "tone 0.mp3"):  # the order is the path's direction
        assert page.locator("#find-path").is_disabled()
        page.get_by_label(f"Choose {name}").check()
    page.fill("#path-count", "4")
    page.click("#find-path")
    page.wait_for_selector("#path li:nth-child(4)")
    listed = page.locator("#path .open").all_inner_texts()
    assert (listed[0], listed[-1]) == ("tone 5.mp3", "tone 0.mp3")
    with page.expect_download() as saved:
        page.click("#path-save")
    assert saved.value.suggested_filename == "From tone 5_mp3 to tone 0_mp3.m3u8"
    entries = Path(saved.value.path()).read_text().splitlines()
    assert [Path(line).name for line in entries if not line.startswith("#")] == listed
    page.click("#path-play")
    until(page, "document.getElementById('audio').currentTime > 0.1")
    page.evaluate("document.getElementById('audio').currentTime = 3.9")
    until(page, f"document.getElementById('song-name').textContent === {json.dumps(listed[1])}")
    page.click("#path-close")
    assert page.locator("#path-panel").is_hidden()


def test_own_genres_are_learned_asked_for_and_saved(open_page, server):
    page = open_page()
    assert page.locator("#genres strong").all_inner_texts() == ["bright", "deep"]  # --examples
    page.get_by_label("Choose tone 3.mp3").check()
    page.fill("#genre", "middle")
    page.press("#genre", "Enter")
    assert page.locator("#genres strong").all_inner_texts() == ["bright", "deep", "middle"]
    page.click("#learn")
    page.wait_for_selector("#question:not([hidden])")
    assert "100 % of the tested songs right (95 % interval" in page.inner_text("#worth")
    assert "all their songs are by one artist: middle" in page.inner_text("#worth")
    assert page.inner_text("#question-song") == "tone 2.mp3"  # the only one without a genre
    ready = "one => new Promise(done => one.readyState ? done() : (one.onloadedmetadata = done))"
    page.locator("#question-audio").evaluate(ready)
    page.locator("#answers button", has_text="middle").click()
    says(page, "6 of 6 songs tested", "worth")
    assert page.locator("#question").is_hidden()
    with page.expect_download() as saved:
        page.click("#save-weights")
    path = server.library.parent / "saved.safetensors"
    saved.value.save_as(path)
    assert set(deepgenre.load(path).classes) == {"bright", "deep", "middle"}
    page.reload()
    page.wait_for_selector("#genres li:nth-child(3)")
    assert "2 songs" in page.locator("#genres li", has_text="middle").inner_text()
    page.click("#own-clear")
    assert page.locator("#genres li").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_and_axe_finds_no_serious_fault(open_page, server, width, scheme):
    axe = pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
    page = open_page(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    open_song(page, "tone 0.mp3")
    page.get_by_role("button", name="Explain", exact=True).click()
    page.wait_for_selector("#explanation:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light = [sum(map(int, one[4:-1].split(","))) for one in (paper, ink)]
    assert (light[0] > light[1]) == (scheme == "light")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text())
    faults = page.evaluate("axe.run().then(found => found.violations)")
    serious = [one for one in faults if one["impact"] in ("serious", "critical")]
    assert not [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious]


def test_everything_is_reached_by_the_keyboard(open_page):
    page = open_page()
    open_song(page, "tone 0.mp3")
    page.wait_for_selector("#segments li")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    expected = {"files", "weights", "play", "position", "target", "explain", "search", "analyse"}
    expected |= {"all", "genre", "learn"}
    reached: set[str] = set()
    for _ in range(110):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert expected <= reached
    page.focus("#position")
    page.keyboard.press("End")
    assert seconds(page) == pytest.approx(4.0, abs=0.2)


def test_closing_the_page_removes_its_uploads(open_page, server):
    (folder,) = server.temporary.glob("deepgenre-serve-*")
    before = {*folder.iterdir()}
    page = open_page()
    drop(page, server.song)
    assert len({*folder.iterdir()} - before) == 1
    page.goto(f"{server.url}/docs")
    page.wait_for_selector("#operations h2")
    for _ in range(50):
        if {*folder.iterdir()} == before:
            return
        page.wait_for_timeout(100)
    raise AssertionError({*folder.iterdir()} - before)


def test_the_page_is_small(open_page, server):
    total = 0
    page = open_page()
    for path in ["/", *page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")]:
        name = path.removeprefix(server.url)
        if not name.startswith("/v1/"):
            total += len(server.request("GET", name)[1])
    assert 50_000 < total < PAGE_BYTES
