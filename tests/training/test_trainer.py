import json
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from srgan_dist.cli.train import train_main
from srgan_dist.runs import checkpoint
from srgan_dist.runs.metric_names import METRICS
from srgan_dist.training.trainable import Networks
from tests.conftest import TINY, Launch

STEPS = ("--pretrain.steps=4", "--adversarial.steps=4", "--validation.every=4", "--checkpoint.every=4")


def status(run: Path) -> dict[str, object]:
    return json.loads((run / "status.json").read_text())


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_one_command_trains_both_phases_and_leaves_everything(launch: Launch, shards: Path, tmp_path: Path):
    ran = launch("quickstart", "--data.shards", str(shards), *TINY, *STEPS)

    assert ran.returncode == 0, ran.stderr
    run = tmp_path / "runs" / "quickstart"
    for method in ("nearest", "bilinear", "bicubic", "SRResNet", "SRGAN"):
        assert f"| {method} |" in ran.stdout
    assert "psnr_y_crop2" in ran.stdout
    assert status(run)["state"] == "done"
    assert status(run)["step"] == 8
    assert Image.open(run / "comparison.png").size[0] > 1000
    assert json.loads((run / "evaluation.json").read_text())["protocol"] == "psnr_y_crop2"
    assert {f.name for f in (run / "models").iterdir()} == {
        "srresnet.safetensors", "srgan.safetensors", "srgan-discriminator.safetensors"
    }  # fmt: skip
    assert checkpoint.resolve(run / "checkpoints" / "last").name == "step-00000008"
    assert "step 6/8" in ran.stderr  # a log file is readable without a terminal
    assert {
        "loss/generator/pixel",
        "performance/crops_per_s",
        "performance/data_wait",
        "performance/memory_gib",
    } <= metrics(run)[0].keys()
    names = {name for row in metrics(run) for name in row if not name.startswith("health/")}
    assert names <= {metric.name for metric in METRICS} | {"step", "time"}  # docs/reference/metrics.md has all of them
    assert "loss/generator/content" not in names  # quickstart has no VGG
    assert Image.open(run / "curves.png").size == (1200, 760)
    assert "s from the command to the first step: launcher" in ran.stderr
    _check_mlflow(tmp_path, run)


def _check_mlflow(folder: Path, run: Path) -> None:
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    assert len(client.search_runs([e.experiment_id for e in client.search_experiments()])) == 1
    stored = client.get_run(json.loads((run / "mlflow.json").read_text())["run_id"])
    assert stored.info.status == "FINISHED"
    assert stored.data.params["data.hr_crop"] == "32"
    assert {
        "loss/generator/pixel",
        "loss/generator/adversarial",
        "validation/psnr_y",
        "validation/ssim_y",
    } <= stored.data.metrics.keys()
    assert [m.step for m in client.get_metric_history(stored.info.run_id, "validation/psnr_y")] == [4, 8]
    artifacts = {f.path for f in client.list_artifacts(stored.info.run_id)}
    assert {"images", "models", "comparison.png", "evaluation.json"} <= artifacts
    assert {"config.json", "environment.json", "comparison.html", "evaluation_table.json"} <= artifacts
    assert {"host", "device", "world_size", "precision", "version.torch"} <= stored.data.tags.keys()
    assert stored.data.tags["preset"] == "quickstart"
    assert client.get_experiment(stored.info.experiment_id).name == "srgan_dist"
    assert {"final/psnr_y", "final/psnr_y_bicubic", "final/psnr_y_pretrained"} <= stored.data.tags.keys()
    assert not [name for name in stored.data.metrics if name.startswith(("final", "SRGAN", "SRResNet"))]
    data = stored.inputs.dataset_inputs[0].dataset
    assert stored.data.params["data.manifests"] == f"['{json.loads(data.profile)['manifest_sha256']}']"
    assert data.digest == json.loads(data.profile)["manifest_sha256"][:36]
    assert json.loads(data.profile)["train"] == 10


@pytest.mark.slow
def test_the_same_command_on_two_processes_trains_one_run(launch: Launch, shards: Path, tmp_path: Path):
    ran = launch("quickstart", "--data.shards", str(shards), *TINY, *STEPS, processes=2)

    assert ran.returncode == 0, ran.stderr
    assert "4 crops per step = 2 process(es) x batch 2 x accumulate 1" in ran.stderr
    assert ran.stdout.count("| SRGAN |") == 1
    assert ran.stderr.count("step 6/8") == 1
    _check_mlflow(tmp_path, tmp_path / "runs" / "quickstart")
    assert status(tmp_path / "runs" / "quickstart")["state"] == "done"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["launcher", "program"])
def test_bf16_can_be_asked_of_the_launcher_and_of_the_program(where: str, launch: Launch, shards: Path, tmp_path: Path):
    asked = ("--mixed-precision", "bf16")
    flags, args = (asked, ()) if where == "launcher" else ((), asked)

    ran = launch("quickstart", "--data.shards", str(shards), *TINY, "--pretrain.steps=2", "--adversarial.steps=2",
                 "--tracking.enabled=False", *args, flags=flags)  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    assert "precision bf16" in ran.stderr
    assert status(tmp_path / "runs" / "quickstart")["state"] == "done"


def test_want_of_memory_names_batch_crop_and_the_flags_that_help(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Networks, "update", full)

    flags = ("--tracking.enabled=False", "--mixed-precision=no")
    code = train_main(["quickstart", "--data.shards", str(shards), *TINY, *flags])

    said = capsys.readouterr().err
    assert code == 1
    for word in ("data.batch=2", "data.hr_crop=32", "--accumulate", "--mixed-precision bf16", "Tried to allocate"):
        assert word in said
    assert "Traceback" not in said
    assert status(tmp_path / "runs" / "quickstart")["state"] == "failed"


@pytest.mark.slow
def test_where_the_devices_peak_is_known_its_use_is_logged_for_each_phase(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for module in ("trainer", "reports.meter"):
        monkeypatch.setattr(f"srgan_dist.training.{module}.peak_tflops", lambda _: 2.0)

    assert train_main(["quickstart", "--data.shards", str(shards), *TINY, *STEPS, "--tracking.enabled=False"]) == 0

    rows = [m for m in metrics(tmp_path / "runs" / "quickstart") if "performance/tflops" in m]
    work = [m["performance/tflops"] / m["performance/crops_per_s"] for m in rows]
    assert len(rows) == 4
    assert work[0] == pytest.approx(work[1])
    assert work[2] == pytest.approx(work[3])
    assert work[2] > 1.2 * work[1]  # two networks
    assert all(m["performance/of_peak"] == pytest.approx(m["performance/tflops"] / 2) for m in rows)
