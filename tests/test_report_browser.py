"""The report and the vote page in a headless Chromium, as a person would use them."""

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ab_folders import METRICS, make_folder

from mlx_wan.bench.report.serve import VoteServer
from mlx_wan.bench.report.write import write_report

pytestmark = pytest.mark.browser
HOSTILE = "</script><script>document.title='taken'</script><img src=http://example.com/x> {number}"
_MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), _MAC if sys.platform == "darwin" else None)
    assert found, "no Chromium here: make browser installs one"
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []  # it refuses to run as root with one
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=flags)
        yield opened
        opened.close()


class Watched:
    """A page of its own, with everything it said and asked for."""

    def __init__(self, browser: Any, url: str, width: int = 1100, scheme: str = "light"):
        view = {"width": width, "height": 900}
        self.context = browser.new_context(viewport=view, color_scheme=scheme)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(url)

    def outside(self, own: str) -> list[str]:
        return [url for url in self.asked if not url.startswith((own, "data:", "blob:"))]

    def videos(self, what: str) -> list[Any]:
        return self.page.evaluate(f"[...document.querySelectorAll('video')].map(v => v.{what})")

    def until(self, script: str) -> None:
        """Wait until a script is true; not by wait_for_function, which the page's policy stops."""
        for _ in range(200):
            if self.page.evaluate(script):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never came true: {script}")


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_folder(tmp_path / "ab", prompts=3, text=HOSTILE)


READY = "[...document.querySelectorAll('video')].length == 2 && " + (
    "[...document.querySelectorAll('video')].every(v => v.readyState >= 3)"
)


@pytest.mark.parametrize("embedded", [True, False])
def test_players_are_there_and_play_together(browser, folder, embedded):
    write_report(folder, metrics=METRICS, embedded_bytes=10**8 if embedded else 0)
    url = (folder / "report.html").as_uri()
    watched = Watched(browser, url)
    page = watched.page
    watched.until(READY)
    assert all(source.startswith("blob:") == embedded for source in watched.videos("src"))
    assert watched.videos("paused") == [True, True]
    page.click("#play")
    watched.until("document.querySelector('video').currentTime > 0.3")
    assert watched.videos("paused") == [False, False]
    for _ in range(10):
        one, other = watched.videos("currentTime")
        assert abs(one - other) < 0.2
        page.wait_for_timeout(50)
    page.keyboard.press(",")  # on the button, which has the focus: one frame back, and it stops
    watched.until("[...document.querySelectorAll('video')].every(v => v.paused)")
    page.locator("#scrub").fill("1")
    watched.until("[...document.querySelectorAll('video')].every(v => !v.seeking)")
    assert watched.videos("currentTime") == [1, 1]
    assert watched.said == [] and watched.outside(url.rpartition("/")[0]) == []


def test_hostile_prompts_are_text_and_other_pairs_are_shown(browser, folder):
    write_report(folder, metrics=METRICS)
    url = (folder / "report.html").as_uri()
    watched = Watched(browser, url)
    page = watched.page
    assert page.inner_text("#prompt") == HOSTILE.format(number=0)
    page.keyboard.press("n")
    page.click("#next")
    assert page.inner_text("#prompt") == HOSTILE.format(number=1)
    page.select_option("#pick", "5")
    assert page.inner_text("#prompt") == HOSTILE.format(number=2)
    assert page.is_disabled("#next")
    assert "A/B report" in page.title()
    assert watched.said == [] and watched.outside(url) == []


def test_a_failed_run_leaves_its_place_empty(browser, tmp_path):
    from ab_folders import fails

    def change(variant: str, run: dict[str, Any]) -> None:
        if variant == "b" and run["prompt"] == "p00":
            fails(run, "<b>killed</b>")

    folder = make_folder(tmp_path / "ab", prompts=2, seeds=1, change=change)
    write_report(folder, metrics=METRICS)
    watched = Watched(browser, (folder / "report.html").as_uri())
    assert watched.page.inner_text("figure[data-variant=b] .none").startswith("no video")
    assert "<b>killed</b>" in watched.page.inner_text("main")
    watched.page.keyboard.press("n")
    watched.until(READY)
    assert watched.said == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_screen(browser, folder, width, scheme):
    write_report(folder, metrics=METRICS)
    watched = Watched(browser, (folder / "report.html").as_uri(), width, scheme)
    watched.until(READY)
    for details in watched.page.query_selector_all("details"):
        details.evaluate("d => { d.open = true }")
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    dark = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(16, 21, 27)") == (scheme == "dark")


def test_votes_are_given_by_keys_and_clicks_and_go_on_later(browser, folder):
    with VoteServer(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        watched = Watched(browser, server.url, width=400)
        page = watched.page
        page.fill("#rater", "Ada")
        page.keyboard.press("Enter")
        for number, answer in enumerate(["ArrowLeft", "#right", "ArrowDown"], 1):
            page.wait_for_selector("#left:enabled")
            watched.until("[...document.querySelectorAll('video')].every(v => !v.paused)")
            page.click(answer) if answer[0] == "#" else page.keyboard.press(answer)
            page.get_by_text(f"{number} of 6", exact=True).wait_for()
        page.reload()  # the same name goes on where it stopped
        page.fill("#rater", "Ada")
        page.click("text=Begin")
        for number in (4, 5, 6):
            page.wait_for_selector("#left:enabled")
            page.keyboard.press("ArrowRight")
            page.wait_for_selector("#done" if number == 6 else f"text={number} of 6")
        assert page.is_visible("text=Thank you")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert watched.said == [] and watched.outside(server.url) == []
        server.shutdown()
    votes = [json.loads(line) for line in (folder / "votes.jsonl").read_text().splitlines()]
    assert [vote["choice"] for vote in votes] == ["left", "right", "tie", *["right"] * 3]
    assert len({vote["pair"] for vote in votes}) == 6
    report = write_report(folder, metrics=METRICS)
    assert report["comparisons"][0]["preference"]["votes"] == 6
