"""What a person sees: MLflow's own UI in a real browser, on two runs."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from srgan_dist.tracking.chart_page import chart_page
from srgan_dist.training.config import TrainConfig
from srgan_dist.training.trainer import train
from tests.tracking.conftest import Server

ARTEFACTS = Path(os.environ.get("TEST_ARTEFACTS", Path(__file__).parents[2] / "build" / "test-artifacts"))
PATIENCE = 60_000
"""Milliseconds."""
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no Chromium here")]


@pytest.fixture
def view() -> Iterator[Any]:
    """A page of a browser."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(PATIENCE)
        yield page
        browser.close()


@pytest.fixture
def runs(tiny: TrainConfig, server: Server, monkeypatch: pytest.MonkeyPatch) -> tuple[str, dict[str, str]]:
    """The experiment of two runs that differ in their seed, and the runs' numbers by name."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    for seed, name in enumerate(("first", "second")):
        train(replace(tiny, seed=seed, run_dir=tiny.run_dir.with_name(name)))
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name(tiny.tracking.experiment).experiment_id
    return experiment, {r.info.run_name: r.info.run_id for r in client.search_runs([experiment])}


def open_charts(view: Any, address: str, experiment: str) -> None:
    view.goto(chart_page(address, experiment))
    view.get_by_role("button", name="Add chart").first.wait_for()
    if view.get_by_text("MLflow Assistant").count():
        view.get_by_role("button", name="Close").last.click()


def add_image_grid(view: Any, key: str) -> Any:
    """Adds the crop's image of every run; returns the dialog's field for the step."""
    view.get_by_role("button", name="Add chart").first.click()
    view.get_by_text("Image grid").first.click()
    view.get_by_role("dialog").get_by_role("combobox").nth(1).click()
    view.get_by_role("option", name=key, exact=True).click()
    view.keyboard.press("Escape")
    return view.get_by_role("dialog").locator("input").last


def images(view: Any, step: int) -> list[str]:
    """The addresses of the two runs' images of a step, once both have really been loaded."""
    loaded = f"""() => {{
        const all = [...document.querySelectorAll("img[src*='get-artifact']")];
        const found = all.filter(i => i.complete && i.naturalWidth > 16).map(i => decodeURIComponent(i.src));
        return found.filter(s => s.includes("+step+{step}+")).length == 2 && found;
    }}"""
    return view.wait_for_function(loaded).json_value()


def test_charts_parameters_and_stepped_images_of_two_runs(view: Any, runs: tuple[str, dict], server: Server):
    experiment, numbers = runs
    ARTEFACTS.mkdir(parents=True, exist_ok=True)

    open_charts(view, server.uri, experiment)
    view.get_by_text("first (validation/psnr_y_bicubic)").first.wait_for()  # in the chart of PSNR, which comes first
    view.get_by_text("second (validation/psnr_y)").first.wait_for()
    view.locator("svg.main-svg .scatterlayer .trace").first.wait_for(state="attached")
    text = view.inner_text("body")
    view.screenshot(path=ARTEFACTS / "mlflow-charts.png")
    assert "Judges" not in text  # of MLflow's page about generative AI
    assert text.index("\nvalidation\n") < text.index("\nloss\n")

    step = add_image_grid(view, "000")
    shown: dict[int, list[str]] = {}
    for wanted in (4, 16):
        step.fill(str(wanted))
        step.press("Tab")
        shown[wanted] = images(view, wanted)
    view.screenshot(path=ARTEFACTS / "mlflow-images.png")

    compared, inside = json.dumps([*numbers.values()]), json.dumps([experiment])
    view.goto(f"{server.uri}/#/compare-runs?runs={compared}&experiments={inside}")
    view.get_by_text("Show diff only").first.click()
    view.get_by_role("row", name="generator.channels").wait_for(state="detached")  # the same in both
    differing = view.get_by_role("row", name="seed").first.inner_text().split()
    view.screenshot(path=ARTEFACTS / "mlflow-parameters.png", full_page=True)

    for sources in shown.values():
        assert all(sum(number in s for s in sources) == 1 for number in numbers.values())
    assert differing[0] == "seed"
    assert sorted(differing[1:]) == ["0", "1"]
