"""The comparison page with names that are code, that repeat, or that hold what no terminal should see."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_dist.evaluation import page_images
from srgan_dist.evaluation.method_names import unique_names
from srgan_dist.evaluation.report import Figure, ImageComparison, Report
from srgan_dist.evaluation.results import Evaluation, Row
from srgan_dist.imaging.images import Pixels
from tests.conftest import random_image

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARTIFACTS = Path(os.environ.get("TEST_ARTIFACTS", Path(__file__).parents[2] / "build" / "test-artifacts"))
HOSTILE = (
    "<script>window.ran = 1</script>",
    "</script><script>window.ran = 1</script>",
    '"><img src=http://127.0.0.1:9/x onerror="window.ran = 1">',
    "<!--<script>",
    "{{ shown }} {{title}} {% raw %}",
    "' onmouseover='window.ran = 1' style='background:url(http://127.0.0.1:9/y)",
    "javascript:window.ran = 1",
    "&lt;b&gt; \u202etxt \x1b[2J\nnext \udcff",
    "two  spaces",
)


def quality(n: int) -> dict[str, float]:
    return {"psnr_y": 30.0 + n, "ssim_y": 0.9, "psnr_rgb": 29.0, "<u>new</u>": 0.5}


def evaluation(images: list[str], methods: list[str]) -> Evaluation:
    rows = [Row("data", name, method, quality(n)) for n, name in enumerate(images) for method in methods]
    return Evaluation(2, rows)


class Named(Evaluation):
    """An evaluation with a column that has no protocol."""

    def protocols(self) -> dict[str, str]:
        return {"psnr_y": HOSTILE[1]}


def comparison(name: str, methods: list[str], side: int = 96, seed: int = 0) -> ImageComparison:
    hr = random_image(side, side, seed)
    results = {method: (hr // 2 + n).astype(np.uint8) for n, method in enumerate(methods)}
    return ImageComparison(name, hr, hr, results, methods[-2:], {m: 30.0 + n for n, m in enumerate(methods)})


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    methods = ["bicubic", *HOSTILE]
    images = [*HOSTILE, "same", "same"]
    curve = {f"train/{HOSTILE[0]}": [(1.0, 1.0), (2.0, 2.0)], f"valid/{HOSTILE[2]}": [(1.0, 1.0)]}
    report = Report(
        title=" · ".join(HOSTILE),
        subtitle=" ".join(HOSTILE),
        evaluation=Named(2, evaluation(images, methods).rows),
        comparisons=[comparison(name, methods, seed=n) for n, name in enumerate([HOSTILE[1], "same", "same"])],
        curves=dict.fromkeys(HOSTILE, curve),
        models=[["model", HOSTILE[2]], *([name, name] for name in HOSTILE)],
        differences=[["field", *HOSTILE], *([name] * (len(HOSTILE) + 1) for name in HOSTILE)],
        figures=[Figure(name, random_image(64, 96)) for name in HOSTILE[:3]],
    )
    file = tmp_path_factory.mktemp("page") / "report.html"
    assert report.write(file) is None
    return file


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if BROWSER is None:
        pytest.skip("no Chromium here")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


class View:
    """An open page, with the errors and requests that it caused."""

    def __init__(self, browser: Any, file: Path) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page = browser.new_page(viewport={"width": 1240, "height": 1100})
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda told: self.errors.append(told.text) if told.type == "error" else None)
        self.page.goto(file.as_uri())
        self.outside = [r for r in self.requests if not r.startswith(("data:", file.parent.as_uri()))]


@pytest.mark.slow
def test_hostile_names_run_nothing_and_ask_for_nothing(browser: Any, hostile_page: Path):
    view = View(browser, hostile_page)

    for element in view.page.locator("td, figcaption, h1, h3").all()[:400:7]:
        element.dispatch_event("mouseover")
    ran, scripts = view.page.evaluate("[window.ran, document.scripts.length]")
    title, heading = view.page.title(), view.page.locator("h1").inner_text()
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    view.page.screenshot(path=ARTIFACTS / "hostile-names.png", full_page=True)

    assert ran is None
    assert scripts == 2  # its own, and its data
    assert view.outside == []
    assert view.errors == []
    assert HOSTILE[0] in title
    assert all(name in heading for name in HOSTILE[:7])
    assert r"\u202etxt \x1b[2J\nnext \xff" in heading
    assert view.page.locator("svg title").first.text_content() == HOSTILE[0]


@pytest.mark.slow
def test_two_spaces_and_equal_names_are_shown_right(browser: Any, hostile_page: Path):
    page = View(browser, hostile_page).page
    shown = json.loads(page.locator("#shown").text_content())
    second, third = page.locator("[data-comparison]").all()[1:3]

    for card, own in ((second, shown[1]), (third, shown[2])):
        select, image = card.locator("select.right"), card.locator("img.right")
        for number, column in enumerate(own):
            select.select_option(str(number))
            assert image.get_attribute("src") == column["src"]
            assert card.locator(".tag.right").text_content() == column["tag"]
    names = [e.text_content() for e in page.locator("#images tr td:first-child").all()]
    cells = [e.text_content() for e in page.locator("#images tr td:nth-child(2)").all()]
    heading = page.locator("#quality tr td:first-child", has_text="two  spaces")

    assert heading.evaluate("e => e.innerText") == "two  spaces"
    assert shown[1][-1]["src"] != shown[2][-1]["src"]
    assert names[-2:] == ["same", "same"]
    assert cells[-2:] == ["39.00 · 0.9000", "40.00 · 0.9000"]


def test_a_column_of_unknown_meaning_has_no_best_value():
    text = Report("t", "s", Named(2, evaluation(["a"], ["x", "y"]).rows), []).html()

    assert "&lt;u&gt;new&lt;/u&gt;" in text
    assert '<td class="best">30.00</td>' in text
    assert "<td>0.5000</td>" in text


def photo(seed: int, side: int) -> Pixels:
    """An image that compresses about as badly as a photograph: smooth shapes with noise of a few levels."""
    rng = np.random.default_rng(seed)
    return (random_image(side, side, seed).astype(int) + rng.integers(-3, 4, (side, side, 3))).clip(0, 255).astype("u1")


def large_report(images: int, side: int) -> Report:
    methods, shown = ["bicubic", "one", "two"], list[ImageComparison]()
    for seed in range(images):
        hr = photo(seed, side)
        results = {m: (hr // (2 + n)).astype(np.uint8) for n, m in enumerate(methods)}
        shown.append(ImageComparison(f"image {seed}", hr, hr, results, methods[1:], dict.fromkeys(methods, 30.0)))
    return Report("title", "subtitle", evaluation(["a"], methods), shown)


@pytest.mark.slow
def test_a_large_page_has_its_images_beside_it(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(page_images, "INLINE_MB", 0.1)
    file = tmp_path / "a %41?#ü.html"
    report = large_report(3, 128)

    folder = report.write(file)
    (tmp_path / "a %41?#ü-images" / "mine.webp").write_text("the user's own")
    view = View(browser, file)
    view.page.evaluate("for (const i of document.images) i.loading = 'eager'")
    # `wait_for_function` would evaluate text in the page, which its policy forbids.
    loaded = "Promise.all([...document.images].map(i => i.decode())).then(() => true)"
    assert view.page.evaluate(loaded)

    assert folder == tmp_path / "a %41?#ü-images"
    assert file.stat().st_size < 100_000
    assert view.outside == []
    assert view.errors == []
    monkeypatch.setattr(page_images, "INLINE_MB", 24)
    assert report.write(file) is None
    assert [f.name for f in folder.iterdir()] == ["mine.webp"]


@pytest.mark.extended
def test_a_hundred_images_stay_under_40_mb(tmp_path: Path):
    """Images of 256 pixels; larger ones only make larger files beside the page."""
    file = tmp_path / "page.html"

    folder = large_report(100, 256).write(file)

    assert folder
    assert file.stat().st_size < 40e6


def test_names_of_models_never_hide_an_interpolation_or_each_other():
    assert unique_names(["bicubic", "HR", "SRGAN", "SRGAN", "SRGAN (2)"]) == [
        "bicubic (2)", "HR (2)", "SRGAN", "SRGAN (2)", "SRGAN (2) (2)",
    ]  # fmt: skip
