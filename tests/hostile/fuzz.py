"""`python -m tests.hostile.fuzz [--inputs N] [--seed S]`: try generated files on every parser and print a table.

Each target runs in its own process with limits of memory and time, so that a signal or a crash is counted like any
other broken rule. The exit code is 0 only if no rule was broken and every parser was reached far enough.
"""

import argparse
import ast
import contextlib
import hashlib
import importlib
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import coverage
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import FlakyStrategyDefinition

from tests.hostile.rule import MEMORY, BrokenRule, describe, watched
from tests.hostile.targets import Target, targets

LEAST_OUTER, LEAST_COVERED, MOST_PEAK = 0.40, 0.85, 2 << 30
_ADDRESS_SPACE = 24 << 30  # torch reserves much that it never touches; the peak is what counts
_WAYS = 2
_QUIET = ("srgan_dist", "asyncio", "PIL", "fsspec", "matplotlib")


@dataclass
class Tally:
    """What happened to the inputs of one target."""

    name: str
    inputs: int = 0
    outer: int = 0
    accepted: int = 0
    opened: int = 0
    slowest: float = 0.0
    peak: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    covered: float = 0.0
    missing: list[str] = field(default_factory=list)


def try_input(target: Target, content: bytes, tally: Tally) -> None:
    """Open one input in two of the ways, in turn, each in an empty folder; raise BrokenRule if one breaks the rule."""
    tally.inputs += 1
    tally.outer += target.outer(content)
    ways = target.attempts
    for attempt in {ways[(tally.inputs + n) % len(ways)]: None for n in range(_WAYS)}:
        with tempfile.TemporaryDirectory(prefix="srgan-fuzz-", dir=MEMORY) as name, contextlib.chdir(name):
            folder = Path(name, "in")
            folder.mkdir()
            os.environ["SRGAN_CACHE"] = f"{name}/cache"
            started = time.monotonic()
            tally.opened += 1
            with warnings.catch_warnings(action="ignore"), watched(Path(name), target.hosts(content)):
                tally.accepted += attempt(folder, content)
            tally.slowest = max(tally.slowest, time.monotonic() - started)
            os.chdir(name)


def import_late_modules() -> None:
    """Import what is imported on first use, so that the watch only sees what inputs do."""
    import aiohttp  # noqa: F401
    import spandrel  # noqa: F401
    import webdataset.tariterators  # noqa: F401
    from PIL import Image

    import srgan_dist.data.loading.contact_sheet
    import srgan_dist.models.export  # noqa: F401

    Image.init()


def prepare(target: Target) -> None:
    """Set up this process, and open something once with every attempt of a target."""
    os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///none.db"
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    import srgan_dist.data.shards.remote

    srgan_dist.data.shards.remote._ATTEMPTS = 1
    with contextlib.suppress(BrokenRule), tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        for attempt in target.attempts:
            folder = Path(tempfile.mkdtemp(dir=name))
            attempt(folder, b"")
            os.chdir(name)


def run(target: Target, inputs: int, number: int, limited: bool = True) -> Tally:
    """Try generated inputs on a target, and measure which lines of its parsers they reach."""
    tally, seen = Tally(target.name), set()
    prepare(target)
    if limited:
        resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    files = [str(importlib.import_module(p.split(":")[0]).__file__) for p in target.parsers]
    measured = coverage.Coverage(data_file=None, include=files, concurrency=["thread"])

    @seed(number)
    @settings(
        max_examples=inputs, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )  # fmt: skip
    @given(target.inputs)
    def one(content: bytes) -> None:
        digest = hashlib.sha256(content).digest()
        if digest in seen or tally.inputs >= inputs:
            return
        seen.add(digest)
        try:
            try_input(target, content, tally)
        except BrokenRule as broken:
            kind = str(broken).split(":")[0]
            tally.broken[kind] += 1
            if len(tally.examples) < 5:
                tally.examples.append(f"{broken}\n      input: {content[:300]!r}")

    measured.start()
    try:
        for attempt in range(4):  # Hypothesis repeats itself; what is new is counted
            if tally.inputs < inputs:
                with contextlib.suppress(FlakyStrategyDefinition):  # torch.save does not always write the same bytes
                    seed(number + attempt)(one)()
    finally:
        measured.stop()
    tally.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    tally.covered, tally.missing = reached(target, measured)
    return tally


