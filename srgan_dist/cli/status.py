"""`srgan status`: how far runs have come, what is left, and whether they are still running."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srgan_dist.cli.console import FAILED, STOPPED
from srgan_dist.cli.parsing import Positional, parse
from srgan_dist.utils.terminal import printable, write_out

if TYPE_CHECKING:
    from srgan_dist.runs.summary import RunSummary


@dataclass(frozen=True, kw_only=True)
class StatusOptions:
    """Show phase, step, latest numbers, time left, disk space and state of runs.

    The exit code is 0 if all of them are running or done, 75 if one is stopped (its command resumes it), and 1 if one
    has failed.
    """

    runs: Positional[tuple[Path, ...]] = ()
    """Run directories; by default all in the folder runs."""

    json: bool = False
    """Print a list of JSON objects."""


def main(args: list[str]) -> int:
    """Run `srgan status [RUN ...]`, and return the exit code.

    Raises:
        ValueError: If there are no runs, or one of the folders is not a run directory.
    """
    options = parse(StatusOptions, args, "srgan status")
    from srgan_dist.runs.run_dir import CONFIG
    from srgan_dist.runs.summary import summarize

    runs = options.runs or tuple(sorted(file.parent for file in Path("runs").glob(f"*/{CONFIG}")))
    if not runs:
        raise ValueError("there are no runs in the folder runs; name them: srgan status RUN ...")
    found = [summarize(run) for run in runs]
    if options.json:
        text = json.dumps([asdict(summary) for summary in found], indent=2)
    else:
        text = _details(found[0]) if len(found) == 1 else _table(found)
    write_out(text + "\n")
    states = {summary.state for summary in found}
    return FAILED if "failed" in states else STOPPED if "stopped" in states else 0


def _details(summary: "RunSummary") -> str:
    """Return the lines about one run; facts that are not known have none."""
    from srgan_dist.runs.metric_names import CROPS_PER_S, LOSS, PIXEL
    from srgan_dist.utils.status_line import duration

    metrics, left = summary.metrics, summary.seconds_left
    facts = {
        "phase": f"{summary.phase} (phase {summary.phase_number})" if summary.phase else "",
        "step": f"{summary.step} of {summary.total} ({_percent(summary)})",
        "time left": "" if left is None else f"{duration(left)}, until about {_clock(left)}",
        "loss": _number(metrics.get(LOSS, metrics.get(PIXEL)), "#.3g"),
        "PSNR-Y": _compared(metrics, "psnr_y", " dB"),
        "NIQE": _compared(metrics, "niqe", ""),
        "speed": _number(metrics.get(CROPS_PER_S), ",.1f", " crops/s"),
        "warnings": ", ".join(summary.warnings),
        "disk": _size(summary.bytes),
    }
    reason = f" ({printable(summary.reason)})" if summary.reason else ""
    lines = [f"  {name:<10}{printable(value)}" for name, value in facts.items() if value]
    return "\n".join([f"{printable(summary.run)}: {summary.state}{reason}", *lines])


def _table(summaries: Sequence["RunSummary"]) -> str:
    """Return a table with one row per run."""
    rows = [("run", "state", "phase", "step", "", "loss", "PSNR-Y", "NIQE", "left", "disk")]
    rows += [_row(summary) for summary in summaries]
    filled = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]
    widths = {i: max(len(row[i]) for row in rows) for i in filled}
    aligned = [[f"{row[i]:<{widths[i]}}" if i < 3 else f"{row[i]:>{widths[i]}}" for i in filled] for row in rows]
    return "\n".join("  ".join(cells).rstrip() for cells in aligned)


def _row(summary: "RunSummary") -> tuple[str, ...]:
    from srgan_dist.runs.metric_names import LOSS, NIQE, PIXEL, PSNR
    from srgan_dist.utils.status_line import duration

    metrics, left = summary.metrics, summary.seconds_left
    return (
        printable(summary.run), summary.state, printable(summary.phase), f"{summary.step}/{summary.total}",
        _percent(summary), _number(metrics.get(LOSS, metrics.get(PIXEL)), "#.3g"), _number(metrics.get(PSNR), ".2f"),
        _number(metrics.get(NIQE), ".2f"), "" if left is None else duration(left), _size(summary.bytes),
    )  # fmt: skip


def _compared(metrics: dict[str, float], score: str, unit: str) -> str:
    """Return a validation score beside those of bicubic interpolation and of HR; empty without one."""
    name = f"validation/{score}"
    if name not in metrics:
        return ""
    others = {label: metrics.get(f"{name}_{label.lower()}") for label in ("bicubic", "HR")}
    known = ", ".join(f"{label} {value:.2f}" for label, value in others.items() if value is not None)
    return f"{metrics[name]:.2f}{unit}" + (f" ({known})" if known else "")


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:{form}}{unit}"


def _percent(summary: "RunSummary") -> str:
    return f"{int(100 * summary.step / max(1, summary.total))}%"


def _clock(seconds: float) -> str:
    """Return the time of day in so many seconds, with the date if it is another day."""
    now, then = time.localtime(), time.localtime(time.time() + seconds)
    return time.strftime("%H:%M" if now[:3] == then[:3] else "%Y-%m-%d %H:%M", then)


def _size(count: int) -> str:
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if count >= 1000**power:
            return f"{count / 1000**power:.1f} {unit}"
    return f"{count} B"
