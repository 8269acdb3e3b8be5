import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srgan_dist.cli.app import main

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_one_class_in_the_union_is_trained_checkpointed_and_exported_with_no_other_change(tmp_path):
    assert main(["pack", "sample", "--scale", "2", "--limit", "2", "--out", str(tmp_path / "s")]) == 0
    command = [
        sys.executable,
        str(ROOT / "tests" / "end_to_end" / "new_generator_program.py"),
        str(tmp_path / "s"),
        str(tmp_path / "r"),
    ]

    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "r" / "config.json").read_text())["generator"] == {"type": "toy", "width": 2}
    assert (tmp_path / "r" / "checkpoints" / "last").exists()
    assert "spandrel (chaiNNer, ComfyUI) does not support Toy: export it as ONNX" in done.stdout
    assert "resuming" in done.stderr
