"""A training whose output nobody reads is a finished training; one whose output cannot be written says so."""

import json
import os
from pathlib import Path

import pytest

from tests.cli.test_console import shell
from tests.conftest import TINY

pytestmark = [pytest.mark.slow, pytest.mark.extended]

GONE = [
    ("| head -1", 0),
    ("| true", 0),
    ("2>&1 | head -1", 0),
    (">&-", 0),
    (">&- 2>&-", 0),
    (">/dev/full", 1),
]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize(("gone", "code"), GONE, ids=[g[0] for g in GONE])
def test_a_training_without_output(gone: str, code: int, shards: Path, tmp_path: Path):
    flags = ("quickstart", *TINY, f"--data.shards={shards}", "--pretrain.steps=2", "--adversarial.steps=0")
    run = tmp_path / "run"

    ran = shell(f"srgan train {' '.join(flags)} --tracking.enabled=False --run-dir={run} {gone}")

    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    errors = [line for line in ran.stderr.splitlines() if "error" in line]
    assert errors == ["error: standard output cannot be written (No space left on device)"] * code
    assert json.loads((run / "status.json").read_text())["state"] == "done"
