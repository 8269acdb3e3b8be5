import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import atexit
from srgan_dist.cli.console import guarded

def run() -> int:
    print("done")
    if {fails}:
        raise ValueError("wrong")
    return 0

atexit.register(print, "torn down")
raise SystemExit(guarded(run))
"""


@pytest.mark.parametrize(("fails", "code"), [(False, 0), (True, 1)])
@pytest.mark.parametrize("world", [1, 2])
def test_one_of_several_processes_ends_without_tearing_anything_down(world: int, fails: bool, code: int):
    env = os.environ | {"WORLD_SIZE": str(world)}

    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(fails=fails)], env=env, cwd=ROOT, capture_output=True, text=True
    )

    assert ran.returncode == code
    assert ran.stdout.split("\n")[0] == "done"
    assert ("torn down" in ran.stdout) == (world == 1)
