import csv
import json
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_dist.cli.app import main
from srgan_dist.distributed.group import SingleProcess, no_progress
from srgan_dist.evaluation.comparison import compare_phases
from srgan_dist.evaluation.evaluate import (
    evaluate,
    evaluate_methods,
    interpolation,
    matching_evaluation_set,
    model_methods,
)
from srgan_dist.evaluation.evaluation_set import EvaluationSet, open_evaluation_set
from srgan_dist.evaluation.results import Evaluation, Row
from srgan_dist.imaging import images
from srgan_dist.imaging.resize import downscale
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import Generator, save_generator
from tests.conftest import SHARED

PUBLISHED_SIZES = pytest.mark.skipif(not SHARED.is_dir(), reason="no Set5 and Set14 here")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scale", "psnr_y", "ssim_y"), [(2, 32.980559862236, 0.891375024808), (4, 28.827038335469, 0.757313655179)]
)
def test_bicubic_on_a_frozen_pair_has_its_published_kind_of_score(
    scale: int, psnr_y: float, ssim_y: float, tmp_path: Path
):
    """HR and MATLAB's LR of one photograph, so that the protocol is held where no test set is."""
    with np.load(Path(__file__).parents[1] / "imaging" / "golden_pair.npz") as golden:
        for folder, name in ((f"HR_x{scale}", "hr"), (f"LR_x{scale}", f"lr_x{scale}")):
            images.write(golden[name], tmp_path / folder / "a.png")

    found = bicubic(open_evaluation_set(tmp_path, scale)).means()["bicubic"]

    assert found["psnr_y"] == pytest.approx(psnr_y, abs=1e-9)
    assert found["ssim_y"] == pytest.approx(ssim_y, abs=1e-9)


@PUBLISHED_SIZES
@pytest.mark.parametrize(("data", "scale", "psnr_y"), [("set5", 4, 28.43), ("set5", 2, 33.67)])
def test_bicubic_reaches_the_published_numbers_on_set5(data: str, scale: int, psnr_y: float):
    found = bicubic(open_evaluation_set(SHARED / data, scale)).means()["bicubic"]

    assert found["psnr_y"] == pytest.approx(psnr_y, abs=0.01)


@PUBLISHED_SIZES
@pytest.mark.slow
@pytest.mark.parametrize(("scale", "psnr_y"), [(4, 26.09), (2, 30.33)])
def test_bicubic_reaches_the_published_numbers_on_set14(scale: int, psnr_y: float):
    found = bicubic(open_evaluation_set(SHARED / "set14", scale)).means()["bicubic"]

    assert found["psnr_y"] == pytest.approx(psnr_y, abs=0.01)


@PUBLISHED_SIZES
def test_a_set_of_one_image_has_that_images_values(tmp_path: Path):
    for folder in ("HR_x4", "LR_x4"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "img_001.png").write_bytes((SHARED / "set5" / folder / "img_001.png").read_bytes())

    evaluation = bicubic(open_evaluation_set(tmp_path, 4))

    assert len(evaluation.rows) == 1
    assert evaluation.means()["bicubic"] == evaluation.rows[0].scores
    assert evaluation.rows[0].scores["psnr_y"] == pytest.approx(31.78, abs=0.01)
    assert evaluation.rows[0].scores["ssim_y"] == pytest.approx(0.8567, abs=1e-3)


