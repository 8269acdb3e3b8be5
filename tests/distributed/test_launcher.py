import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT, alive

WORKER = """
import os, sys, time
from srgan_dist.distributed.launcher import exit_when_launcher_dies
exit_when_launcher_dies(grace=0.2)
print(os.getpid(), flush=True)
time.sleep(60)
"""
LAUNCHER = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', sys.argv[1]]); time.sleep(60)"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there, no process is adopted")
@pytest.mark.parametrize("elastic", [True, False])
def test_a_worker_ends_when_its_launcher_is_killed(elastic: bool, tmp_path: Path):
    env = {k: v for k, v in os.environ.items() if k != "TORCHELASTIC_RUN_ID"} | {"PYTHONPATH": str(ROOT)}
    env |= {"TORCHELASTIC_RUN_ID": "test"} if elastic else {}
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, WORKER], env=env, stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    worker = psutil.Process(int(launcher.stdout.readline()))

    launcher.kill()
    launcher.wait()

    time.sleep(3)
    lives = alive(worker)
    assert lives is not elastic  # a plain process may outlive the shell that started it
    if lives:
        worker.kill()
