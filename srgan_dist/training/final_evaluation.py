"""The results of a run: each phase's generator as a file, and their evaluation against interpolation."""

from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from srgan_dist.data.shards.shard_set import ShardSet
from srgan_dist.distributed.accelerator import AcceleratorGroup
from srgan_dist.evaluation.comparison import compare_phases
from srgan_dist.evaluation.evaluation_set import shard_evaluation_set
from srgan_dist.evaluation.results import Evaluation
from srgan_dist.models.files import load_generator, load_weights, save_generator
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.training.config import PhaseConfig, TrainConfig
from srgan_dist.utils.addresses import public
from srgan_dist.utils.progress import progress_bar


def export_phase(
    config: TrainConfig, phase: PhaseConfig, run_dir: RunDir, network: nn.Module, about: dict[str, Any]
) -> Path:
    """Write a phase's generator to the run directory, and return the file.

    Args:
        config: The run's configuration.
        phase: The phase that has ended; its label is the file's name.
        run_dir: The run directory.
        network: The generator to export, without wrappers.
        about: Further notes for the file's header; see `save_generator`.

    Raises:
        ValueError: If the file cannot be written.
    """
    file = run_dir.model(phase.label)
    save_generator(file, network, config.generator, {"label": phase.label, "scale": config.scale} | about)
    return file


def open_models_early(config: TrainConfig, accelerator: Accelerator) -> None:
    """Open the models that are needed late once before training, so that missing or unsuitable ones fail now.

    One process per machine downloads and reads them while the others wait.

    Raises:
        ValueError: If `adversarial_weights` or `compare_with` cannot be loaded, or have another network or scale.
    """
    with accelerator.local_main_process_first():
        if not accelerator.is_local_main_process:
            return
        if config.adversarial_weights and config.adversarial.steps:
            load_weights(config.generator.build(config.scale), config.adversarial_weights)
        for source in config.compare_with:
            if (model := load_generator(source)).scale != config.scale:
                raise ValueError(f"compare_with: {source} is x{model.scale}, but the run has scale={config.scale}")


def evaluate_run(
    config: TrainConfig, run_dir: RunDir, held_out: ShardSet | None, accelerator: Accelerator
) -> Evaluation | None:
    """Evaluate the exported generators of all phases, and `compare_with`, against interpolation on the held-out images.

    The first process writes the scores, the figure and the comparison page to the run directory.

    Args:
        config: The run's configuration.
        run_dir: The run directory.
        held_out: The held-out pairs.
        accelerator: The processes that share the images, and their device.

    Returns:
        The scores, which are the same on every process, or None if there are no held-out images.
    """
    if held_out is None:
        return None
    files = tuple(run_dir.model(p.label) for p in (config.pretrain, config.adversarial) if p.steps)
    evaluation_set = shard_evaluation_set(held_out, Path(public(config.data.shards[0])).name)
    group, device = AcceleratorGroup(accelerator), str(accelerator.device)
    return compare_phases(run_dir.path, (*files, *config.compare_with), evaluation_set, group, progress_bar, device)
