"""What logging costs a training step of the quickstart preset, by every state the MLflow server can be in.

    python benchmarks/tracking.py [--rounds 4] [--steps 25] [--shards shards/sample-x2]

One trainer each without tracking, with MLflow's database, with a server that is gone and with one that never answers
take turns in one process; each round starts with another, and every turn ends with its line of metrics. A share is the
median over rounds of a turn's time against the turn without tracking in the same round, so that another load on the
machine hits both. `main thread` is what the training thread spends in the calls themselves, which load cannot blur.
"""

import argparse
import contextlib
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from srgan_dist.data.loading.prefetch import Batches
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.tracking.tracker import Tracker
from srgan_dist.training.presets import preset
from srgan_dist.training.trainer import Trainer, prepare

SPENT: dict[int, float] = {}
"""Seconds in logging calls, by the object they were made on."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=25, help="in a turn")
    parser.add_argument("--shards", default="shards/sample-x2", help="any shards at x2")
    options = parser.parse_args()
    shards = str(Path(options.shards).resolve())
    with tempfile.TemporaryDirectory() as folder, hanging_server() as hangs:
        os.chdir(folder)
        watch(RunDir, "append_metrics")
        watch(Tracker, "image")
        servers = {
            "off": None,
            "database": f"sqlite:///{folder}/mlflow.db",
            "gone": "http://127.0.0.1:9",
            "hangs": hangs,
        }
        turns = {name: Turn(name, uri, shards, options.steps) for name, uri in servers.items()}
        for turn in turns.values():
            turn.run()  # allocation, the first connection, the import of MLflow
            turn.seconds.clear()
        SPENT.clear()
        names = list(turns)
        for n in range(options.rounds):
            for name in names[n % len(names) :] + names[: n % len(names)]:
                turns[name].run()
        report(turns, options.steps)
        os._exit(0)  # nobody waits for the hanging server


class Turn:
    """A trainer that does some steps at a time."""

    def __init__(self, name: str, uri: str | None, shards: str, steps: int) -> None:
        self.steps, self.seconds = steps, list[float]()
        config = preset("quickstart")
        os.environ["MLFLOW_TRACKING_URI"] = uri or ""
        config = replace(
            config, run_dir=Path(name), log_every=steps, data=replace(config.data, shards=(shards,)),
            tracking=replace(config.tracking, enabled=uri is not None),
            validation=replace(config.validation, every=10**9), checkpoint=replace(config.checkpoint, every=10**9),
        )  # fmt: skip
        self.trainer: Trainer = prepare(config)
        self.trainer.resume()
        self.trainer._start_phase(0)
        self.batches: Batches = self.trainer._batches()

    def run(self) -> None:
        began = time.perf_counter()
        for _ in range(self.steps):
            self.trainer._train_step(self.batches, self.trainer.phases[0])
            self.trainer._after_step()
        self.seconds.append(time.perf_counter() - began)


def watch(kind: type, name: str) -> None:
    """Adds up what a method takes."""
    method = getattr(kind, name)

    def watched(self: object, *args: object) -> object:
        began = time.perf_counter()
        try:
            return method(self, *args)
        finally:
            SPENT[id(self)] = SPENT.get(id(self), 0.0) + time.perf_counter() - began

    setattr(kind, name, watched)


@contextlib.contextmanager
def hanging_server() -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def report(turns: dict[str, Turn], steps: int) -> None:
    off = turns["off"].seconds
    print("| MLflow | ms a step | against off, median of rounds | main thread |\n|:--|--:|--:|--:|")
    for name, turn in turns.items():
        each = statistics.median(turn.seconds) / steps * 1e3
        ratios = [a / b - 1 for a, b in zip(turn.seconds, off, strict=True)]
        calls = SPENT.get(id(turn.trainer.run_dir), 0.0) + SPENT.get(id(turn.trainer.reporter.tracker), 0.0)
        print(f"| {name} | {each:.1f} | {statistics.median(ratios):+.2%} | {calls / sum(turn.seconds):.3%} |")


if __name__ == "__main__":
    main()
