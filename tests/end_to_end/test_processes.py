"""Several processes do what one does, stop together, and leave nobody behind. Everything goes through the launcher."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from srgan_dist.cli.train import train_main
from srgan_dist.runs import checkpoint
from tests.conftest import ROOT, TINY, Launch, alive, command, environment

pytestmark = pytest.mark.slow

PLAIN = ("--generator.batch-norm=False", "--discriminator.batch-norm=False", "--tracking.enabled=False")
"""Without BatchNorm, results do not depend on how a batch is cut."""
SHORT = ("--pretrain.steps=4", "--adversarial.steps=20", "--validation.every=1000", "--checkpoint.every=1000")
ENDLESS = ("--pretrain.steps=1000000", "--validation.every=1000000", "--checkpoint.every=1000000")


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = checkpoint.load_latest(run / "checkpoints")
    assert state is not None
    networks = {f"{n}.{k}": v for n, p in enumerate(state["networks"]["networks"]) for k, v in p["network"].items()}
    return networks | {f"ema.{k}": v for k, v in state["networks"]["ema"]["network"].items()}


def assert_close(one: Path, other: Path, tolerance: float) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    worst = max(float((ours[k].double() - theirs[k].double()).abs().max()) for k in ours)
    assert worst <= tolerance, worst


def status(run: Path) -> dict[str, object]:
    return json.loads((run / "status.json").read_text())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Trains in this process, in an empty working directory; the exit code."""
    monkeypatch.chdir(tmp_path)
    return lambda *args: train_main(args)


def test_two_processes_equal_one_with_twice_the_batch(
    launch: Launch, here: Callable[..., int], shards: Path, tmp_path: Path
):
    common = ("quickstart", "--data.shards", str(shards), *TINY, *PLAIN, *SHORT)

    two = launch(*common, "--data.batch=2", "--run-dir=two", processes=2)
    assert two.returncode == 0, two.stderr
    assert here(*common, "--data.batch=4", "--run-dir=one") == 0
    assert here(*common, "--data.batch=2", "--accumulate=2", "--run-dir=parts") == 0

    # 24 steps of Adam at 1e-3: a sum taken in another order moves a weight by rounding, here about 1e-6 of it.
    assert_close(tmp_path / "one", tmp_path / "two", 2e-5)
    assert_close(tmp_path / "one", tmp_path / "parts", 2e-5)
    start = launch(
        *common, "--data.batch=4", "--run-dir=other", "--seed=1", "--pretrain.steps=0", "--adversarial.steps=1"
    )
    assert start.returncode == 0
    with pytest.raises(AssertionError):
        assert_close(tmp_path / "one", tmp_path / "other", 2e-3)  # the bound above is one that can be missed


def test_a_run_goes_on_with_another_number_of_processes(
    launch: Launch, here: Callable[..., int], shards: Path, tmp_path: Path
):
    common = ("quickstart", "--data.shards", str(shards), *TINY, *PLAIN, *SHORT, "--data.batch=4")

    assert here(*common, "--run-dir=whole") == 0
    assert here(*common, "--run-dir=moved", "--time-limit=0.0001") == 75
    moved = launch(*common, "--run-dir=moved", processes=2)

    assert moved.returncode == 0, moved.stderr
    assert "4 crops per step = 2 process(es) x batch 2" in moved.stderr
    assert_close(tmp_path / "whole", tmp_path / "moved", 2e-5)  # float reduction order, as above


def wait_for(condition: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.2)


def training(run: Path) -> bool:
    return (run / "metrics.jsonl").exists() and "pixel" in (run / "metrics.jsonl").read_text()


def workers(launcher: psutil.Process) -> list[psutil.Process]:
    return [p for p in launcher.children(recursive=True) if any(w.endswith("train.py") for w in p.cmdline())]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("request_by", ["launcher", "worker", "file"])
def test_a_request_to_stop_saves_and_leaves_nobody_behind(
    request_by: str, processes: int, shards: Path, tmp_path: Path
):
    args = ("quickstart", "--data.shards", str(shards), *TINY, *ENDLESS, "--tracking.enabled=False", "--run-dir=run")
    run = tmp_path / "run"
    whole = command(*args, processes=processes)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    launcher = subprocess.Popen(whole, cwd=tmp_path, env=environment(), **quiet)
    try:
        wait_for(lambda: training(run), 90)
        found = workers(psutil.Process(launcher.pid))
        assert len(found) == processes
        if request_by == "launcher":
            launcher.send_signal(signal.SIGTERM)
        elif request_by == "worker":
            found[-1].send_signal(signal.SIGTERM)
        else:
            (run / "STOP").touch()

        wait_for(lambda: status(run)["state"] == "preempted", 30)
        wait_for(lambda: not any(map(alive, found)), 30)
        assert launcher.wait(30) != 0
    finally:
        for process in [*psutil.Process(launcher.pid).children(recursive=True)] if launcher.poll() is None else []:
            process.kill()
        launcher.kill()

    saved = checkpoint.load_latest(run / "checkpoints")
    assert saved is not None
    assert saved["step"] == status(run)["step"] > 0


