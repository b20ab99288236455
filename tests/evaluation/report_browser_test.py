"""Pages in a real browser: nothing fails, nothing is requested, and the keyboard suffices.

Needs Playwright and Chromium (`apt-get install chromium-headless-shell`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import evaluated
import numpy as np
import pytest
import tiny

from deepgenre.evaluation.report import compare, report

pytestmark = chromium.needed
browser = chromium.browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports with hostile names, with audio and of tags, and a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    names = evaluated.HOSTILE
    hostile = evaluated.write_run(folder / "hostile", evaluated.scored(60, names))
    other = evaluated.write_run(folder / "other", evaluated.scored(60, names, seed=5))
    of_tags = evaluated.write_run(folder / "tags", evaluated.scored(60, names, multi_label=True))
    for run in (hostile, of_tags):
        report.run(run, None, None)
    compare.run([hostile, other], "", folder / "compare.html")

    music, with_audio = folder / "music", evaluated.scored(12, ("high", "low", "mid"))
    tiny.compose(music, clips_per_genre=4, seconds=2.0)
    keys = np.array(sorted(f"{path.parent.name}/{path.name}" for path in music.rglob("*.wav")))
    sounding = evaluated.Scored(keys, *(getattr(with_audio, name) for name in
                                ("classes", "scores", "labels", "group", "track")))  # fmt: skip
    run = evaluated.write_run(folder / "audio", sounding)
    config = run / "config.json"
    config.write_text(config.read_text().replace('"dataset": "gtzan"', '"dataset": "folder"'))
    report.run(run, music, None)
    return {
        "hostile": hostile / "report.html",
        "tags": of_tags / "report.html",
        "compare": folder / "compare.html",
        "audio": run / "report.html",
    }


def opened(context: Any, path: Path) -> tuple[Any, list[str]]:
    """Opens a page; returns it with the list of its problems, which grows: messages, requests."""
    page, problems, address = context.new_page(), [], path.as_uri()

    def check(request: Any) -> None:
        if not request.url.startswith("data:") and request.url.partition("#")[0] != address:
            problems.append(f"request: {request.url[:80]}")

    page.on("console", lambda message: problems.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
    page.on("request", check)
    page.goto(address)
    return page, problems


@pytest.fixture
def open_page(browser: Any, pages: dict[str, Path]) -> Iterator[Any]:
    """Opens a page by name; the test fails where it has problems."""
    found, contexts = [], []

    def start(name: str, **options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page, problems = opened(contexts[-1], pages[name])
        found.append(problems)
        return page

    yield start
    for context in contexts:
        context.close()
    assert not [problem for problems in found for problem in problems]


@pytest.mark.parametrize("name", ["hostile", "tags", "compare", "audio"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_and_follows_the_colour_scheme(open_page, name, width, scheme):
    viewport = {"width": width, "height": 800}
    page = open_page(name, viewport=viewport, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    paper, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    light = [sum(map(int, one[4:-1].split(","))) for one in (paper, ink)]
    assert (light[0] > light[1]) == (scheme == "light")
    drawn = page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
    assert drawn == ink  # a figure has the page's colours
    assert page.title() not in ("", "owned")


@pytest.mark.parametrize(
    "script",
    [
        "fetch('https://example.org/').catch(() => 0)",
        "document.body.append(Object.assign(new Image(), {src: 'https://example.org/a.png'}))",
        "console.error('x')",
    ],
)
def test_problems_would_be_noticed(browser, pages, script):
    context = browser.new_context()
    page, problems = opened(context, pages["tags"])
    assert not problems
    page.evaluate(script)
    page.wait_for_timeout(100)
    context.close()
    assert problems


def column(page: Any, number: int) -> list[str]:
    return page.eval_on_selector_all(
        f"table.sortable tbody tr > :nth-child({number})", "cells => cells.map(c => c.innerText)"
    )


def test_table_sorts_by_keyboard_and_focus_is_visible(open_page):
    page = open_page("hostile")
    button = page.locator("table.sortable th button").nth(1)
    heading = page.locator("table.sortable th").nth(1)
    for _ in range(200):  # reachable with the tab key alone
        page.keyboard.press("Tab")
        if button.evaluate("one => one === document.activeElement"):
            break
    assert button.evaluate("one => one === document.activeElement")
    assert button.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
    before = [float(one.replace("–", "nan")) for one in column(page, 2)]
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(one) for one in column(page, 2)] == sorted(before, reverse=True)
    page.keyboard.press("Space")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert [float(one) for one in column(page, 2)] == sorted(before)
    page.locator("table.sortable th button").first.click()
    assert heading.get_attribute("aria-sort") is None  # one column at a time
    assert page.locator("table.sortable th").first.get_attribute("aria-sort") == "ascending"


def test_undefined_numbers_stay_last(open_page, pages, tmp_path):
    page = open_page("tags")
    page.evaluate(
        "document.querySelector('table.sortable tbody tr').cells[1].dataset.value = '';"
        "document.querySelector('table.sortable tbody tr').cells[1].innerText = '–'"
    )
    button = page.locator("table.sortable th button").nth(1)
    for _ in range(2):
        button.click()
        assert column(page, 2)[-1] == "–"


def test_skip_link_and_sections(open_page):
    page = open_page("hostile")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    for target in page.eval_on_selector_all("nav a", "links => links.map(l => l.hash)"):
        assert page.locator(target).count() == 1
    ids = page.eval_on_selector_all("[id]", "all => all.map(one => one.id)")
    assert len({*ids}) == len(ids)


def test_names_are_text(open_page):
    page = open_page("hostile")
    names = column(page, 1)
    assert "<img src=x onerror=alert(1)>" in names
    assert page.locator("main img, main script, main iframe").count() == 0


def test_audio_plays(open_page, pages):
    page = open_page("audio")
    players = page.locator("audio")
    assert players.count() >= 6
    ready = "one => new Promise(done => one.readyState ? done() : (one.onloadedmetadata = done))"
    players.first.evaluate(ready)
    seconds = players.first.evaluate("one => one.duration")
    assert seconds == pytest.approx(2.0, abs=0.1)
    ended = "one => new Promise(done => { one.onended = () => done(one.currentTime); one.play(); })"
    players.first.evaluate("one => { one.muted = true; }")
    assert players.first.evaluate(ended) == pytest.approx(2.0, abs=0.1)
    assert page.locator(".card .spectrogram svg").count() >= 12
