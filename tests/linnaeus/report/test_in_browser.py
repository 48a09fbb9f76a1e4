"""Pages in a real browser: no errors, readable on a phone, pictures on the map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from linnaeus import manifests
from linnaeus.report import save
from linnaeus.storage import Folder
from tests.linnaeus.report.conftest import judged_pictures
from tests.linnaeus.report.finished_runs import (
    SCORING_RUN,
    TRAINING_RUN,
    write_embeddings,
    write_scoring,
    write_training,
)

if TYPE_CHECKING:
    from selenium import webdriver
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.slow

PHONE, DESK = 360, 1280
LONG = "a label_of_many_letters_without_a_space_that_would_push_a_phone_s_page_wide"
HOSTILE = "<script>document.title = 'broken out'</script>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pages of a training run of few labels, one of many, and a scoring run, by URL."""
    root = tmp_path_factory.mktemp("pages")
    found = {}
    labels = {
        "few": ["bird", "cat", HOSTILE.replace("/", "_"), LONG],
        "many": [f"species {n:03}" for n in range(60)],
    }
    for name, known in labels.items():
        workspace = Folder(str(root / f"workspace-{name}"))
        pictures = judged_pictures(root / name, known, 240)
        write_embeddings(workspace, pictures)
        write_training(workspace, pictures)
        found[name] = saved(workspace, TRAINING_RUN)
    manifest = manifests.freeze(workspace, str(root / "many"))
    failure = {"uri": f"/x/{LONG}.jpg", "code": "CORRUPT", "message": "the picture is damaged"}
    write_scoring(workspace, pictures, manifest, [failure])
    return {**found, "scoring": saved(workspace, SCORING_RUN)}


def saved(workspace: Folder, run: str) -> str:
    return Path(save(workspace, run)).as_uri()


def show(browser: webdriver.Chrome, url: str, width: int = DESK, scheme: str = "light") -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(url)


def colour(browser: webdriver.Chrome, selector: str, name: str = "color") -> list[int]:
    """Red, green and blue as computed."""
    text = browser.find_element("css selector", selector).value_of_css_property(name)
    return [int(part) for part in text.partition("(")[2].rstrip(")").split(",")[:3]]


