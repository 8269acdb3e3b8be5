"""The table and the picture of `notebook_baseline.py`, from the generators and facts that it left in a folder."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from srgan_dist.distributed.group import SingleProcess, no_progress
from srgan_dist.evaluation.evaluate import Method, evaluate_methods, generator, interpolation
from srgan_dist.evaluation.evaluation_set import ImagePair, open_evaluation_set
from srgan_dist.evaluation.figure import Cell, busiest_square, draw
from srgan_dist.evaluation.metrics import Scores, luma, psnr
from srgan_dist.evaluation.naturalness import color_difference
from srgan_dist.imaging.images import Pixels
from srgan_dist.models.files import load_generator

SCALE, SIDE, SHOWN = 2, 80, 3
"""Scale; side of the crops in the picture, in HR pixels; and number of images if none are named."""
COLUMNS = {
    "psnr_y": ("PSNR-Y dB", 2), "ssim_y": ("SSIM-Y", 4), "niqe": ("NIQE", 2), "grid_ratio": ("grid ratio", 2),
    "gradient_energy": ("gradient energy", 2), "color_shift": ("color shift", 2),
}  # fmt: skip


def report(
    folder: Path, tests: list[Path], configurations: dict[str, str], images: list[str], alone: Path | None
) -> str:
    """Evaluate every finished configuration in `folder`; write and return the report, and draw the picture."""
    methods: dict[str, Method] = {"bicubic": interpolation("bicubic", SCALE)}
    facts = {name: _facts(folder / name) for name in configurations}
    for name in configurations:
        for label, file in ((f"{name}, pixel phase", "pixel.safetensors"), (name, "generator.safetensors")):
            if (folder / name / file).exists():
                methods[label] = generator(load_generator(folder / name / file), "cpu")
    rows: list[list[Cell]] = []
    names: list[str] = []
    found: dict[str, dict[str, Scores]] = {}
    for test in tests:
        found[test.name], cells = _evaluate(test, methods, images, shown=SHOWN - len(rows))
        rows += cells.values()
        names += cells
    if rows:
        footnotes = (
            f"from top to bottom: {', '.join(names)}",
            f"x{SCALE}, {SIDE} HR pixels a side, PSNR-Y of the crop",
        )
        Image.fromarray(draw(rows, footnotes)).save(folder / "comparison.webp", quality=45, method=6)
    timing = {name: _facts(alone / name) for name in configurations} if alone else {}
    text = _training_table(configurations, facts, timing)
    text += "".join(f"\n{_table(name, scores)}" for name, scores in found.items())
    (folder / "report.md").write_text(text)
    (folder / "report.json").write_text(json.dumps({"training": facts, "alone": timing, "scores": found}, indent=1))
    return text


def _facts(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "facts.json").read_text()) if (folder / "facts.json").exists() else {}


def _evaluate(
    test: Path, methods: dict[str, Method], images: list[str], shown: int
) -> tuple[dict[str, Scores], dict[str, list[Cell]]]:
    """Return the mean scores of each method and of HR, and the crops of the images to show by image."""
    evaluation_set = open_evaluation_set(test, SCALE)
    cells: dict[str, list[Cell]] = {}
    shifts: dict[str, list[float]] = {name: [] for name in methods}

    def observe(_: int, pair: ImagePair, results: dict[str, Pixels], scores: dict[str, Scores]) -> None:
        for name, sr in results.items():
            shifts[name].append(color_difference(sr, pair.hr))
        if pair.name in images or (not images and len(cells) < shown):
            final = {name: sr for name, sr in results.items() if not name.endswith("pixel phase")}
            cells[pair.name] = _crops(final, pair)

    evaluation = evaluate_methods(evaluation_set, methods, SingleProcess(), no_progress, observe=observe, natural=True)
    means = {
        name: scores | {"color_shift": float(np.mean(shifts[name]))} for name, scores in evaluation.means().items()
    }
    return means | {"HR": evaluation.original_means()}, cells


def _crops(results: dict[str, Pixels], pair: ImagePair) -> list[Cell]:
    square = busiest_square(pair.hr, SIDE, SCALE)
    hr = square.cut(pair.hr)
    crops = {name: square.cut(sr) for name, sr in results.items()}
    return [*(Cell(name, crop, {"psnr_y": psnr(luma(crop), luma(hr))}) for name, crop in crops.items()), Cell("HR", hr)]


def _table(data: str, scores: dict[str, Scores]) -> str:
    heads = [head for head, _ in COLUMNS.values()]
    lines = [f"| {data} | {' | '.join(heads)} |", f"|:--|{'--:|' * len(heads)}"]
    for name, found in scores.items():
        cells = [_number(found.get(column), digits) for column, (_, digits) in COLUMNS.items()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _training_table(
    configurations: dict[str, str], facts: dict[str, dict[str, Any]], timing: dict[str, dict[str, Any]]
) -> str:
    """Return what training took; steps per time from a run alone on the device where there is one."""
    lines = [
        "| | | steps | precision | s of training | ms/step | peak GiB | device |",
        "|:--|:--|--:|:--|--:|--:|--:|:--|",
    ]
    for name, meaning in configurations.items():
        own, alone = facts.get(name, {}), timing.get(name, {})
        if not own.get("curve"):
            lines.append(f"| {name} | {meaning} | failed: {own.get('failure', 'was not trained')} | | | | | |")
            continue
        seconds = f"{own['curve'][-1][1]:.0f}{' (all at once)' if own.get('concurrent') else ''}"
        precision, device = own["precision"].replace("no", "fp32"), own.get("device", "")
        alone = alone or ({} if own.get("concurrent") else own)  # runs at the same time share the device
        pace, memory = f"{_pace(alone):.1f}" if alone else "", f"{own['memory_gib']:.2f}"
        lines.append(
            f"| {name} | {meaning} | {own['steps']} | {precision} | {seconds} | {pace} | {memory} | {device} |"
        )
    return "\n".join(lines) + "\n"


def _pace(facts: dict[str, Any]) -> float:
    """Return milliseconds per step, without the first window, in which libraries start."""
    curve = facts["curve"]
    (step, seconds), (last, total) = ((0, 0.0), curve[0]) if len(curve) == 1 else (curve[0], curve[-1])
    return (total - seconds) / (last - step) * 1000
