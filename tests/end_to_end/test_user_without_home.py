"""A container that runs under an unknown user number, without a home directory."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srgan_dist.models import SRResNetConfig
from srgan_dist.models.files import save_generator
from tests.conftest import ROOT, TINY, write_images

pytestmark = [pytest.mark.slow, pytest.mark.extended]

NUMBER = 54321
# The user may read everything, as the interpreter may lie in a folder of somebody else, but writes only its own files.
AS_USER = [
    "setpriv", f"--reuid={NUMBER}", f"--regid={NUMBER}", "--clear-groups", "--inh-caps", "+dac_read_search",
    "--ambient-caps", "+dac_read_search",
]  # fmt: skip
NAMES = ("HOME", "USER", "LOGNAME", "XDG_CACHE_HOME", "SRGAN_CACHE", "MLFLOW_TRACKING_URI")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder of the user, with images and a model beside it."""
    if os.name == "nt" or os.getuid() or not shutil.which("setpriv"):
        pytest.skip("cannot run a program as another user here")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    write_images(tmp_path / "images", 6)
    config = SRResNetConfig(blocks=1, channels=8)
    torch.manual_seed(0)
    notes = {"label": "SRResNet", "scale": 2, "degradation": "given"}
    save_generator(tmp_path / "m.safetensors", config.build(2), config, notes)
    (tmp_path / "work").mkdir()
    os.chown(tmp_path / "work", NUMBER, NUMBER)
    return tmp_path / "work"


def run(work: Path, *args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if name not in NAMES} | {"PYTHONPATH": str(ROOT)} | env
    command = [*AS_USER, sys.executable, "-m", "srgan_dist", *args]
    return subprocess.run(command, cwd=work, env=kept, capture_output=True, text=True, timeout=120, check=False)


PACK = ("pack", "folder", "--root", "../images", "--scale", "2", "--out", "shards")
UPSCALE = ("upscale", "../images", "out", "--model", "../m.safetensors")
TRAIN = ("train", "quickstart", "--data.shards=shards", *TINY, "--pretrain.steps=2", "--adversarial.steps=2",
         "--run-dir=run")  # fmt: skip


def test_every_command_works_with_a_cache_folder(work: Path):
    for args in (PACK, UPSCALE, TRAIN):
        ran = run(work, *args, SRGAN_CACHE=str(work / "cache"))
        assert ran.returncode == 0, ran.stderr
        assert "Traceback" not in ran.stderr

    assert len(list((work / "out").glob("*.png"))) == 6
    assert json.loads((work / "run" / "status.json").read_text())["state"] == "done"
    assert not list((work / "run" / "tracking" / "outbox").glob("*"))  # MLflow has received everything


def test_a_command_that_needs_a_cache_folder_says_so_in_one_line(work: Path):
    assert run(work, *UPSCALE).returncode == 0
    for args in (PACK, TRAIN):
        ran = run(work, *args)
        assert ran.returncode == 1
        errors = [line for line in ran.stderr.splitlines() if line.startswith("error")]
        assert errors == [
            "error: this user has no home directory for the cache; set SRGAN_CACHE to a folder that can be written"
        ], ran.stderr
        assert "Traceback" not in ran.stderr
