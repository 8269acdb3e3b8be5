"""What others install: the source distribution, the wheel, the image, and the programs that make them."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

import srgan_dist
from srgan_dist.training.presets import PRESETS
from tests.conftest import ROOT, TINY, write_images

BUILD = "import sys; from setuptools import build_meta as b; print(getattr(b, f'build_{sys.argv[1]}')(sys.argv[2]))"
TINY_RUN = (*TINY, "--pretrain.steps=2", "--adversarial.steps=2", "--tracking.enabled=False")


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def run(*command: object, cwd: Path, **env: str) -> str:
    """What a program prints that finds nothing of this checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    ran = subprocess.run(
        list(map(str, command)), cwd=cwd, env=kept | env, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution of a clean checkout, and the wheel that is built from it."""
    pytest.importorskip("setuptools", minversion="77")
    work = tmp_path_factory.mktemp("packages")
    for name in tracked():
        (work / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, work / "checkout" / name)
    sdist = run(sys.executable, "-c", BUILD, "sdist", work, cwd=work / "checkout").splitlines()[-1]
    with tarfile.open(work / sdist) as tar:
        tar.extractall(work / "unpacked", filter="data")
    source = work / "unpacked" / sdist.removesuffix(".tar.gz")
    return work / sdist, work / run(sys.executable, "-c", BUILD, "wheel", work, cwd=source).splitlines()[-1]


@pytest.mark.slow
def test_the_source_distribution_holds_the_repository_and_the_wheel_the_package(packages: tuple[Path, Path]):
    with tarfile.open(packages[0]) as tar:
        of_sdist = {name.partition("/")[2] for name in tar.getnames()}
    with zipfile.ZipFile(packages[1]) as wheel:
        of_wheel = set(wheel.namelist())

    assert not set(tracked()) - of_sdist
    assert not {name for name in tracked() if name.startswith("srgan_dist/")} - of_wheel
    assert {name.partition("/")[0] for name in of_wheel} == {
        "srgan_dist", f"srgan_dist-{srgan_dist.__version__}.dist-info"
    }  # fmt: skip


@pytest.mark.slow
def test_twine_accepts_both(packages: tuple[Path, Path], tmp_path: Path):
    pytest.importorskip("twine")

    said = run(sys.executable, "-m", "twine", "check", "--strict", *packages, cwd=tmp_path)

    assert said.count("PASSED") == 2


def pip_install(target: Path, *what: object, cwd: Path) -> dict[str, str]:
    """Install without dependencies into a folder, and return the environment that finds it before all else."""
    if not find_spec("pip"):
        pytest.skip("no pip here")
    quiet = ("--quiet", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "install", *quiet, "--no-deps", "--no-index", "--target", target, *what, cwd=cwd)
    path = os.pathsep.join([str(target / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"PYTHONPATH": str(target), "PATH": path}


@pytest.mark.slow
def test_the_wheel_packs_trains_upscales_and_compares_from_an_empty_folder(packages: tuple[Path, Path], tmp_path: Path):
    pytest.importorskip("skimage")
    env, work = pip_install(tmp_path / "installed", packages[1], cwd=tmp_path), tmp_path / "empty"
    work.mkdir()
    preset = PRESETS["quickstart"]
    program = tmp_path / "installed" / "bin" / "srgan"
    where = run(sys.executable, "-c", "import srgan_dist; print(srgan_dist.__file__)", cwd=work, **env)
    assert Path(where.strip()).is_relative_to(tmp_path / "installed")

    write_images(tmp_path / "images", 1)
    for command in (
        ("pack", "sample", "--scale", preset.scale, "--out", preset.data.shards[0], "--limit", 1),
        ("train", "quickstart", *TINY_RUN),
        ("upscale", tmp_path / "images" / "000.png", "large.png", "--model", "runs/quickstart"),
        ("compare", "runs/quickstart", "--out", "page.html", "--against", "bicubic"),
    ):
        run(program, *command, cwd=work, **env)

    assert {f.name for f in work.glob("[!.]*")} == {"shards", "runs", "large.png", "page.html"}


def dockerfile() -> list[tuple[str, str]]:
    """The instructions and their arguments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], " ".join(line.split()[1:])) for line in text.splitlines() if line.strip()]


def copied() -> list[tuple[str, str]]:
    """Source and target of every COPY, relative to the working directory."""
    arguments = [text.split() for name, text in dockerfile() if name == "COPY"]
    return [(source, words[-1]) for words in arguments for source in words[:-1]]


def test_every_source_of_the_image_exists_and_reaches_the_builder():
    admitted = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    sources = {source for source, _ in copied()}

    assert not {s for s in sources if not (ROOT / s).exists()}
    assert sources == admitted  # the first line of .dockerignore leaves out all others
    assert "Not built here" in (ROOT / "Dockerfile").read_text().splitlines()[0]


