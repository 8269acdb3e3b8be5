"""The logged model gives what `srgan upscale` gives, in Python and over HTTP."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from numpy.typing import NDArray

from srgan_dist.cli.app import main
from srgan_dist.imaging import images
from srgan_dist.imaging.images import Pixels
from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import save_generator
from srgan_dist.tracking.config import TrackingConfig
from srgan_dist.tracking.tracker import Tracker
from tests.conftest import random_image
from tests.tracking.conftest import Server

pytestmark = pytest.mark.slow

CONFIG = SRResNetConfig(blocks=1, channels=8, interpolated_skip=True)


def network(folder: Path, label: str, seed: int) -> Path:
    torch.manual_seed(seed)
    made = CONFIG.build(2).eval()
    torch.nn.init.normal_(made.tail.weight, std=0.05)
    file = folder / "models" / f"{label.lower()}.safetensors"
    save_generator(file, made, CONFIG, {"label": label, "scale": 2, "degradation": "matlab-mirror"})
    return file


def log_models(folder: Path, **psnr: float) -> None:
    tracker = Tracker(TrackingConfig(experiment="models", register="enlarger"), folder, {})
    for seed, (label, value) in enumerate(psnr.items()):
        tracker.model(network(folder, label, seed), label, 2, 7, {"psnr_y": value, "ssim_y": 0.9})
    assert tracker.close("FINISHED")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with one run's two models, registered."""
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        (folder / "first").mkdir()
        log_models(folder / "first", SRResNet=31.0, SRGAN=30.0)
        yield f"sqlite:///{folder}/mlflow.db"


def upscaled(uri: str, lr: Pixels, tmp_path: Path) -> Pixels:
    """By the command line, from the same file."""
    images.write(lr, tmp_path / "lr.png")
    model = Path(uri.removeprefix("sqlite:///")).parent / "first" / "models" / "srresnet.safetensors"
    assert main(["upscale", str(tmp_path / "lr.png"), str(tmp_path / "sr.png"), "--model", str(model)]) == 0
    return images.read(tmp_path / "sr.png")


def test_the_loaded_model_gives_the_image_of_srgan_upscale_at_any_size(uri: str, tmp_path: Path):
    lr = random_image(37, 53)
    mlflow.set_registry_uri(uri)
    model = mlflow.pyfunc.load_model("models:/enlarger@best-psnr")

    sr: NDArray[np.uint8] = model.predict(np.stack([lr, lr[::-1]]))

    assert sr.shape == (2, 74, 106, 3)
    assert np.array_equal(sr[0], upscaled(uri, lr, tmp_path))
    assert not np.array_equal(sr[1], sr[0])
    assert model.input_example.dtype == np.uint8
    with pytest.raises(Exception, match=r"uint8|type"):
        model.predict(lr[None].astype(np.float32))


def test_the_alias_stands_at_the_best_model_of_all_runs(uri: str):
    client = MlflowClient(uri)
    best = client.get_model_version_by_alias("enlarger", "best-psnr")
    assert best.tags["label"] == "SRResNet"
    assert client.get_model_version_by_alias("enlarger", "srgan").tags["label"] == "SRGAN"
    folder = Path(uri.removeprefix("sqlite:///")).parent

    (folder / "worse").mkdir()
    log_models(folder / "worse", SRResNet=29.0)
    assert client.get_model_version_by_alias("enlarger", "best-psnr").version == best.version
    (folder / "better").mkdir()
    log_models(folder / "better", SRResNet=32.0)
    assert client.get_model_version_by_alias("enlarger", "best-psnr").version != best.version
    client.set_registered_model_alias("enlarger", "best-psnr", best.version)  # for the other tests


def test_a_model_that_is_logged_again_is_not_logged_twice(uri: str):
    client, folder = MlflowClient(uri), Path(uri.removeprefix("sqlite:///")).parent
    experiment = client.get_experiment_by_name("models").experiment_id
    before = len(client.search_logged_models([experiment])), len(client.search_model_versions("name='enlarger'"))

    log_models(folder / "first", SRResNet=31.0, SRGAN=30.0)

    after = len(client.search_logged_models([experiment])), len(client.search_model_versions("name='enlarger'"))
    assert before == after
    model = next(m for m in client.search_logged_models([experiment]) if m.tags["psnr_y"] == "30.0")
    assert model.tags["ssim_y"] == "0.9"
    assert not model.metrics  # MLflow would add a chart of one dot for each of them


def test_mlflow_serves_the_model(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lr = random_image(9, 13)
    serving = Server(tmp_path, "models", "serve", "-m", "models:/enlarger@best-psnr", "--env-manager", "local")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    try:
        serving.start()
        question = urllib.request.Request(
            f"{serving.uri}/invocations", json.dumps({"inputs": lr[None].tolist()}).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(question, timeout=60) as answer:
            predictions = json.load(answer)["predictions"]
    finally:
        serving.stop()

    assert np.array_equal(np.array(predictions[0], np.uint8), upscaled(uri, lr, tmp_path))
