"""The program on a system without what only POSIX has: `other_system/sitecustomize.py` imitates Windows on Linux."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from srgan_dist.runs import checkpoint
from srgan_dist.training.presets import PRESETS
from tests.conftest import ROOT, TINY, environment, write_images

SYSTEM = Path(__file__).parent / "other_system"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the imitation is for Linux")

COMMANDS = """
import json, sys
from srgan_dist.cli.app import main

if __name__ == "__main__":
    for args in json.loads(sys.argv[1]):
        print("exit", args[0], main(args))
"""


def python(work: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    path = f"{SYSTEM}:{ROOT}"
    env = environment() | {"PYTHONPATH": path, "PYTHONWARNDEFAULTENCODING": "1", "OTHER_SYSTEM_WORK": str(work)}
    return subprocess.run([sys.executable, *args], cwd=work, env=env, capture_output=True, text=True, check=False)


REFUSED = {
    "a POSIX-only module": ("import fcntl", "ModuleNotFoundError"),
    "a POSIX-only function": ("import os; os.fork()", "AttributeError"),
    "a POSIX-only signal": ("import signal; signal.SIGUSR1", "AttributeError"),
    "a link": ("import os; os.symlink('a', 'b')", "required privilege"),
    "a link by pathlib": ("from pathlib import Path; Path('b').symlink_to('a')", "required privilege"),
    "forking": ("import multiprocessing as m; m.get_context('fork')", "cannot find context"),
    "a name with a colon": ("open('a:b', 'w')", "incorrect on Windows"),
    "a folder of a device's name": ("import os; os.mkdir('nul')", "incorrect on Windows"),
    "removing an open file": ("import os; f = open('a', 'w'); os.unlink('a')", "used by another process"),
    "renaming over a mapped file": (
        "import mmap, os; from pathlib import Path; Path('a').write_text('1'); Path('b').write_text('2')\n"
        "with open('a') as f: m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)\nos.replace('b', 'a')",
        "used by another process",
    ),
}


def test_the_imitation_refuses_what_windows_refuses(tmp_path: Path):
    program = (
        "import json, os, sys, tempfile, traceback\n"
        "for name, code in json.loads(sys.argv[1]).items():\n"
        "    os.chdir(tempfile.mkdtemp(dir=os.environ['OTHER_SYSTEM_WORK']))\n"
        "    try: exec(code, {'__name__': '__main__'}); print(name, '|', 'went through')\n"
        "    except Exception as error: print(name, '|', type(error).__name__, error)\n"
    )

    ran = python(tmp_path, "-c", program, json.dumps({name: code for name, (code, _) in REFUSED.items()}))

    said = dict(line.split(" | ") for line in ran.stdout.splitlines())
    assert said.keys() == REFUSED.keys(), ran.stderr
    assert not {name: said[name] for name, (_, expected) in REFUSED.items() if expected not in said[name]}


@pytest.mark.slow
def test_the_commands_run_to_their_end_without_what_only_posix_has(tmp_path: Path):
    scale = PRESETS["quickstart"].scale
    write_images(tmp_path / "images" / "train", 6)
    write_images(tmp_path / "images" / "valid", 2, seed=100)
    (tmp_path / "program.py").write_text(COMMANDS)
    train = ["train", "quickstart", "--data.shards=shards", "--run-dir=run", *TINY, "--pretrain.steps=3",
             "--adversarial.steps=2", "--checkpoint.every=1", "--validation.every=2"]  # fmt: skip
    commands = [
        ["pack", "folder", "--root=images", "--out=shards", f"--scale={scale}", "--workers=2"],
        [*train, "--time-limit=0.0001"],
        train,  # resumes
        ["upscale", "images/valid", "large", "--model=run"],
        ["evaluate", "--data=shards", "--models", "run", "--json=scores.json", "--csv=scores.csv"],
        ["compare", "run", "--out=page.html"],
        ["export", "run", "--out=model.safetensors"],
    ]

    ran = python(tmp_path, "program.py", json.dumps(commands))

    codes = [line.split()[1:] for line in ran.stdout.splitlines() if line.startswith("exit ")]
    expected = [["pack", "0"], ["train", "75"], *([name, "0"] for name, *_ in commands[2:])]
    assert codes == expected, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr, ran.stderr
    assert not list((tmp_path / "run" / "tracking" / "outbox").iterdir()), ran.stderr  # MLflow has everything
    assert checkpoint.notes_of(checkpoint.resolve(tmp_path / "run" / "checkpoints" / "last"))["step"] == 5
    assert {"page.html", "model.safetensors", "scores.csv", "mlflow.db"} <= {f.name for f in tmp_path.iterdir()}
    assert len(list((tmp_path / "large").glob("*.png"))) == 2
    assert not [f for f in tmp_path.rglob("*") if f.is_symlink()]


@pytest.mark.slow
@pytest.mark.extended
def test_the_tests_of_packing_pass_there_with_spawned_workers(tmp_path: Path):
    tests = [ROOT / "tests" / "data" / "packing" / name for name in ("test_pack.py", "test_pairing.py")]
    options = ("-p", "no:xdist", f"--basetemp={tmp_path / 'tests'}", f"--rootdir={ROOT}", "-c", ROOT / "pyproject.toml")

    ran = python(tmp_path, "-m", "pytest", "-m", "not extended", *map(str, (*options, *tests)))

    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