def test_a_run_that_was_stopped_exits_with_75_and_goes_on_identically(
    here: Callable[..., int], shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    common = ("quickstart", "--data.shards", str(shards), *TINY, *SHORT, "--tracking.enabled=False")

    codes = [here(*common, "--run-dir=whole"), here(*common, "--run-dir=broken", "--time-limit=0.0001")]
    said = capsys.readouterr().err
    codes.append(here(*common, "--run-dir=broken"))

    assert codes == [0, 75, 0]
    assert "stopped (time limit)" in said
    assert_close(tmp_path / "whole", tmp_path / "broken", 0.0)


@pytest.mark.parametrize("disaster", ["nan", "error", "data"])
def test_one_process_in_trouble_takes_the_others_with_it(disaster: str, shards: Path, tmp_path: Path):
    script = ROOT / "tests" / "end_to_end" / "one_rank_fails.py"
    args = ("quickstart", "--data.shards", str(shards), *TINY, "--pretrain.steps=100000", "--max-skips=5")
    more = ("--validation.every=1000000", "--tracking.enabled=False", "--run-dir=run")

    ran = subprocess.run(
        command(*args, *more, processes=2, script=script), cwd=tmp_path, env=environment() | {"DISASTER": disaster},
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip

    assert ran.returncode != 0
    found = status(tmp_path / "run")
    assert found["state"] == "failed"
    expected = {"nan": "in a row", "error": "process 1: RuntimeError('out of luck')", "data": "sample image"}
    assert expected[disaster] in str(found["reason"])
    if disaster == "nan":
        assert "Crops" in str(found["reason"])


@pytest.mark.parametrize("flags", [("--cpu", "--num_processes", "2"), ("--num_processes=2",)])
def test_fewer_processes_than_asked_for_do_not_train(
    flags: tuple[str, ...], launch: Launch, shards: Path, tmp_path: Path
):
    ran = launch("quickstart", "--data.shards", str(shards), *TINY, *SHORT, flags=flags)

    assert ran.returncode != 0
    assert "2 processes were requested, but 1 started" in ran.stderr
    assert "--multi_gpu --num_processes 2" in ran.stderr
    assert not (tmp_path / "runs").exists()


def test_evaluation_is_the_same_to_the_last_digit_with_one_two_and_three_processes(shared: Path, tmp_path: Path):
    if not (shared / "set14").is_dir():
        pytest.skip("no Set14")
    texts = []
    for processes in (1, 2, 3):
        file = tmp_path / f"{processes}.json"
        args = (
            "evaluate",
            "--data",
            str(shared / "set14"),
            "--scale",
            "4",
            "--against",
            "bicubic",
            "--json",
            str(file),
        )
        whole = command(processes=processes, flags=("-m",), script=Path("srgan_dist"))
        subprocess.run([*whole, *args], cwd=tmp_path, env=environment(), check=True, capture_output=True, timeout=240)
        texts.append(file.read_text())

    assert texts[0] == texts[1] == texts[2]
    assert json.loads(texts[0])["means"]["bicubic"]["psnr_y"] == pytest.approx(26.09, abs=0.01)


@pytest.mark.parametrize(
    "second",
    [
        "nothing",
        pytest.param("another", marks=pytest.mark.extended),
        pytest.param("corrupt", marks=pytest.mark.extended),
        pytest.param("the same", marks=pytest.mark.extended),
    ],
)
def test_processes_resume_from_what_the_first_one_chose_or_end_with_one_line(
    second: str, launch: Launch, shards: Path, tmp_path: Path
):
    flags = ("quickstart", "--data.shards", str(shards), *TINY, "--tracking.enabled=False", "--validation.every=100000")
    first = ("--pretrain.steps=3", "--adversarial.steps=0")
    assert launch(*flags, *first, "--run-dir=run-0", "--data.batch=4").returncode == 0
    if second in ("corrupt", "the same"):
        shutil.copytree(tmp_path / "run-0", tmp_path / "run-1")
    if second == "another":
        assert launch(*flags, *first, "--run-dir=run-1", "--data.batch=4", "--seed=1").returncode == 0
    if second == "corrupt":
        with next((tmp_path / "run-1" / "checkpoints").glob("step-*/state.pt")).open("r+b") as file:
            file.write(b"no")
    (tmp_path / "run-0" / "status.json").write_text(
        json.dumps({"state": "preempted", "step": 3, "reason": "", "time": 0})
    )
    before = (tmp_path / "run-0" / "metrics.jsonl").read_text()

    script, began = ROOT / "tests" / "end_to_end" / "own_run_directory.py", time.monotonic()
    ran = launch(*flags, "--pretrain.steps=6", "--adversarial.steps=0", processes=2, script=script)

    if second == "the same":
        assert ran.returncode == 0, ran.stderr
        assert status(tmp_path / "run-0")["step"] == 6
        return
    assert ran.returncode != 0
    assert time.monotonic() - began < 60
    assert ran.stderr.count("the processes cannot resume together: process 1") == 1
    assert status(tmp_path / "run-0")["state"] == "failed"
    assert (tmp_path / "run-0" / "metrics.jsonl").read_text() == before
