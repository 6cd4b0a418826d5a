"""The page of a benchmark, looked at in headless Chromium as a reader's phone and screen show it."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelplug.benchmark.earlier import EarlierFigure
from modelplug.benchmark.reports import save_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)

pytestmark = [
    pytest.mark.skipif(
        BROWSER is None, reason=f"no browser is installed: none of {', '.join(BROWSERS)} is on PATH"
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None,
        reason="the package playwright, which drives the browser, is not installed",
    ),
]

# What the page looks like to a reader, measured in the page itself.
MEASURE = """() => {
    const luminance = text => {
        const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(value => {
            const share = value / 255;
            return share <= 0.03928 ? share / 12.92 : Math.pow((share + 0.055) / 1.055, 2.4);
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = (one, two) => {
        const [low, high] = [luminance(one), luminance(two)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const background = element => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!colour.endsWith(', 0)') && colour !== 'transparent') return colour;
        }
        return 'rgb(255, 255, 255)';
    };
    const words = [...document.querySelectorAll('body *')].filter(element =>
        element.getClientRects().length && !element.closest('svg') &&
        [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
    const bars = [...document.querySelectorAll('svg rect')];
    const box = element => element.getBoundingClientRect();
    return {
        width: document.documentElement.scrollWidth,
        page: getComputedStyle(document.body).backgroundColor,
        smallest: Math.min(...words.map(element => parseFloat(getComputedStyle(element).fontSize))),
        contrast: Math.min(...words.map(element =>
            contrast(getComputedStyle(element).color, background(element)))),
        bars: Math.min(...bars.map(bar => contrast(getComputedStyle(bar).fill, background(bar)))),
        plot: Math.min(...[...document.querySelectorAll('svg')].map(svg => box(svg).width)),
        names: Math.min(...[...document.querySelectorAll('.row .name')].map(name => box(name).width)),
        outside: words.filter(element => box(element).right > innerWidth + 1).map(e => e.textContent),
        overlaps: [...document.querySelectorAll('.marks')].filter(marks => {
            const shown = [...marks.children].filter(mark => mark.getClientRects().length).map(box);
            return shown.some((mark, place) => place && mark.left < shown[place - 1].right);
        }).length,
    };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The browser, started once."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        started.close()


@pytest.fixture
def page_file(reports: Any, steady: Any, tmp_path: Path) -> Path:
    """A page with two engines, long names, and a history."""
    label = "mistral-7b-instruct-v0.3.Q4_K_M.gguf"
    candidates = [
        reports.candidate(
            {
                "load": steady(1.5 * factor),
                "prompt-512": steady(80.0 * factor),
                "generate-128": [10 * factor, 12 * factor, 9 * factor, 15 * factor, 11 * factor, 8 * factor],
                "first-token-128": steady(0.4),
                "memory": steady(4.4e9),
            },
            label=f"{label} on {backend}",
            backend=backend,
            notes=("threads=4 was asked for; 2 is in force.",),
        )
        for factor, backend in ((1.0, "llamacpp"), (0.4, "ctransformers"))
    ]
    earlier = [
        EarlierFigure(label=candidate.label, time=f"2026-{month:02}-05T10:00:00+00:00", value=9.0 + month / 4)
        for candidate in candidates
        for month in range(1, 11)
    ]
    path = tmp_path / "result.html"
    save_report(reports.report(*candidates), path, earlier)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_can_be_read(browser: Any, page_file: Path, width: int, scheme: Any) -> None:
    """At either width, light and dark: no errors, nothing cut off, and letters and contrast to read by."""
    complaints: list[str] = []
    requests: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    found = page.evaluate(MEASURE)
    picture = page.screenshot(full_page=True)
    context.close()

    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [page_file.as_uri()]
    assert found["width"] == width
    assert found["outside"] == []
    assert found["overlaps"] == 0
    assert found["smallest"] >= 12
    assert found["contrast"] >= 4.5
    assert found["bars"] >= 3
    assert found["plot"] >= (250 if width == 400 else 400)
    assert found["names"] >= 120
    assert (found["page"] == "rgb(255, 255, 255)") == (scheme == "light")
    assert len(picture) > 20_000
