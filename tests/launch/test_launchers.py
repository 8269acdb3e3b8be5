"""What `launch/` offers runs as written."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from srgan_dist.runs import checkpoint
from tests.conftest import ROOT, TINY, Launch, environment

LAUNCH = ROOT / "launch"
SHORT = ("--pretrain.steps=3", "--adversarial.steps=3", "--validation.every=1000", "--checkpoint.every=1000")


def with_tools() -> dict[str, str]:
    """The environment of an activated virtual environment."""
    return environment() | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("name", ["slurm.sbatch", "multinode.sh"])
def test_scripts_parse(name: str):
    subprocess.run(["bash", "-n", str(LAUNCH / name)], check=True)


def test_the_kubernetes_job_is_yaml_and_starts_the_launcher():
    job = yaml.safe_load((LAUNCH / "kubernetes.yaml").read_text())
    replicas = job["spec"]["pytorchReplicaSpecs"]

    assert job["kind"] == "PyTorchJob"
    assert set(replicas) == {"Master", "Worker"}
    for replica in replicas.values():
        script = replica["template"]["spec"]["containers"][0]["args"][0]
        assert "launch/multinode.sh" in script
        subprocess.run(["bash", "-n", "-c", script], check=True)


def presets_shown() -> list[str]:
    """Every `train.py PRESET` or `multinode.sh ... PRESET` in the launchers and their README."""
    texts = [f.read_text() for f in LAUNCH.iterdir() if f.is_file()]
    return sorted(
        {m for text in texts for m in re.findall(r"(?:train\.py|--gpus \d+|sbatch) (s?[a-z]+-x\d|quickstart)", text)}
    )


def test_every_preset_that_is_shown_exists():
    from srgan_dist.training.preset_names import SUMMARIES

    assert presets_shown()
    assert set(presets_shown()) <= set(SUMMARIES)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_dry_run_tries_everything_and_leaves_nothing(processes: int, launch: Launch, shards: Path, tmp_path: Path):
    bf16 = ("--mixed-precision", "bf16")  # what GPUs get by default
    args = ("srgan-mse-x4", "--dry-run", "--scale=2", "--data.shards", str(shards), *TINY, *bf16)
    ran = launch(*args, processes=processes)

    assert ran.returncode == 0, ran.stderr
    assert "settings that are not defaults:" in ran.stdout
    assert f"crops per step: {2 * processes}" in ran.stdout
    assert ran.stdout.count("ready to train: ran 6 steps, validated, saved, and resumed at step 6") == 1
    assert re.search(r"total: about [\d.]+ (h|min); peak memory: [\d.]+ GiB", ran.stdout)
    assert list(tmp_path.iterdir()) == []


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.mark.slow
def test_two_nodes_on_loopback_equal_two_processes_on_one(launch: Launch, shards: Path, tmp_path: Path):
    train = ["quickstart", f"--data.shards={shards}", *TINY, *SHORT, "--tracking.enabled=False"]
    common = shlex.split(f"--nodes 2 --ip 127.0.0.1 --port {free_port()} --gpus 1")
    train_nodes = [*common, *train, f"--run-dir={tmp_path}/nodes"]

    nodes = [
        subprocess.Popen(
            [str(LAUNCH / "multinode.sh"), "--rank", str(rank), *train_nodes],
            cwd=tmp_path, env=with_tools(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    said = [node.communicate(timeout=180)[1] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said
    assert launch(*train, "--run-dir=one", processes=2).returncode == 0

    ours, theirs = (checkpoint.load_latest(tmp_path / name / "checkpoints") for name in ("nodes", "one"))
    assert ours is not None
    assert theirs is not None
    for mine, other in zip(ours["networks"]["networks"], theirs["networks"]["networks"], strict=True):
        assert all(torch.equal(mine["network"][k], other["network"][k]) for k in mine["network"])


def test_multinode_says_what_is_missing():
    ran = subprocess.run([str(LAUNCH / "multinode.sh"), "--nodes", "2"], capture_output=True, text=True, check=False)

    assert ran.returncode == 2
    assert "--rank is missing" in ran.stderr


@pytest.mark.slow
def test_the_slurm_script_stops_in_time_and_asks_to_be_queued_again(shards: Path, tmp_path: Path):
    stubs = {  # just enough of SLURM: one node, and a controller that writes down what it is told
        "scontrol": f'[[ "$1" == show ]] && echo 127.0.0.1 || echo "$@" >>{tmp_path}/told',
        "srun": 'shift; export SLURM_NODEID=0; exec "$@"',
    }
    (tmp_path / "bin").mkdir()
    for name, body in stubs.items():
        (tmp_path / "bin" / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    env = with_tools() | {"SLURM_JOB_NUM_NODES": "1", "SLURM_GPUS_ON_NODE": "1", "SLURM_JOB_NODELIST": "here"}
    env |= {"SLURM_JOB_ID": "7", "RUN_DIR": str(tmp_path / "run"), "SLURM_SUBMIT_DIR": str(ROOT)}
    env["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{env['PATH']}"
    flags = [f"--data.shards={shards}", *TINY, "--pretrain.steps=1000000", "--tracking.enabled=False"]

    job = subprocess.Popen(
        ["bash", str(LAUNCH / "slurm.sbatch"), "quickstart", *flags],
        env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 90
    while not (metrics.exists() and "pixel" in metrics.read_text()):
        assert time.monotonic() < deadline
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.2)
    job.send_signal(signal.SIGUSR1)
    said = job.communicate(timeout=60)[0]

    assert job.returncode == 0, said
    assert '"preempted"' in (tmp_path / "run" / "status.json").read_text()
    assert (tmp_path / "told").read_text() == "requeue 7\n"
