import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_dist.cli.app import main
from srgan_dist.evaluation.comparison import config_differences, labels
from srgan_dist.evaluation.curves import draw_curves, read_curves
from srgan_dist.evaluation.report import ImageComparison
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import save_generator
from srgan_dist.training.config import TrainConfig
from srgan_dist.utils.files import write_json
from srgan_dist.utils.serialization import to_dict

CONFIG = SRResNetConfig(blocks=1, channels=4, interpolated_skip=True)
ARTIFACTS = Path(os.environ.get("TEST_ARTIFACTS", Path(__file__).parents[2] / "build" / "test-artifacts"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the tests only read from."""
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def runs(place: Path) -> list[Path]:
    """Two runs: bicubic exactly, and bicubic with some noise of its own."""
    folders = [place / "first", place / "second"]
    for n, folder in enumerate(folders):
        torch.manual_seed(n)
        network = CONFIG.build(2).eval()
        torch.nn.init.normal_(network.tail.weight, std=0.05 * n)
        notes = {"label": "SRResNet", "scale": 2, "degradation": "matlab-mirror"}
        save_generator(folder / "models" / "srresnet.safetensors", network, CONFIG, notes)
        config = TrainConfig(scale=2, seed=n, generator=CONFIG, run_dir=folder)
        write_json(to_dict(config), folder / "config.json")
        lines = [{"step": s, "time": 0.0, "valid/psnr_y": 30 + n + s / 100, "train/pixel": 1 / s} for s in (10, 20, 30)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folders


@pytest.fixture(scope="module")
def photos(place: Path) -> Path:
    folder = place / "held-out <b>"
    folder.mkdir()
    for n, name in enumerate(("boat", "<script>alert(1)", "tower")):
        small = np.random.default_rng(n).integers(0, 256, (8, 12, 3), np.uint8)
        Image.fromarray(small).resize((192, 128), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def page(runs: list[Path], photos: Path, place: Path) -> Path:
    file = place / "report.html"
    assert main(["compare", *map(str, runs), "--data", str(photos), "--out", str(file), "--images", "2"]) == 0
    return file


@pytest.mark.slow
def test_the_page_needs_nothing_from_outside(page: Path):
    text = page.read_text()

    linked = re.findall(r"""(?:src|href)=["']([^"']*)|url\(([^)]*)\)|@import""", text)
    assert linked
    assert all(found[0].startswith("data:") for found in linked)
    assert "://" not in re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]*", "", text)


def test_names_from_files_are_shown_and_not_obeyed(page: Path):
    assert "<script>alert" not in page.read_text()
    assert "held-out &lt;b&gt;" in page.read_text()


def test_the_page_shows_what_differs_in_the_runs(page: Path):
    text = page.read_text()

    assert re.search(r"<td>seed</td><td>0</td><td>1</td>", text)
    assert "run_dir" not in text
    assert "validation/psnr_y" in text
    assert text.count("<polyline") == 4  # two numbers of two runs


def browser_file() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.slow
@pytest.mark.skipif(browser_file() is None, reason="no Chromium here")
def test_the_page_works_in_a_browser(page: Path):
    playwright = pytest.importorskip("playwright.sync_api")
    errors: list[str] = []
    requests: list[str] = []
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=browser_file(), args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1240, "height": 1100})
        view.on("pageerror", lambda error: errors.append(str(error)))
        view.on("request", lambda request: requests.append(request.url))
        view.goto(page.as_uri())

        table = view.locator("#quality").inner_text()
        first = view.locator("[data-comparison]").first
        right, slider = first.locator("img.right"), first.locator("input")
        before = right.evaluate("e => getComputedStyle(e).clipPath")
        place = slider.bounding_box()
        assert place is not None
        view.mouse.move(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
        view.mouse.down()
        view.mouse.move(place["x"] + place["width"] / 4, place["y"] + place["height"] / 2)
        view.mouse.up()
        after = right.evaluate("e => getComputedStyle(e).clipPath")
        source = right.get_attribute("src")
        first.locator("select.right").select_option("HR")
        another = right.get_attribute("src")
        whole = view.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        view.screenshot(path=ARTIFACTS / "compare.png")
        browser.close()

    assert all(name in table for name in ("bicubic", "first (SRResNet)", "second (SRResNet)", "PSNR-Y"))
    assert before == "inset(0px 0px 0px 50%)"
    cut = re.fullmatch(r"inset\(0px 0px 0px ([\d.]+)%\)", after)
    assert cut
    assert 20 < float(cut[1]) < 30
    assert source != another
    assert whole
    assert errors == []
    assert [r for r in requests if not r.startswith("data:")] == [page.as_uri()]
    assert (ARTIFACTS / "compare.png").stat().st_size > 20_000


def test_a_large_image_is_shown_where_the_models_differ(runs: list[Path], photos: Path, tmp_path: Path):
    file = tmp_path / "small.html"

    main(["compare", str(runs[0]), "--data", str(photos), "--out", str(file), "--side", "64", "--images", "1"])

    assert re.search(r"64x64 at x=\d+ y=\d+", file.read_text())


def test_one_model_is_compared_with_interpolation():
    flat = np.zeros((8, 8, 3), np.uint8)
    comparison = ImageComparison("a", flat, flat, {"bicubic": flat, "model": flat + 10}, ["model"])

    assert comparison.difference().min() > 5


def test_one_model_alone_is_compared_with_the_original():
    flat = np.zeros((8, 8, 3), np.uint8)
    comparison = ImageComparison("a", flat, flat, {"model": flat + 10}, ["model"])

    assert comparison.difference().min() > 5


def test_runs_are_named_by_directory_and_files_by_label(tmp_path: Path):
    (tmp_path / "x" / "run").mkdir(parents=True)
    (tmp_path / "y" / "run").mkdir(parents=True)
    paths = (tmp_path / "x" / "run", tmp_path / "y" / "run", tmp_path / "4x.pth")

    names = labels(paths, ["SRGAN", "SRGAN", "4x"])

    assert names[0] == f"run (SRGAN) {paths[0]}"
    assert names[2] == "4x"


def test_a_run_that_is_being_written_has_its_curves_so_far(tmp_path: Path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "time": 0, "train/a": 2.0}\n{"step": 2, "train/a": NaN}\n{"st')

    assert read_curves(tmp_path) == {"train/a": [(1, 2.0)]}
    assert "<circle" in draw_curves({"run": read_curves(tmp_path)})  # one point is no line


def test_the_page_has_every_images_numbers_and_what_each_model_is(page: Path):
    text = re.sub(r"data:image/webp;base64,[A-Za-z0-9+/=]*", "", page.read_text())
    images = re.search(r'<table id="images">.*?</table>', text, re.DOTALL)
    models = re.search(r'<table id="models".*?</table>', text, re.DOTALL)

    assert images
    assert images[0].count("<tr>") == 4  # all three, though two are shown
    assert models
    parameters = f"{sum(p.numel() for p in CONFIG.build(2).parameters()):,}"
    assert f"<td>SRResNet</td><td>{parameters}</td><td>matlab-mirror</td>" in models[0]
    assert re.search(r"<th>vs bicubic</th>.*?<td>bicubic</td>.*?<td>\+0\.00 dB</td>", text, re.DOTALL)


def test_the_page_says_how_good_each_shown_image_is(page: Path):
    shown = json.loads(page.read_text().split('id="shown">')[1].split("</script>")[0])

    tags = [column["tag"] for column in shown[0]]
    assert any(re.fullmatch(r"bicubic · \d\d\.\d\d dB", tag) for tag in tags)
    assert tags[-1] == "HR"


def test_configurations_are_compared_field_by_field():
    config = TrainConfig(scale=2)
    both = {"a": to_dict(config), "b": to_dict(replace(config, ema_decay=0.5))}

    rows = config_differences(both)

    assert rows == [["field", "a", "b"], ["ema_decay", "0.999", "0.5"]]
    assert config_differences({"a": both["a"]}) == []


def test_models_without_a_run_need_data(runs: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path):
    model = runs[0] / "models" / "srresnet.safetensors"

    code = main(["compare", str(model), "--out", str(tmp_path / "r.html")])

    assert code == 2
    assert "--data is needed" in capsys.readouterr().err
