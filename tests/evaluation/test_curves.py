import json
from pathlib import Path

from srgan_dist.evaluation.curves import read_main_curves


def test_the_main_charts_have_bicubic_beside_the_generator(tmp_path: Path):
    lines = [
        {"step": 1, "train/pixel": 0.5, "train/content": 0.0, "train/of_peak": 0.1},
        {"step": 2, "train/pixel": 0.25, "valid/psnr_y": 30.0, "valid/bicubic": 29.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))

    charts = read_main_curves(tmp_path)

    assert list(charts.values()) == [
        {"pixel": [(1, 0.5), (2, 0.25)]},
        {"generator": [(2, 30.0)], "bicubic": [(2, 29.0)]},
    ]
