import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from srgan_dist.models.network_names import PUBLISHED, SHIPPED, default_network
from tests.conftest import ROOT

FOLDER = ROOT / "srgan_dist" / "models" / "shipped"
MOST_BYTES = 1_500_000


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_network_is_small_and_has_a_card(name: str):
    file, card = FOLDER / f"{name}.safetensors", (FOLDER / f"{name}.md").read_text()

    assert file.stat().st_size < MOST_BYTES
    for section in ("## Data", "## Recipe", "## Results", "## License"):
        assert section in card
    assert name in card


def test_nothing_else_ships():
    assert {f.stem for f in FOLDER.iterdir()} == set(SHIPPED)


def test_addresses_and_hashes_of_published_networks_are_complete():
    for name, network in PUBLISHED.items():
        assert urlsplit(network.url).scheme == "https"
        assert network.url.endswith(f"/{name}.pth")
        assert re.fullmatch(r"[0-9a-f]{64}", network.sha256)
    assert len({n.sha256 for n in PUBLISHED.values()}) == len(PUBLISHED)
    assert len({n.lower() for n in (*SHIPPED, *PUBLISHED)}) == len(SHIPPED) + len(PUBLISHED)


@pytest.mark.parametrize(
    ("out_scale", "name"), [(None, "srgan-x4-small"), (4, "srgan-x4-small"), (2.5, "srgan-x4-small"),
                            (2, "srgan-x2-small"), (1.5, "srgan-x2-small")],
)  # fmt: skip
def test_the_default_network_fits_the_requested_size(out_scale: float | None, name: str):
    assert default_network(out_scale) == name


def test_the_reference_page_lists_every_network():
    page = (ROOT / "docs" / "reference" / "networks.md").read_text()
    rows = {line.split("|")[1].strip(" `"): line for line in page.splitlines() if line.startswith("| `")}

    assert set(rows) == {*SHIPPED, *PUBLISHED}
    for name, network in PUBLISHED.items():
        assert f"| x{network.scale} |" in rows[name]
        assert network.license in rows[name]
        assert network.url in rows[name]


@pytest.mark.slow
def test_the_wheel_contains_the_shipped_networks(tmp_path: Path):
    pytest.importorskip("setuptools")
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "srgan_dist", copy / "srgan_dist", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy / name)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"

    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True, capture_output=True)

    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        packed = {n for n in wheel.namelist() if n.startswith("srgan_dist/models/shipped/")}
    assert packed == {f"srgan_dist/models/shipped/{name}.{kind}" for name in SHIPPED for kind in ("safetensors", "md")}