@pytest.mark.parametrize("page", ["few", "many", "scoring"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_have_no_errors(
    browser, pages: dict[str, str], page: str, scheme: str
):
    show(browser, pages[page], PHONE, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE
    assert browser.execute_script("return innerWidth") == PHONE
    assert browser.get_log("browser") == []
    assert "broken out" not in browser.title


@pytest.mark.parametrize("page", ["few", "scoring"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_titles_are_green_or_red_and_say_so(browser, pages: dict[str, str], page: str, scheme: str):
    show(browser, pages[page], scheme=scheme)
    right, wrong = colour(browser, ".grid .title.right"), colour(browser, ".grid .title.wrong")
    assert right[1] == max(right)
    assert wrong[0] == max(wrong)
    assert browser.find_element("css selector", ".grid .title.right").text.startswith("✓")
    assert browser.find_element("css selector", ".grid .title.wrong").text.startswith("✗")


def test_the_dark_scheme_is_dark(browser, pages: dict[str, str]):
    grounds = []
    for scheme in ("light", "dark"):
        show(browser, pages["few"], scheme=scheme)
        grounds.append(sum(colour(browser, "body", "background-color")))
    assert grounds[0] > 3 * 200
    assert grounds[1] < 3 * 60


def test_every_picture_is_decoded_and_described(browser, pages: dict[str, str]):
    show(browser, pages["few"])
    pictures = browser.find_elements("css selector", ".grid img")
    assert len(pictures) > 60
    assert all(picture.get_attribute("alt") for picture in pictures)
    broken = browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "const all = [...document.querySelectorAll('.grid img')];"
        "for (const one of all) one.loading = 'eager';"
        "Promise.allSettled(all.map((one) => one.decode()))"
        "  .then((ends) => done(ends.filter((end) => end.status !== 'fulfilled').length));"
    )
    assert broken == 0


def said(browser: webdriver.Chrome) -> tuple[str, str, str]:
    """Which tile is shown beside the map, and what is said of it."""
    tile = browser.find_element("css selector", ".map .tile")
    assert tile.is_displayed()
    assert tile.value_of_css_property("background-image").startswith('url("data:image/jpeg')
    name = tile.get_attribute("aria-label") or ""
    text = browser.find_element("css selector", ".map .said").get_property("textContent")
    return name, tile.value_of_css_property("background-position"), text


def test_pointing_at_the_map_shows_the_picture(browser, pages: dict[str, str]):
    show(browser, pages["few"])
    tile = browser.find_element("css selector", ".map .tile")
    assert not tile.is_displayed()
    seen = set()
    for point in alone(browser, 3):
        point_at(browser, point)
        _, place, text = said(browser)
        assert point.get_attribute("data-truth") in text
        assert point.get_attribute("data-score") in text
        seen.add(place)
    assert len(seen) == 3


def point_at(browser: webdriver.Chrome, point: WebElement) -> None:
    """Moves the mouse there until its picture is shown: the page may still be scrolling."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", point)

    def is_shown(_: webdriver.Chrome) -> bool:
        ActionChains(browser, duration=50).move_to_element(point).perform()
        return said(browser)[0] == point.get_attribute("data-name")

    WebDriverWait(browser, 10).until(is_shown)


def alone(browser: webdriver.Chrome, count: int):
    """Points with no other near them."""
    found = browser.execute_script(
        "const at = (one) => one.transform.baseVal.consolidate().matrix;"
        "const all = [...document.querySelectorAll('.point')];"
        "return all.filter((one) => all.every((other) => other === one ||"
        "  Math.hypot(at(one).e - at(other).e, at(one).f - at(other).f) > 9));"
    )
    assert len(found) >= count
    return found[:count]


def test_a_tap_on_the_map_shows_a_picture(browser, pages: dict[str, str]):
    show(browser, pages["few"], PHONE)
    [point] = alone(browser, 1)
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", point
    )
    box = browser.execute_script(
        "const box = arguments[0].getBoundingClientRect();"
        "return {x: box.x + box.width / 2, y: box.y + box.height / 2};",
        point,
    )
    for kind, touches in (("touchStart", [box]), ("touchEnd", [])):
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    assert said(browser)[0] == point.get_attribute("data-name")


def test_the_map_is_walked_with_the_keyboard(browser, pages: dict[str, str]):
    from selenium.webdriver import Keys

    show(browser, pages["few"])
    plane = browser.find_element("css selector", ".map svg")
    browser.execute_script("arguments[0].focus()", plane)
    first = said(browser)
    walked = set()
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_DOWN, Keys.ARROW_UP):
        plane.send_keys(key)
        walked.add(said(browser)[:2])
    assert walked - {first[:2]}


def test_one_label_is_shown_by_its_button(browser, pages: dict[str, str]):
    show(browser, pages["few"])
    button = browser.find_element("css selector", ".legend button")
    browser.execute_script("arguments[0].click()", button)
    left = browser.find_elements("css selector", ".point:not(.dim)")
    assert {point.get_attribute("data-label") for point in left} == {
        button.get_attribute("data-label")
    }
    browser.execute_script("arguments[0].click()", button)
    assert browser.find_elements("css selector", ".point.dim") == []


def test_a_hundred_labels_are_a_heat_map_that_scrolls_in_its_frame(browser, pages: dict[str, str]):
    show(browser, pages["many"], PHONE)
    heat = browser.find_element("css selector", "svg.heat")
    assert heat.size["width"] > PHONE
    frame = heat.find_element("xpath", "..")
    assert frame.size["width"] < PHONE
    assert frame.value_of_css_property("overflow-x") == "auto"
