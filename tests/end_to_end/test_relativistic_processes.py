"""Two processes train as one would on the whole batch; the relativistic means are the hard part."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
WORKER = ROOT / "tests" / "end_to_end" / "relativistic_worker.py"


def launch(out, processes):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"] if processes == 2 else []
    command = [sys.executable, *launcher, str(WORKER), str(out)]
    done = subprocess.run(command, env=environment | {"ACCELERATE_USE_CPU": "true"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(out, weights_only=True)


def distance(a, b):
    pairs = [(x[k], y[k]) for x, y in zip(a["weights"], b["weights"], strict=True) for k in x]
    return max(float((v - w).abs().max()) for v, w in pairs)


@pytest.mark.slow
def test_two_processes_are_one_with_the_doubled_batch_in_step_and_in_degradation(tmp_path):
    one, two = launch(tmp_path / "one.pt", 1), launch(tmp_path / "two.pt", 2)

    assert torch.equal(one["all"]["lr"], two["all"]["lr"])
    assert distance(one["all"], two["all"]) < 1e-6
    assert distance(one["process"], one["all"]) == 0  # alone they are the same
    assert distance(two["process"], two["all"]) > 1e-3  # with two they are not: the check above can fail
