"""Files that were written before the package was divided into chapters still open, resume and serve.

`old_files/before_chapters.tar.xz` holds what version 0.1.0 wrote then: shards at x2, a finished run, the same run as it
stood after step 6 of 8, an exported generator, and a generator as it was logged to MLflow.
"""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from srgan_dist import load_generator
from srgan_dist.cli.app import main
from srgan_dist.cli.train import train_main
from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.evaluation.curves import read_curves
from srgan_dist.runs import checkpoint
from srgan_dist.utils.renamed import current_name
from tests.conftest import ROOT

ARCHIVE = Path(__file__).parent / "old_files" / "before_chapters.tar.xz"
FLAGS = (
    "--data.hr-crop=32", "--data.batch=1", "--generator.blocks=1", "--generator.channels=4",
    "--discriminator.channels=2", "--discriminator.dense=2", "--log-every=1", "--validation.side=32", "--threads=1",
    "--validation.every=2", "--checkpoint.every=2", "--checkpoint.keep=4", "--pretrain.steps=4",
    "--adversarial.steps=4", "--data.shards", "shards", "--run-dir=run", "--tracking.enabled=False",
)  # fmt: skip
"""Those that the run was made with."""


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_old_run_resumes_to_the_weights_that_it_had(old: Path):
    (old / "stopped").rename(old / "run")
    (old / "run" / "metrics.jsonl").write_text((old / "finished" / "metrics.jsonl").read_text())

    assert train_main(["quickstart", *FLAGS]) == 0

    ours, theirs = (load_file(old / run / "models" / "srgan.safetensors") for run in ("run", "finished"))
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    # Other processors sum in another order.
    assert all(torch.allclose(ours[k].float(), theirs[k].float(), rtol=1e-3, atol=1e-4) for k in ours)
    lines, before = ((old / run / "metrics.jsonl").read_text().splitlines() for run in ("run", "finished"))
    kept = [json.dumps(renamed(json.loads(line))) for line in before if json.loads(line)["step"] <= 6]
    assert lines[: len(kept)] == kept  # with their times: these steps were not made again
    assert [json.loads(line)["step"] for line in lines[len(kept) :]] == [7, 8, 8]  # two steps and a validation


def renamed(row: dict[str, float]) -> dict[str, float]:
    return {current_name(name): value for name, value in row.items()}


@pytest.mark.slow
def test_a_configuration_without_later_fields_resumes_and_compares_equal(old: Path):
    (old / "stopped").rename(old / "run")
    for run in ("run", "finished"):
        config = json.loads((old / run / "config.json").read_text())
        del config["probe_every"], config["data"]["window"], config["generator"]["batch_norm"]
        config["ema_decay"] = config["ema_decay"] if run == "run" else 0.5
        (old / run / "config.json").write_text(json.dumps(config))

    assert train_main(["quickstart", *FLAGS]) == 0
    assert main(["compare", "run", "finished", "--data", "shards", "--out", "page.html"]) == 0

    page = (old / "page.html").read_text()
    assert "<td>ema_decay</td>" in page  # what differs is there
    assert not [
        f
        for f in ("gradient_shares_every", "optimizer.betas", "data.window", "generator.batch_norm")
        if f"<td>{f}</td>" in page
    ]


@pytest.mark.parametrize("source", ["finished", "stopped", "stopped/checkpoints/best", "exported.safetensors"])
def test_every_old_source_of_a_generator_opens(old: Path, source: str):
    generator = load_generator(old / source)

    assert generator.scale == 2
    assert generator.network(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 16, 16)


def test_an_old_checkpoint_says_that_its_degradation_is_unknown(old: Path):
    assert "degradation" not in checkpoint.load(old / "stopped" / "checkpoints" / "step-00000006")
    assert load_generator(old / "stopped" / "checkpoints" / "last").degradation == "unknown"


def test_old_shards_and_curves_are_read(old: Path):
    assert len(ShardSet((str(old / "shards"),), "train")) == 3
    assert main(["shards", "verify", str(old / "shards")]) == 0
    assert read_curves(old / "finished")


def test_an_old_mlflow_model_is_served(old: Path):
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    assert "srgan_dist.served" in (old / "mlflow_model" / "MLmodel").read_text()

    sr = pyfunc.load_model(str(old / "mlflow_model")).predict(np.zeros((1, 12, 10, 3), np.uint8))

    assert sr.shape == (1, 24, 20, 3)


def test_an_entry_point_installed_before_the_move_still_works():
    code = "import sys; sys.argv = ['srgan', '--version']; from srgan_dist.cli import main; sys.exit(main())"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)

    assert ran.returncode == 0
    assert ran.stdout.startswith("srgan_dist ")
