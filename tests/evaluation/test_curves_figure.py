import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_dist.evaluation.curves import COLORS, Curve, read_curves
from srgan_dist.evaluation.curves_figure import FILE, _averaged, _phase_boundary, draw_figure, write_curves
from srgan_dist.evaluation.ticks import decades, round_ticks

VALIDATION: dict[str, Curve] = {
    "validation/psnr_y": [(10, 24.0), (20, 26.0)],
    "validation/psnr_y_bicubic": [(10, 25.0), (20, 25.0)],
}
LOSSES: dict[str, Curve] = {
    "loss/generator": [(5, 1.0), (10, 0.5), (15, 0.25), (20, 0.2)],
    "loss/generator/pixel": [(5, 1.0), (10, 0.01), (15, 0.02), (20, 0.02)],
    "loss/generator/adversarial": [(15, 0.7), (20, 0.8)],
    "loss/discriminator": [(15, 1.4), (20, 1.3)],
}


def near(image: Image.Image, color: str) -> np.ndarray:
    """Which pixels have a color, except for what smoothing changes; bool (H, W)."""
    wanted = np.frombuffer(bytes.fromhex(color[1:]), np.uint8).astype(int)
    return np.abs(np.asarray(image).astype(int) - wanted).max(2) < 40


@pytest.mark.parametrize(
    ("curves", "size"),
    [(VALIDATION, (600, 380)), (LOSSES, (1200, 380)), (VALIDATION | LOSSES, (1200, 760))],
)
def test_only_panels_with_curves_are_drawn(curves: dict[str, Curve], size: tuple[int, int]):
    drawn = draw_figure(curves)

    assert drawn is not None
    assert drawn.size == size


def test_without_curves_there_is_no_figure(tmp_path: Path):
    write_curves(tmp_path)

    assert draw_figure({"other/metric": [(1, 1.0)]}) is None
    assert not (tmp_path / FILE).exists()


def test_bicubic_is_a_gray_line_across_the_panel_of_psnr():
    drawn = draw_figure(VALIDATION)

    assert drawn is not None
    gray, blue = (near(drawn, color) for color in ("#6b7280", COLORS[0]))
    inside = gray[62:336, 200:584].astype(int)  # without labels
    assert np.diff(inside).clip(min=0).sum(1).max() > 20  # dashes
    assert blue.any()


def test_the_second_phase_begins_behind_the_last_window_of_the_first():
    assert _phase_boundary(LOSSES) == 10
    assert _phase_boundary(VALIDATION) is None


def test_long_curves_are_averaged():
    curve: Curve = [(float(n), float(n % 2)) for n in range(4000)]

    short = _averaged(curve)

    assert len(short) == 400
    assert {y for _, y in short} == {0.5}


def test_curves_of_an_old_run_are_drawn(tmp_path: Path):
    rows = [{"step": n, "time": n, "train/pixel": 1 / n, "valid/psnr_y": 20 + n} for n in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    write_curves(tmp_path)

    assert set(read_curves(tmp_path)) == {"loss/generator/pixel", "validation/psnr_y"}
    assert Image.open(tmp_path / FILE).size == (1200, 380)
    assert [f.name for f in tmp_path.iterdir() if f.name.startswith(".")] == []


@pytest.mark.parametrize("values", [[0.0, 1.0], [27.3, 27.3], [-5.0, 1e6], [0.0, 0.0]])
def test_ticks_enclose_the_values(values: list[float]):
    for ticks in (round_ticks(values), round_ticks(values, margin=0)):
        assert ticks[0] <= min(values) <= max(values) <= ticks[-1]
        assert 2 <= len(ticks) <= 12


def test_decades_enclose_positive_values():
    assert decades([0.02, 0.7]) == pytest.approx([0.01, 0.1, 1.0])
    assert decades([1.0, 1.0]) == [1.0, 10.0]
