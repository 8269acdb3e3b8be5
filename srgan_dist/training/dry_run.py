"""`--dry-run`: a few real steps, validation, saving and resuming, and an estimate of the full run's cost."""

import json
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate.utils import broadcast_object_list

from srgan_dist.distributed.accelerator import start
from srgan_dist.runs.metric_names import CROPS_PER_S, DISCRIMINATOR
from srgan_dist.training.config import PhaseConfig, TrainConfig, recorded
from srgan_dist.training.out_of_memory import explain_out_of_memory
from srgan_dist.training.run_state import with_epochs_as_steps
from srgan_dist.training.trainer import prepare
from srgan_dist.utils.memory import peak_memory
from srgan_dist.utils.serialization import flatten

_STEPS = 3
"""Steps per phase. The first ones include allocation and autotuning; the last one is measured."""


def rehearse(config: TrainConfig, *, allow_pipe: bool = False) -> str:
    """Run a short version of `config` in a temporary directory; return a report with the full run's time and memory.

    Args:
        allow_pipe: whether `data.stream` may contain shell commands.

    Raises:
        ValueError: if the full run could not start, for example because of its data, weights or processes.
        RuntimeError: if the resumed run is not at the step that was saved.
    """
    with _shared_folder(config) as folder, explain_out_of_memory(config):
        short = _shortened(config, folder / "run")
        with prepare(short, allow_pipe=allow_pipe) as trainer:
            trainer.run()
        done = _Done(trainer.state.step, trainer.state.crops_per_step, trainer.accelerator.device)
        memory = peak_memory(done.device)
        del trainer  # two sets of networks at once would need more memory than the real run
        with prepare(short, allow_pipe=allow_pipe) as resumed:
            resumed.resume()
        if resumed.state.step != done.step:
            raise RuntimeError(f"saved at step {done.step}, but resumed at step {resumed.state.step}")
        full = with_epochs_as_steps(config, resumed.feed.images, done.crops_per_step)
        return _report(full, done, memory, folder / "run")


class _Done(NamedTuple):
    step: int
    crops_per_step: int
    device: torch.device


@contextmanager
def _shared_folder(config: TrainConfig) -> Generator[Path]:
    """Yield a temporary folder of rank 0 that all processes use; it is deleted after all of them have left."""
    accelerator = start(config.mixed_precision, config.expect_world_size, config.threads)
    with tempfile.TemporaryDirectory(prefix="srgan-dry-run-") as own:
        names = [own]
        if accelerator.num_processes > 1:
            broadcast_object_list(names)
        yield Path(names[0])
        accelerator.wait_for_everyone()


def _shortened(config: TrainConfig, run: Path) -> TrainConfig:
    def shortened_phase(phase: PhaseConfig) -> PhaseConfig:
        return replace(phase, steps=min(phase.steps, _STEPS), epochs=None)

    return replace(
        config,
        run_dir=run,
        log_every=1,
        gradient_shares_every=_STEPS + 2,  # once in the second phase, but not at a step whose speed is measured
        time_limit=None,
        profile=0,
        pretrain=shortened_phase(config.pretrain),
        adversarial=shortened_phase(config.adversarial),
        discriminator_warmup=min(config.discriminator_warmup, 1),
        validation=replace(config.validation, every=_STEPS, images=min(config.validation.images, 2)),
        checkpoint=replace(config.checkpoint, every=_STEPS),
        tracking=replace(config.tracking, enabled=False),
    )


def _report(config: TrainConfig, done: _Done, peak: int, run: Path) -> str:
    """Return what people look for first, and then the settings that are not defaults."""
    crops, seconds = done.crops_per_step, []
    phases = [p for p in (config.pretrain, config.adversarial) if p.steps]
    lines: list[str] = []
    for phase, pace in zip(phases, _paces(run), strict=True):
        seconds.append(crops / pace * phase.steps)
        lines.append(f"{phase.label}: {phase.steps} steps of {crops / pace:.3g} s = {_hours(seconds[-1])}")
    memory = f"{peak / 2**30:.1f} GiB{' on the GPU' if done.device.type == 'cuda' else ''}"
    total = f"total: about {_hours(sum(seconds))}; peak memory: {memory} per process; crops per step: {crops}"
    ready = f"ready to train: ran {done.step} steps, validated, saved, and resumed at step {done.step}"
    return "\n".join([ready, total, *lines, "", "settings that are not defaults:", *_settings(config)]) + "\n"


def _settings(config: TrainConfig) -> list[str]:
    now, defaults = flatten(recorded(config)), flatten(recorded(TrainConfig()))
    return [f"  {name}: {json.dumps(value)}" for name, value in now.items() if defaults.get(name) != value]


def _paces(run: Path) -> list[float]:
    """Return the crops per second of the last step of each phase."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    rows = [r for r in rows if CROPS_PER_S in r]
    adversarial = [DISCRIMINATOR in r for r in rows]
    last = [i for i in range(len(rows)) if i == len(rows) - 1 or adversarial[i] != adversarial[i + 1]]
    return [rows[i][CROPS_PER_S] for i in last]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min"
