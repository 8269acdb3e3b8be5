import json
from pathlib import Path

from srgan_dist.evaluation.curves import read_main_curves


def test_the_main_charts_have_bicubic_beside_the_generator(tmp_path: Path):
    lines = [
        {"step": 1, "loss/generator": 0.5, "loss/generator/pixel": 0.5, "loss/generator/content": 0.0},
        {"step": 2, "loss/generator/pixel": 0.25, "loss/discriminator": 1.5},
        {"step": 2, "validation/psnr_y": 30.0, "validation/psnr_y_bicubic": 29.0},
        {"step": 2, "validation/niqe": 5.0, "validation/niqe_bicubic": 7.0, "validation/niqe_hr": 4.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))

    charts = read_main_curves(tmp_path)

    assert list(charts.values()) == [
        {"pixel": [(1, 0.5), (2, 0.25)], "discriminator": [(2, 1.5)]},
        {"generator": [(2, 30.0)], "bicubic": [(2, 29.0)]},
        {"generator": [(2, 5.0)], "bicubic": [(2, 7.0)], "HR": [(2, 4.0)]},
    ]


def test_the_main_charts_read_the_names_of_earlier_versions(tmp_path: Path):
    line = {"step": 2, "train/pixel": 0.25, "valid/psnr_y": 30.0, "valid/bicubic": 29.0}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line))

    charts = read_main_curves(tmp_path)

    assert list(charts.values()) == [{"pixel": [(2, 0.25)]}, {"generator": [(2, 30.0)], "bicubic": [(2, 29.0)]}]
