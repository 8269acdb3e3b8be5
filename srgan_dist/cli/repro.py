"""`srgan repro RUN`: show or run the commands that reproduce a run, and show what differs here."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srgan_dist.cli.parsing import Positional, parse
from srgan_dist.utils.addresses import public, scheme_of
from srgan_dist.utils.terminal import write_out
from srgan_dist.utils.usage import UsageError

if TYPE_CHECKING:
    from srgan_dist.runs import environment
    from srgan_dist.training.config import TrainConfig

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class ReproOptions:
    """Show the commands that reproduce a run, and what differs here: versions, commit, data and machine."""

    source: Positional[Path]
    """Run directory to reproduce."""

    run: bool = False
    """Also run the training again, after asking."""

    yes: bool = False
    """Do not ask before running it."""

    out: Path | None = None
    """Run directory of the new run. The default is RUN-again."""


def main(args: list[str]) -> int:
    """Run `srgan repro RUN [--run]`, and return the exit code, with --run that of the training."""
    options = parse(ReproOptions, args, "srgan repro")
    write_out(repro(options))
    sys.stdout.flush()
    if not options.run:
        return 0
    confirm(options)
    return repeat(options)


def repro(options: ReproOptions) -> str:
    """Return a report on how to reproduce a run and on what differs here.

    Raises:
        ValueError: If `source` is not a run directory.
    """
    config, sessions = _read(options.source)
    first = sessions[0] if sessions else {}
    lines = [*_describe_run(options.source, config, sessions), "", "To reproduce it:"]
    git = first.get("git", {})
    if git:
        lines.append(f"  git checkout {git['commit']}")
    if git.get("dirty"):
        patch = first.get("patch")
        lost = "  (its uncommitted changes were not saved)"
        lines.append(f"  {shlex.join(['git', 'apply', str(options.source / patch)])}" if patch else lost)
    lines += [f"  {shlex.join(command(options))}", *_missing(config), "", "What differs here:"]
    found = list(differences(config, first)) if sessions else ["unknown, because the run has no environment.json"]
    return "\n".join([*lines, *(f"  {d}" for d in found or ["nothing"])]) + "\n"


def confirm(options: ReproOptions) -> None:
    """Ask whether to run the command, which another person's run directory determines.

    Raises:
        ValueError: If the answer is not yes, or nobody can be asked.
    """
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"--run starts a training from the configuration in {options.source}; add --yes to run it")
    sys.stdout.write("Run this command? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ValueError("not run")


def repeat(options: ReproOptions) -> int:
    """Train the run again, and return the exit code of the training."""
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    }
    return subprocess.run(command(options), env=env, check=False).returncode


def command(options: ReproOptions) -> list[str]:
    """Return the command line that trains the run again in another directory, from its resolved configuration."""
    config, sessions = _read(options.source)
    first = sessions[0] if sessions else {}
    processes, precision = first.get("world_size", 1), first.get("precision", config.mixed_precision)
    out = options.out or options.source.with_name(f"{options.source.name}-again")
    many = ["--multi_gpu", f"--num_processes={processes}"] if processes > 1 else ["--num_processes=1"]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", *many, "--num_machines=1"]
    launcher += ["--dynamo_backend=no", "--mixed_precision=no", "-m", "srgan_dist", "train"]
    flags = ["--config", str(options.source / "config.json"), f"--run-dir={out}", f"--mixed-precision={precision}"]
    return [*launcher, *flags, f"--expect-world-size={processes}"]


def differences(config: "TrainConfig", then: "environment.Facts") -> Iterator[str]:
    """Yield one line for each difference between a run and this machine that may affect results or speed."""
    import torch

    from srgan_dist.runs import environment

    now = {"versions": environment.versions(), "git": environment.git_state()}
    for name, version in now["versions"].items():
        yield from _describe_change(name, then["versions"].get(name, "not recorded"), version)
    yield from _describe_change("git commit", then["git"].get("commit", "none"), now["git"].get("commit", "none"))
    for when, state in (("in the run", then["git"]), ("here", now["git"])):
        if state.get("dirty"):
            yield f"git: uncommitted changes {when}"
    for location in config.data.shards:
        yield from _describe_change(
            f"data {public(location)}", then["data"].get(public(location), "not recorded"), _data_hash(location, config)
        )
    cuda = torch.cuda.is_available()
    device = environment.device_facts(torch.device("cuda" if cuda else "cpu"))
    for name in sorted(then["device"].keys() | device.keys()):
        yield from _describe_change(f"device {name}", then["device"].get(name), device.get(name))
    yield from _describe_change("host", then["host"], environment.platform.node())
    available = torch.cuda.device_count() if cuda else os.cpu_count() or 1
    if then["world_size"] > available:
        kind = "GPUs" if cuda else "CPU cores"
        yield f"processes: {then['world_size']} in the run, {available} {kind} here"


def _describe_change(name: str, then: Any, now: Any) -> Iterator[str]:
    if then != now:
        yield f"{name}: {then} in the run, {now} here"


def _data_hash(location: str, config: "TrainConfig") -> str:
    from srgan_dist.data.shards.location import ShardLocation

    try:
        return ShardLocation(location, config.data.cache).hash
    except ValueError as error:
        return f"unreadable ({error})"


def _missing(config: "TrainConfig") -> Iterator[str]:
    """Yield what the command line must add because it is not saved with a run."""
    if any(scheme_of(location) == "pipe" for location in config.data.stream):
        yield "  (add --allow-pipe and the commands with --data.stream pipe:COMMAND, which are not saved)"


def _describe_run(run: Path, config: "TrainConfig", sessions: "list[environment.Facts]") -> Iterator[str]:
    yield f"{run}: x{config.scale}, seed {config.seed}, {config.steps} steps"
    for number, s in enumerate(sessions):
        device = s["device"]
        yield f"  {'resumed' if number else 'started'} {s['started']} on {s['host']} in {s['folder']}:"
        yield f"    {s['command']}"
        yield f"    {s['world_size']} process(es), {device['type']} {device['name']}, precision {s['precision']}"
        changes = ", with uncommitted changes" if s["git"].get("dirty") else ""
        yield f"    commit {s['git'].get('commit', 'unknown')}{changes}"
        yield f"    {', '.join(f'{name} {v}' for name, v in s['versions'].items())}"
        for location, digest in s["data"].items():
            yield f"    data {location}: manifest {digest}"


def _read(run: Path) -> "tuple[TrainConfig, list[environment.Facts]]":
    from srgan_dist.runs import environment
    from srgan_dist.training.config import read_config

    if not (run / "config.json").is_file():
        raise ValueError(f"{run}: not a run directory (no config.json)")
    return read_config(run / "config.json"), environment.sessions(run)