def reached(target: Target, measured: coverage.Coverage) -> tuple[float, list[str]]:
    """Return the share of lines of the target's parsers that were run, and the lines that were not."""
    total, missing = 0, []
    for parser in target.parsers:
        module, _, name = parser.partition(":")
        file = str(importlib.import_module(module).__file__)
        inside = _lines(Path(file), name)
        _, statements, _, missed, _ = measured.analysis2(file)
        total += len(set(statements) & inside)
        missing += [f"{Path(file).name}:{line}" for line in sorted(set(missed) & inside)]
    return (1 - len(missing) / total if total else 1.0), missing


def _lines(file: Path, name: str) -> set[int]:
    """Return the lines of the bodies of a function, of a class's methods, or of all functions of a module."""
    lines: set[int] = set()
    tree: ast.AST = ast.parse(file.read_text())
    for part in [p for p in name.split(".") if p]:
        tree = next(n for n in ast.walk(tree) if getattr(n, "name", None) == part)
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    for function in functions:
        lines |= set(range(function.body[0].lineno, (function.end_lineno or 0) + 1))
    return lines


def in_process(target: Target, inputs: int, number: int) -> Tally:
    """Run a target in a forked process, so that a signal ends only that one."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child(sender: Connection) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries in C write there
        try:
            tally = run(target, inputs, number)
        except BaseException as error:  # of the harness itself: it must not look like a signal
            tally = Tally(target.name, broken=Counter({"harness": 1}), examples=[describe(error)])
        sender.send(tally.__dict__)

    process = context.Process(target=child, args=(sender,))
    process.start()
    sender.close()
    try:
        result = receiver.recv()
    except EOFError:
        result = None
    process.join()
    if result is None:
        return Tally(target.name, broken=Counter({f"signal or exit {process.exitcode}": 1}))
    return Tally(**result)


def report(tallies: list[Tally], seconds: float) -> str:
    rows = ["target          inputs  outer   opened  accepted  slowest     peak  lines  broken"]
    rows += [
        f"{t.name:<14}{t.inputs:>8}{t.outer / max(1, t.inputs):>7.0%}{t.opened:>9}{t.accepted:>10}{t.slowest:>7.1f} s"
        f"{t.peak / 2**20:>6.0f} MiB{t.covered:>6.0%}  {dict(t.broken) or '-'}"
        for t in tallies
    ]
    kinds = sum((t.broken for t in tallies), Counter())
    signals = sum(n for k, n in kinds.items() if k.startswith("signal"))
    rows += [
        "",
        f"{sum(t.inputs for t in tallies)} different inputs, opened {sum(t.opened for t in tallies)} times in "
        f"{seconds:.0f} s: {kinds['traceback']} tracebacks, {signals} signals, {kinds['hang']} hangs over 20 s, "
        f"{sum(t.peak > MOST_PEAK for t in tallies)} peaks over 2 GiB, {kinds['outside']} writes or connections "
        f"outside, {kinds.total() - kinds['traceback'] - signals - kinds['hang'] - kinds['outside']} others",
    ]
    for t in tallies:
        rows += [f"\n{t.name}: {example}" for example in t.examples]
        if t.covered < LEAST_COVERED:
            rows.append(f"\n{t.name}: not reached: {', '.join(t.missing)}")
    return "\n".join(rows)


def enough(tally: Tally) -> bool:
    return (
        not tally.broken
        and tally.peak <= MOST_PEAK
        and tally.covered >= LEAST_COVERED
        and tally.outer >= LEAST_OUTER * tally.inputs
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=500, help="different inputs of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="targets to run")
    options = parser.parse_args()
    started, tallies = time.monotonic(), []
    import_late_modules()
    for target in targets():
        if not options.only or target.name in options.only:
            tallies.append(in_process(target, options.inputs, options.seed))
            sys.stdout.write(report(tallies[-1:], time.monotonic() - started).splitlines()[1] + "\n")
            sys.stdout.flush()
    sys.stdout.write(f"\n{report(tallies, time.monotonic() - started)}\n")
    return 0 if all(map(enough, tallies)) else 1


if __name__ == "__main__":
    sys.exit(main())