def test_the_image_runs_as_an_unprivileged_user_and_needs_no_home():
    user = [text for name, text in dockerfile() if name == "USER"][-1]
    settings = next(text for name, text in dockerfile() if name == "ENV")

    assert int(user.split(":")[0]) > 0
    assert "SRGAN_CACHE=/cache" in settings
    assert "chmod 1777 /srgan_dist" in str(dockerfile())
    assert {v for v in re.findall(r"=(\S+)", settings) if not v.startswith(("/cache", '"'))} == set()


STUBS = {
    "apt-get": "",
    "python3": "",  # makes the environment, whose pip is the next stub
    "pip": 'exec {python} -m pip "$1" --quiet --no-deps --no-index --no-build-isolation --target {site} "${{@:3}}"',
}
"""Programs of the image that a test replaces: without network, and without a second torch."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the commands are for Linux")
def test_the_commands_of_the_image_run_on_what_is_copied(tmp_path: Path):
    root, site = tmp_path / "root", tmp_path / "root" / "site"
    work, bin_ = root / "srgan_dist", root / "opt" / "srgan" / "bin"
    for folder in (work, bin_):
        folder.mkdir(parents=True)
    for name, body in STUBS.items():
        (bin_ / name).write_text(f"#!/usr/bin/env bash\n{body.format(python=sys.executable, site=site)}\n")
        (bin_ / name).chmod(0o755)
    path = os.pathsep.join([str(bin_), str(site / "bin"), os.environ["PATH"]])
    env = {"PATH": path, "PYTHONPATH": str(site), "SRGAN_CACHE": str(root / "cache")}

    said = ""
    for name, text in dockerfile():
        if name == "COPY":
            *sources, target = text.split()
            for source in sources:
                _copy(ROOT / source, work / target / (source if target == "./" else ""))
        if name == "RUN":
            confined = re.sub(r"(?<![\w./])/(?=[a-z])", f"{root}/", text)
            said = run("bash", "-euo", "pipefail", "-c", confined, cwd=work, **env)

    assert said == f"srgan_dist {srgan_dist.__version__}\n"
    assert (root / "cache").stat().st_mode & 0o7777 == 0o1777
    run(sys.executable, "train.py", "--help", cwd=work, **env)
    run("bash", "-n", "launch/multinode.sh", cwd=work, **env)
    assert os.access(work / "launch" / "multinode.sh", os.X_OK)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, target)


def test_the_launchers_name_the_image():
    folder = next(text for name, text in dockerfile() if name == "WORKDIR")
    built = re.findall(r"docker build -t (\S+) \.", (ROOT / "Dockerfile").read_text())
    job = yaml.safe_load((ROOT / "launch" / "kubernetes.yaml").read_text())
    pod = job["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]

    assert built == ["srgan-dist"]
    assert pod["containers"][0]["image"].partition(":")[0].rpartition("/")[2] == built[0]
    assert pod["containers"][0]["workingDir"] == folder
    assert pod["securityContext"]["runAsNonRoot"]
    assert f" {built[0]}\n" in (ROOT / "launch" / "multinode.sh").read_text()


def workflow(name: str) -> dict[Any, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())


def commands(job: dict[str, Any]) -> str:
    return "\n".join(step.get("run", "") for step in job["steps"])


def test_the_fast_tests_run_on_three_systems():
    job = workflow("test")["jobs"]["fast"]
    makefile = (ROOT / "Makefile").read_text()

    assert {s.partition("-")[0] for s in job["strategy"]["matrix"]["system"]} == {"ubuntu", "windows", "macos"}
    selected = re.search(r'-m "([^"]+)"', commands(job))
    assert selected
    assert f'-m "{selected[1]}"' in makefile[makefile.index("\ntest-fast:") :].partition("\n\n")[0]
    assert (ROOT / commands(workflow("test")["jobs"]["all"]).strip()).exists()


def test_a_release_is_checked_before_it_is_published_and_stores_no_token():
    jobs = workflow("release")["jobs"]
    lines = commands(jobs["build"]).splitlines()

    assert workflow("release")[True]["push"]["tags"] == ["v*"]  # YAML 1.1 reads `on` as true
    assert lines.index("python -m build") < lines.index("python -m twine check --strict dist/*")
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert "secrets." not in (ROOT / ".github" / "workflows" / "release.yml").read_text()


def test_the_citation_names_this_version_and_license():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())

    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == srgan_dist.__version__
    assert citation["license"] == "Apache-2.0"
    assert citation["authors"] == [{"name": "srgan_dist contributors"}]
