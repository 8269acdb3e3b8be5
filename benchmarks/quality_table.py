"""The records and the picture of `quality.py`, from the `run.json` of all runs in a folder."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from quality_tracks import RECIPES, TRACKS

from srgan_dist.evaluation.curves import COLORS

Run = dict[str, Any]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 460, 62, 20, 46, 58


def write_table(out: Path, picture: Path | None) -> str:
    """Write `records.md` and the curves; return the former."""
    runs = [json.loads(file.read_text()) for file in sorted(out.glob("*/seed-*/run.json"))]
    by_recipe: dict[str, list[Run]] = {}
    for run in runs:
        by_recipe.setdefault(run["recipe"], []).append(run)
    text = "\n".join([*_records(by_recipe), "", *_tried(by_recipe)]) + "\n"
    (out / "records.md").write_text(text)
    shown = {name: found for name, found in by_recipe.items() if any("set5" in r.get("scores", {}) for r in found)}
    if shown:
        _draw(shown).save(picture or out / "curves.png", optimize=True)
    return text


def clock(run: Run, step: int) -> float:
    """Return the seconds of training at a step: on this run's own clock, or by the pace of a run alone."""
    if run.get("pace"):
        return step * run["pace"]
    return float(np.interp(step, run["curve_steps"], run["seconds"]))


def curve(run: Run, data: str) -> list[tuple[int, float]]:
    """Return (step, PSNR-Y) of the run's checkpoints, in order."""
    return sorted((int(step), value) for step, value in run.get("scores", {}).get(data, {}).items())


def first_step(run: Run, goal: float) -> int | None:
    """Return the step of the first checkpoint that reaches a goal on Set5."""
    return next((step for step, value in curve(run, "set5") if value >= goal), None)


def _records(by_recipe: dict[str, list[Run]]) -> list[str]:
    lines = [
        "| goal on Set5 x4 | recipe | time, median (each seed) | steps | images | TFLOP | machine | clock | commit |",
        "|:--|:--|--:|--:|--:|--:|:--|:--|:--|",
    ]
    for name, runs in by_recipe.items():
        for published, goal in TRACKS[RECIPES[name].track].goals.items():
            reached = [(run, step) for run in runs if (step := first_step(run, goal)) is not None]
            if not reached or not any(curve(run, "set5") for run in runs):
                continue
            times = sorted(clock(run, step) for run, step in reached)
            run, step = sorted(reached, key=lambda pair: clock(*pair))[len(reached) // 2]
            each = ", ".join(_minutes(t) for t in times) + (
                f"; {len(runs) - len(reached)} failed" * (len(reached) < len(runs))
            )
            kind = "by pace" if run.get("pace") else "its own"
            lines.append(
                f"| {published} {goal:.2f} dB | {name} | {_minutes(times[len(times) // 2])} ({each}) | {step} | "
                f"{step * run['crops_per_step']:,} | {step * run['flop_per_step'] / 1e12:.0f} | {run['machine']}, "
                f"{run['precision']} | {kind} | {run['commit']} |"
            )
    return lines


def _tried(by_recipe: dict[str, list[Run]]) -> list[str]:
    lines = [
        "| recipe | network | seeds | steps | min | ms/step | TFLOP | held-out dB | Set5 dB | Set14 dB |",
        "|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, runs in by_recipe.items():
        run, last = runs[0], runs[0]["steps"]
        scores = [_last(runs, data) for data in ("choose", "set5", "set14")]
        pace = run.get("pace") or run["seconds_per_step"]
        lines.append(
            f"| {name} | {run['parameters'] / 1000:.0f}k | {len(runs)} | {last} | {clock(run, last) / 60:.1f} | "
            f"{pace * 1000:.1f} | {last * run['flop_per_step'] / 1e12:.0f} | {' | '.join(scores)} |"
        )
    return lines


def _last(runs: list[Run], data: str) -> str:
    """Return the last checkpoint's PSNR-Y: the mean over seeds, and their range."""
    found = [points[-1][1] for run in runs if (points := curve(run, data))]
    if not found:
        return ""
    return f"{np.mean(found):.2f}" + (f" ({min(found):.2f} to {max(found):.2f})" if len(found) > 1 else "")


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _draw(by_recipe: dict[str, list[Run]]) -> Image.Image:
    """Draw PSNR-Y on Set5 against minutes of training (logarithmic), one line per seed, with the goals."""
    curves = {
        name: [[(clock(run, step) / 60, value) for step, value in curve(run, "set5")] for run in runs]
        for name, runs in by_recipe.items()
    }
    points = [point for lines in curves.values() for line in lines for point in line if point[0] > 0]
    goals = {f"{n} {g:.2f}": g for name in by_recipe for n, g in TRACKS[RECIPES[name].track].goals.items()}
    low, high = min(x for x, _ in points), max(x for x, _ in points) * 1.05
    bottom, top = min(y for _, y in points) - 0.1, max([y for _, y in points] + list(goals.values())) + 0.1
    sheet = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen, font, small = ImageDraw.Draw(sheet), ImageFont.load_default(16), ImageFont.load_default(13)

    def place(x: float, y: float) -> tuple[float, float]:
        across = math.log(x / low) / math.log(high / low)
        return LEFT + (WIDTH - RIGHT - LEFT) * across, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (y - bottom) / (
            top - bottom
        )

    for minutes in (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60):
        if low <= minutes <= high:
            x, y = place(minutes, bottom)
            pen.line((x, TOP, x, y), "gainsboro")
            pen.text((x, y + 8), f"{minutes:g}", "dimgray", font=small, anchor="ma")
    for tenth in range(math.ceil(bottom * 5), math.floor(top * 5) + 1):
        x, y = place(low, tenth / 5)
        pen.line((x, y, WIDTH - RIGHT, y), "whitesmoke")
        pen.text((x - 8, y), f"{tenth / 5:.1f}", "dimgray", font=small, anchor="rm")
    for label, goal in goals.items():
        _, y = place(low, goal)
        pen.line((LEFT, y, WIDTH - RIGHT, y), "seagreen", width=2)
        pen.text((LEFT + 6, y - 3), label, "seagreen", font=small, anchor="ls")
    for number, (name, lines) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        for line in lines:
            pen.line([place(*point) for point in line if point[0] > 0], color, width=2)
        pen.text((WIDTH - RIGHT - 8, HEIGHT - BOTTOM - 12 - 20 * number), name, color, font=font, anchor="rs")
    pen.text((LEFT, 12), "PSNR-Y on Set5 x4 in dB, averaged weights", "black", font=font)
    pen.text((WIDTH - RIGHT, HEIGHT - 24), "minutes of training", "dimgray", font=small, anchor="ra")
    return sheet