def bicubic(evaluation_set: EvaluationSet) -> Evaluation:
    return evaluate_methods(
        evaluation_set, {"bicubic": interpolation("bicubic", evaluation_set.scale)}, SingleProcess(), no_progress
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        small = Image.fromarray(rng.integers(0, 256, (8, 9, 3), np.uint8))
        small.resize((63, 54), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


def test_lr_is_made_by_the_kernel_that_the_model_was_trained_on(folder: Path):
    hr = np.asarray(Image.open(folder / "a.png"))[:52, :60]

    evaluation_set = matching_evaluation_set(folder, [generator("x", "pillow")], None)

    assert np.array_equal(evaluation_set.read(0).lr, downscale(hr, 4, "pillow"))
    assert np.array_equal(evaluation_set.read(0).hr, hr)


def test_a_model_evaluated_on_another_bicubic_is_told_so(folder: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("WARNING", "srgan_dist")
    logger = __import__("logging").getLogger("srgan_dist")
    logger.propagate = True

    matching_evaluation_set(folder, [generator("first", "pillow"), generator("second", "torch")], None)
    matching_evaluation_set(folder, [generator("third", "matlab-clamp")], None)

    assert "first was trained on LR made by pillow but is evaluated on matlab-mirror" in caplog.text
    assert "second" in caplog.text
    assert "third" not in caplog.text


def test_models_of_different_scales_are_refused(folder: Path):
    with pytest.raises(ValueError, match=r"scales differ: --scale 2, x is x4; "):
        matching_evaluation_set(folder, [generator("x", "pillow")], 2)


def test_a_folder_of_pairs_at_another_scale_says_which_it_has(tmp_path: Path):
    (tmp_path / "HR_x2").mkdir()
    (tmp_path / "HR_x4").mkdir()

    with pytest.raises(ValueError, match=r"no HR_x3 folder, but HR_x2, HR_x4"):
        open_evaluation_set(tmp_path, 3)


def test_published_rows_that_are_not_there_are_refused_before_anything_is_evaluated(folder: Path):
    def judging(items: object, label: str) -> NoReturn:
        raise AssertionError("it was evaluated first")

    with pytest.raises(ValueError, match="the papers report Set5"):
        evaluate(folder, published=True, progress=judging)


def generator(label: str, degradation: str) -> Generator:
    return Generator(SRResNetConfig(blocks=1, channels=4).build(4).eval(), label, 4, degradation)


def test_hr_that_does_not_divide_is_cut_on_request_as_its_lr_was(tmp_path: Path):
    (tmp_path / "HR").mkdir()
    (tmp_path / "LR").mkdir()
    hr = np.random.default_rng(0).integers(0, 256, (50, 63, 3), np.uint8)
    Image.fromarray(hr).save(tmp_path / "HR" / "a.png")
    Image.fromarray(downscale(hr[:48, :60], 4)).save(tmp_path / "LR" / "a.png")

    image = open_evaluation_set(tmp_path, 4, crop_hr=True).read(0)

    assert np.array_equal(image.hr, hr[:48, :60])


def test_the_numbers_reach_json_csv_and_markdown(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = tmp_path / "model.safetensors"
    config = SRResNetConfig(blocks=1, channels=4, interpolated_skip=True)
    save_generator(model, config.build(2), config, {"label": "tiny", "scale": 2, "degradation": "matlab-mirror"})
    outputs = [tmp_path / name for name in ("e.json", "e.csv", "e.md")]

    code = main(["evaluate", "--data", str(folder), "--models", str(model), "--against", "nearest", "bicubic",
                 "--json", str(outputs[0]), "--csv", str(outputs[1]), "--markdown", str(outputs[2])])  # fmt: skip

    content = json.loads(outputs[0].read_text())
    rows = list(csv.DictReader(outputs[1].open()))
    assert code == 0
    assert content["protocol"] == "psnr_y_crop2"
    assert {"data", "image", "method", "psnr_y", "ssim_y"} <= set(content["rows"][0])
    assert [(r["image"], r["method"]) for r in rows] == [(r["image"], r["method"]) for r in content["rows"]]
    assert set(content["means"]) == {"nearest", "bicubic", "tiny"}
    assert content["means"]["tiny"]["psnr_y"] == pytest.approx(content["means"]["bicubic"]["psnr_y"], abs=0.2)
    assert outputs[2].read_text() == capsys.readouterr().out


@pytest.mark.slow
def test_the_means_reach_mlflow(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

    assert main(["evaluate", "--data", str(folder), "--against", "bicubic", "--mlflow", "evaluated"]) == 0

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("evaluated")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["bicubic/psnr_y"] == pytest.approx(
        evaluate(folder, against=("bicubic",)).means()["bicubic"]["psnr_y"]
    )


def test_methods_with_the_same_label_are_told_apart():
    models = [generator("SRGAN", "pillow")] * 4

    names = list(model_methods(models, (Path("x/a"), Path("b"), Path("y/a"), Path("c")), "cpu"))

    assert names == ["SRGAN (x/a)", "SRGAN (b)", "SRGAN (y/a)", "SRGAN (c)"]


def test_the_papers_rows_stand_beside_ours_with_what_differs():
    rows = [Row("set5", "a", "bicubic", {"psnr_y": 28.4, "ssim_y": 0.81, "psnr_rgb": 26.0})]

    table = Evaluation(4, rows).table(with_published=True)

    assert "| nearest [SRGAN] | 26.26 | 0.7552 |" in table
    assert "| SRGAN-VGG54 [SRGAN] | 29.40 | 0.8472 |" in table
    assert "| RRDB [ESRGAN] | 32.73 | 0.9011 |" in table
    assert "daala" in table
    with pytest.raises(ValueError, match="not images at x2"):
        Evaluation(2, [Row("images", "a", "bicubic", rows[0].scores)]).table(with_published=True)


def test_equal_images_leave_valid_json():
    evaluation = Evaluation(2, [Row("d", "a", "copy", {"psnr_y": float("inf"), "ssim_y": 1.0})])

    content = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))

    assert content["rows"][0]["psnr_y"] is None


def test_a_image_too_small_to_judge_is_named(tmp_path: Path):
    Image.new("RGB", (16, 16)).save(tmp_path / "tiny.png")

    with pytest.raises(ValueError, match="tiny: 16x16 is too small"):
        bicubic(open_evaluation_set(tmp_path, 4))


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_a_model_that_returns_nan_is_one_line_and_no_score(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
):
    model = generator("broken", "matlab-mirror")
    model.network.get_parameter("tail.weight").data[0, 0, 0, 0] = torch.nan
    save_generator(tmp_path / "broken.safetensors", model.network, SRResNetConfig(blocks=1, channels=4),
                   {"label": "broken", "scale": model.scale, "degradation": "matlab-mirror"})  # fmt: skip
    options = {"evaluate": ["--models", str(tmp_path / "broken.safetensors"), "--json", str(tmp_path / "out")],
               "compare": [str(tmp_path / "broken.safetensors"), "--out", str(tmp_path / "out")]}  # fmt: skip

    code = main([command, "--data", str(folder), *options[command]])

    said = capsys.readouterr().err
    assert code == 1
    (line,) = [line for line in said.splitlines() if "NaN" in line]
    assert "broken" in line
    assert "not finite: tail.weight" in line
    assert f"{folder.name}, " in line
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_the_final_evaluation_of_a_run_names_method_and_image(folder: Path, tmp_path: Path):
    model, config = generator("broken", "matlab-mirror"), SRResNetConfig(blocks=1, channels=4)
    torch.nn.init.constant_(model.network.get_parameter("tail.weight"), torch.inf)
    file = tmp_path / "models" / "broken.safetensors"
    save_generator(file, model.network, config, {"label": "broken", "scale": 4, "degradation": "matlab-mirror"})

    with pytest.raises(ValueError, match=r"images, a: broken returns NaN"):
        compare_phases(tmp_path, (file,), open_evaluation_set(folder, 4), SingleProcess(), no_progress, "cpu")

    assert not (tmp_path / "evaluation.json").exists()


def test_processes_together_find_what_one_finds(folder: Path):
    class Half:
        size = 2

        def __init__(self, rank: int, others: list[object]) -> None:
            self.rank, self._others = rank, others

        def gather(self, mine: list[object]) -> list[object]:
            return [*self._others, *mine]

    evaluation_set = open_evaluation_set(folder, 2)
    methods = {"bicubic": interpolation("bicubic", 2)}
    seen: list[object] = []
    first = Half(0, [])
    first.gather = lambda mine: seen.extend(mine) or mine  # pyright: ignore
    evaluate_methods(evaluation_set, methods, first, no_progress)

    together = evaluate_methods(evaluation_set, methods, Half(1, seen), no_progress)

    assert together == evaluate_methods(evaluation_set, methods, SingleProcess(), no_progress)
