"""The notebook runs from start to end on machines as Colab lends them."""

import importlib.metadata
import json
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from srgan_dist.evaluation.curves import read_curves, read_main_curves
from tests.conftest import ROOT, TINY
from tests.data.hub import Hub
from tests.launch.colab import NOTEBOOK, Colab, build_wheel, lend, section, shown

SHORT = (
    "--data.hr-crop=32", "--data.batch=2", "--discriminator.channels=4", "--discriminator.dense=8", "--threads=1",
    "--validation.side=304", "--pretrain.steps=3", "--adversarial.steps=3", "--discriminator-warmup=1", "--log-every=1",
)  # fmt: skip
"""A run of seconds. The generator's size stays: the demo fine-tunes a network of the package."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel") / "dist"
    build_wheel(folder)
    return next(folder.glob("*.whl"))


@pytest.fixture
def colab(tmp_path: Path, wheel: Path) -> Colab:
    machine = lend(tmp_path)
    (machine.content / wheel.name).write_bytes(wheel.read_bytes())
    return machine


@pytest.mark.slow
def test_the_notebook_runs_from_start_to_end_where_the_package_is_not_installed(colab: Colab):
    notebook = colab.run(f"FLAGS = {' '.join(SHORT)!r}")

    said, run = shown(notebook), colab.content / "srgan_runs" / "demo-x4"
    versions = [d.version for d in importlib.metadata.distributions(name="srgan-dist", path=[str(own_packages(colab))])]
    assert versions == [importlib.metadata.version("srgan-dist")]  # installed on the machine, and used from there
    assert f"defined in {own_packages(colab)}" in said
    assert said.count("image/png") == 6  # crops, schedule, curves, samples, and the image of one's own twice
    assert "| SRGAN fine-tuned now |" in said
    assert "<iframe srcdoc=" in said
    assert re.search(r"window on port \d+", said)
    assert all("bicubic" in curves for title, curves in read_main_curves(run).items() if title != "losses")
    assert len(read_main_curves(run)) == 3


def own_packages(colab: Colab) -> Path:
    return next((colab.root / "usr").glob("lib/python3*/site-packages"))


@pytest.mark.extended
def test_div2k_comes_from_the_hub_with_the_token_of_the_secrets(colab: Colab, shared: Path):
    root = shared / "div2k_mini"
    files = {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*.png")}
    flags = [
        *SHORT,
        *TINY,
        "--validation.side=304",
        "--pretrain.steps=0",
        "--discriminator-warmup=0",
        "--loss.content.type=none",
    ]
    parameters = f'DATA, FLAGS = "div2k", {" ".join(flags)!r}'

    with Hub(files, access="private").running() as hub:
        env = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
        with pytest.raises(CellExecutionError, match="srgan_dist failed: the reason is in the lines above"):
            colab.run(parameters, last="Data", env=env)
        colab.secrets["HF_TOKEN"] = hub.token
        said = shown(colab.run(parameters, env=env))

    assert "4 train, 2 valid pairs at x2" in said
    assert "| SRGAN |" in said


@pytest.mark.extended
def test_a_run_on_drive_goes_on_after_the_machine_was_taken(colab: Colab, wheel: Path):
    parameters = "DRIVE, FLAGS = True, {!r}"
    with pytest.raises(CellExecutionError, match="run the same command again to resume"):
        colab.run(parameters.format(" ".join([*SHORT, "--time-limit=0.0001"])), last="Training")
    taken = colab.content / "drive" / "MyDrive" / "srgan_runs" / "demo-x4"
    before = json.loads((taken / "status.json").read_text())
    colab.lose_everything_but_drive()
    (colab.content / wheel.name).write_bytes(wheel.read_bytes())

    said = shown(colab.run(parameters.format(" ".join(SHORT)), last="Results"))

    assert before["state"] == "preempted"
    assert re.search(r"resuming \S+ from step [1-5]\b", said)
    steps = [step for step, _ in read_curves(taken)["loss/generator/pixel"]]
    assert steps == [1, 2, 3, 5, 6]  # in step 4 the discriminator learns alone


Install = Callable[..., list[str]]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Runs the cell that installs, and returns the requirements that it would hand to pip."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    heading = next(i for i, cell in enumerate(cells) if section(cell).endswith("Install"))
    names: dict[str, object] = {"DRIVE": False}
    monkeypatch.chdir(tmp_path)
    exec(cells[heading - 1].source, names)

    def run(here: Path, repository: str = "", installed: bool = False) -> list[str]:
        requirements: list[str] = []
        monkeypatch.setattr(importlib.metadata, "distributions", lambda name, path: [name] * installed)
        own = {"HERE": here, "REPOSITORY": repository, "run": lambda *words: requirements.append(words[-1])}
        exec(cells[heading + 1].source, names | own)
        return requirements

    return run


def test_the_install_takes_the_repository_or_what_lies_beside_the_notebook(install: Install, tmp_path: Path):
    address = "https://example.org/srgan_dist"
    assert install(tmp_path, address) == [f"srgan-dist[sample] @ git+{address}"]
    for name in ("srgan_dist/srgan_dist/__init__.py", "srgan_dist-main.zip", "srgan_dist-0.1.0-py3-none-any.whl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        found = tmp_path / name.removesuffix("/srgan_dist/__init__.py")
        assert install(tmp_path) == [f"srgan-dist[sample] @ {found.as_uri()}"]
    assert install(ROOT / "launch") == [f"srgan-dist[sample] @ {ROOT.as_uri()}"]


def test_the_install_is_skipped_only_if_the_distribution_is_installed(install: Install, tmp_path: Path):
    assert install(tmp_path, installed=True) == []

    with pytest.raises(Exception, match=r"^Set REPOSITORY in section 1 to the address of") as stopped:
        install(tmp_path)
    assert stopped.value._render_traceback_() == [str(stopped.value)]


def test_every_cell_of_the_course_has_its_section():
    tutorial = (ROOT / "docs" / "tutorials" / "notebook.md").read_text()
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in re.findall(r"^\| +\d+ \|.*$", tutorial, re.M)]
    headings = {section(c).split(". ")[-1] for c in nbformat.read(NOTEBOOK, as_version=4).cells}

    assert [int(row[0]) for row in rows] == list(range(1, 16))
    assert {row[3] for row in rows} <= headings


def test_every_section_is_a_heading_and_a_sentence_before_short_cells():
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    sentences = [re.sub(r"\$\$.*?\$\$", "", c.source, flags=re.S).strip() for c in cells[1:] if section(c)]

    assert all(re.fullmatch(r"## \d+\. [^\n]+\n\n[^\n]+(\n[^\n]+)*[.:]", text) for text in sentences)
    assert [s.split(".")[0] for s in sentences] == [f"## {n}" for n in range(1, len(sentences) + 1)]
    assert max(len(c.source.splitlines()) for c in cells if c.cell_type == "code") <= 34


def test_the_notebook_is_clean_and_holds_no_token():
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert not re.search(r"hf_[A-Za-z0-9]{20}", NOTEBOOK.read_text())
