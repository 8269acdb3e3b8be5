"""The command line: `train.py PRESET` and `srgan COMMAND`. Errors are one line, wrong usage exits with 2."""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from srgan_dist.group import Alone, Group, silent
from srgan_dist.launcher import end_with_launcher
from srgan_dist.preset_names import SUMMARIES

FAILED, WRONG_USAGE, STOPPED = 1, 2, 75

COMMANDS = {
    "pack": "pictures to WebDataset shards: srgan pack SOURCE --scale 4 --out DIR",
    "shards": "verify, index, show or push packed shards: srgan shards verify DIR|URL",
    "train": "the same as `accelerate launch train.py PRESET`, for one process",
    "evaluate": "models and interpolation on held-out pictures, by the protocol of record",
    "upscale": "enlarge pictures with a trained model: srgan upscale IN OUT --model RUN",
    "compare": "one HTML page: numbers, sliders, crops, curves: srgan compare RUN RUN --out report.html",
    "export": "a trained model as a file for other programs: srgan export RUN --out FILE",
    "mlflow": "open MLflow's UI on the runs of this folder",
    "track": "send what a run could not log while MLflow was away: srgan track sync RUN",
    "repro": "what gives a run again, and what differs here: srgan repro RUN [--run]",
}


def main(args: Sequence[str] | None = None) -> int:
    """`srgan COMMAND ...`; returns the exit code."""
    args = list(sys.argv[1:] if args is None else args)
    if not args or args[0] in ("-h", "--help"):
        return _list("usage: srgan COMMAND [flags]", "commands", COMMANDS, "srgan COMMAND --help shows its flags.")
    name, rest = args[0], args[1:]
    if name not in COMMANDS:
        return _unknown("command", name, COMMANDS)
    return guarded(lambda: _COMMANDS[name](rest))


def train_main(args: Sequence[str] | None = None) -> int:
    """`train.py PRESET [flags]`; returns the exit code."""
    args = list(sys.argv[1:] if args is None else args)
    hint = (
        "PRESET --help shows every flag with the preset's values; --dry-run tries a few steps and estimates the rest."
    )
    usage = "usage: accelerate launch train.py PRESET [--dry-run] [flags]   (or --config FILE instead of PRESET)"
    if not args or args[0] in ("-h", "--help"):
        return _list(usage, "presets", SUMMARIES, hint)
    if args[0] != "--config" and args[0] not in SUMMARIES:
        return _unknown("preset", args[0], SUMMARIES)
    return guarded(lambda: _train(args))


def guarded(run: Callable[[], int]) -> int:
    """The command's exit code; where it fails, 1, with one line for the user's errors."""
    end_with_launcher()
    try:
        return run()
    except Exception as error:
        return _failed(error)


def _failed(error: BaseException) -> int:
    """Shows an error. A ValueError of this package is for the user; anything else is a bug and shows where it is."""
    if isinstance(error, ValueError) and _is_ours(error):
        rank = os.environ.get("RANK", "0")
        sys.stderr.write(f"error: {error.args[0]}\n" if rank == "0" else f"error on process {rank}: {error.args[0]}\n")
    else:
        traceback.print_exception(error)
    return FAILED


def _is_ours(error: ValueError) -> bool:
    frames = list(traceback.walk_tb(error.__traceback__))
    return bool(frames) and str(frames[-1][0].f_globals.get("__name__", "")).startswith("srgan_dist")


def _train(args: list[str]) -> int:
    from srgan_dist.startup import Startup

    startup = Startup()
    from srgan_dist.config import TrainConfig, parse, read_config
    from srgan_dist.presets import preset

    if args[0] == "--config":
        if len(args) < 2:
            return _unknown("preset", "--config without a file", SUMMARIES)
        default, prog, rest = read_config(Path(args[1])), "train.py", args[2:]
    else:
        default, prog, rest = preset(args[0]), f"train.py {args[0]}", args[1:]
    rehearsal = "--dry-run" in rest
    rest = [word for word in rest if word != "--dry-run"]
    config: TrainConfig = parse(TrainConfig, rest, f"{prog} [--dry-run]", default)
    from srgan_dist.consensus import StopRequested
    from srgan_dist.processes import leave
    from srgan_dist.rehearsal import rehearse
    from srgan_dist.trainer import train

    startup.mark("imports")
    first = os.environ.get("RANK", "0") == "0"
    try:
        if rehearsal:
            said = rehearse(config)
            sys.stdout.write(said if first else "")
            return leave(0)
        evaluation = train(config, startup)
    except StopRequested as request:
        if first:
            sys.stderr.write(f"stopped ({request}) with a checkpoint; the same command goes on\n")
        return leave(STOPPED)
    except BaseException as error:
        return leave(_failed(error))
    if evaluation and first:
        sys.stdout.write(f"\n{evaluation.table()}\n\nThe picture: {config.run_dir / 'comparison.png'}\n")
    return leave(0)


def _pack(args: list[str]) -> int:
    from srgan_dist.data.catalog import SOURCES
    from srgan_dist.data.pack import PackOptions, pack
    from srgan_dist.data.verify import count_of
    from srgan_dist.flags import parse_pair
    from srgan_dist.progress import bar, start_logging

    if not args or args[0] in ("-h", "--help"):
        summaries = {name: (kind.__doc__ or "").splitlines()[0] for name, kind in SOURCES.items()}
        return _list(
            "usage: srgan pack SOURCE [flags]", "sources", summaries, "srgan pack SOURCE --help shows its flags."
        )
    if args[0] not in SOURCES:
        return _unknown("source", args[0], SOURCES)
    source, options = parse_pair(SOURCES[args[0]], PackOptions, args[1:], f"srgan pack {args[0]}")
    group = _launched()
    start_logging(group.rank == 0)
    manifest = pack(source, options, group, bar if group.rank == 0 else silent)
    if group.rank == 0:
        sys.stdout.write(f"{options.out}: {count_of(manifest)}\n")
    return 0


