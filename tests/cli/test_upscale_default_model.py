import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_dist.cli.app import main
from srgan_dist.models.network_names import PUBLISHED, SHIPPED


@pytest.mark.parametrize(
    ("flags", "name", "scale"), [((), "srgan-x4-small", 4), (("--out-scale", "2"), "srgan-x2-small", 2)]
)
def test_without_a_model_the_shipped_network_is_used_and_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], flags: tuple[str, ...], name: str, scale: int
):
    photo, named, default = (tmp_path / f"{n}.png" for n in ("photo", "named", "default"))
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)).save(photo)

    assert main(["upscale", str(photo), str(default), *flags]) == 0
    told = capfd.readouterr().err
    assert main(["upscale", str(photo), str(named), "--model", name]) == 0

    assert np.array_equal(np.asarray(Image.open(default)), np.asarray(Image.open(named)))
    assert Image.open(default).size == (16 * scale, 12 * scale)
    lines = [line for line in told.splitlines() if name in line]
    assert len(lines) == 1
    assert SHIPPED[name].summary in lines[0]
    assert "--model" in lines[0]


def test_the_help_lists_every_network(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["upscale", "--help-all"])

    words = set(re.split(r"[^\w-]+", capfd.readouterr().out))
    assert words >= {*SHIPPED, *PUBLISHED}
