from pathlib import Path

import numpy as np
import pytest

from srgan_dist.imaging import images
from srgan_dist.imaging.photo import read_photo
from tests.conftest import ROOT
from tests.imaging.image_matrix import CASES, FORMATS, VALUES

DEEP = ("I;16", "RGB16", "RGBA16", "float")


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_kind_in_every_format_is_read_as_it_was_written(name: str, kind: str, tmp_path: Path):
    form = FORMATS[name]
    file = tmp_path / f"image{form.suffix}"
    form.write(kind, file)
    pixels, alpha = VALUES[kind]

    photo = read_photo(file)
    rgb = images.read(file)

    deep = kind in DEEP
    assert photo.pixels.dtype == (np.uint16 if deep else np.uint8)
    levels = 257 if deep else 1
    assert photo.pixels.shape == pixels.shape or photo.pixels.shape[2] == 3
    assert np.abs(photo.pixels.astype(int) - pixels).max() <= form.error * levels + (kind == "CMYK")
    assert (photo.alpha is not None) == (alpha is not None)
    opacity = 1.0 if alpha is None else alpha[:, :, None] / (255 * levels)
    assert alpha is None or np.abs(photo.alpha.astype(int) - alpha).max() <= form.error * levels
    on_white = np.floor((pixels / (255 * levels) * opacity + 1 - opacity) * 255 + 0.5)
    assert rgb.dtype == np.uint8
    assert np.abs(rgb - on_white).max() <= form.error + (kind == "CMYK")


def test_the_table_in_the_documentation_has_these_cells():
    lines = (ROOT / "docs" / "reference" / "image-files.md").read_text().splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("| | "))
    header, _, *rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines[start : start + 2 + len(FORMATS)]
    ]

    table = {(row[0], kind): cell for row in rows for kind, cell in zip(header[1:], row[1:], strict=True)}

    assert table == {
        (name, kind): ("16" if kind in DEEP else "8") if (name, kind) in CASES else "-"
        for name in FORMATS
        for kind in VALUES
    }