def _launched() -> Group:
    """The processes that a launcher started, or this one alone, which then need not load torch."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Alone()
    from srgan_dist.processes import Ranks, start

    return Ranks(start("no"))


def _shards(args: list[str]) -> int:
    from srgan_dist.shards_command import ACTIONS

    if not args or args[0] in ("-h", "--help"):
        rows = {name: (action.__doc__ or "").splitlines()[0] for name, (_, action) in ACTIONS.items()}
        usage = "usage: srgan shards ACTION DIR|URL [flags]"
        return _list(usage, "actions", rows, "srgan shards ACTION --help shows its flags.")
    if args[0] not in ACTIONS:
        return _unknown("action", args[0], ACTIONS)
    from srgan_dist.flags import parse
    from srgan_dist.progress import start_logging

    options, action = ACTIONS[args[0]]
    start_logging(True)
    sys.stdout.write(f"{action(parse(options, args[1:], f'srgan shards {args[0]}'))}\n")
    return 0


def _evaluate(args: list[str]) -> int:
    from srgan_dist.config import parse
    from srgan_dist.evaluate import EvaluateOptions, evaluate
    from srgan_dist.processes import Ranks, start
    from srgan_dist.progress import bar, start_logging

    options = parse(EvaluateOptions, args, "srgan evaluate")
    accelerator = start("no", patience_hours=24)
    start_logging(accelerator.is_main_process)
    judged = evaluate(options, Ranks(accelerator), bar, str(accelerator.device))
    if accelerator.is_main_process:
        sys.stdout.write(judged.table + "\n")
    return 0


def _upscale(args: list[str]) -> int:
    from srgan_dist.config import parse
    from srgan_dist.processes import Ranks, precision_of, start
    from srgan_dist.progress import bar, start_logging
    from srgan_dist.upscale import UpscaleOptions, upscale

    options = parse(UpscaleOptions, args, "srgan upscale")
    accelerator = start(options.mixed_precision, patience_hours=24)
    start_logging(accelerator.is_main_process)
    device, precision = str(accelerator.device), precision_of(accelerator)
    return FAILED if upscale(options, Ranks(accelerator), bar, device, precision) else 0


def _compare(args: list[str]) -> int:
    from srgan_dist.compare import CompareOptions, compare
    from srgan_dist.config import parse
    from srgan_dist.processes import Ranks, start
    from srgan_dist.progress import bar, start_logging

    options = parse(CompareOptions, args, "srgan compare")
    accelerator = start("no", patience_hours=24)
    start_logging(accelerator.is_main_process)
    evaluation = compare(options, Ranks(accelerator), bar, str(accelerator.device))
    if accelerator.is_main_process:
        sys.stdout.write(f"{evaluation.table()}\n\nThe page: {options.out}\n")
    return 0


def _export(args: list[str]) -> int:
    from srgan_dist.config import parse
    from srgan_dist.release import ExportOptions, export

    sys.stdout.write("\n".join(export(parse(ExportOptions, args, "srgan export"))) + "\n")
    return 0


def _mlflow(args: list[str]) -> int:
    from srgan_dist.tracking import shown, tracking_uri

    uri = tracking_uri()
    if uri.startswith("http"):
        raise ValueError(f"the runs are on a server: open {shown(uri)} in a browser")
    # Without what runs jobs it takes two processes and half the memory.
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, *args])


def _track(args: list[str]) -> int:
    from srgan_dist.flags import parse
    from srgan_dist.progress import start_logging
    from srgan_dist.tracking.sync import SyncOptions, sync

    actions = {"sync": "send what waits in a run directory: srgan track sync RUN"}
    if not args or args[0] in ("-h", "--help"):
        return _list("usage: srgan track ACTION RUN", "actions", actions, "srgan track ACTION --help shows its flags.")
    if args[0] not in actions:
        return _unknown("action", args[0], actions)
    start_logging(True)
    sys.stdout.write(f"{sync(parse(SyncOptions, args[1:], 'srgan track sync'))}\n")
    return 0


def _repro(args: list[str]) -> int:
    from srgan_dist.config import parse
    from srgan_dist.repro import ReproOptions, repeat, repro

    options = parse(ReproOptions, args, "srgan repro")
    sys.stdout.write(repro(options))
    sys.stdout.flush()
    return repeat(options) if options.run else 0


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "pack": _pack,
    "shards": _shards,
    "train": lambda args: train_main(args),
    "evaluate": _evaluate,
    "upscale": _upscale,
    "compare": _compare,
    "export": _export,
    "mlflow": _mlflow,
    "track": _track,
    "repro": _repro,
}


def _list(usage: str, title: str, rows: dict[str, str], hint: str) -> int:
    width = max(map(len, rows))
    lines = [usage, "", f"{title}:", *(f"  {name:<{width}}  {text}" for name, text in rows.items()), "", hint]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _unknown(kind: str, name: str, known: Iterable[str]) -> int:
    known = list(known)
    close = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
    sys.stderr.write(f"error: there is no {kind} {name!r}; {hint}\n")
    return WRONG_USAGE
