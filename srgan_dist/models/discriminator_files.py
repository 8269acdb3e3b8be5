"""Discriminators as files: saving them beside their generator, and starting another run from them."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor, nn

from srgan_dist.models import DiscriminatorConfig
from srgan_dist.models.files import read_model_file
from srgan_dist.models.state_dicts import describe, unwrapped
from srgan_dist.runs import checkpoint
from srgan_dist.runs.opening import is_run, open_run
from srgan_dist.runs.run_dir import RunDir
from srgan_dist.utils.files import output_errors, write_bytes
from srgan_dist.utils.serialization import to_dict

_HEADER = "srgan_dist_discriminator"
"""Key of this package's notes in the safetensors header; not a generator's, so that no command opens it as one."""


def save_discriminator(file: Path, weights: dict[str, Tensor], config: DiscriminatorConfig, hr_crop: int) -> None:
    """Write a discriminator's weights to a safetensors file, atomically.

    Args:
        file: The file to write. Its folder is created if necessary.
        weights: Its parameters and buffers by name.
        config: The config that built it.
        hr_crop: Side of the crops that it was built for, in HR pixels.

    Raises:
        ValueError: If the file cannot be written.
    """
    about: dict[str, Any] = {"discriminator": to_dict(config, DiscriminatorConfig), "hr_crop": hr_crop}
    content = {name: t.detach().contiguous().cpu() for name, t in weights.items()}
    with output_errors(file):
        write_bytes(save(content, metadata={_HEADER: json.dumps(about)}), file)


def load_discriminator_weights(network: nn.Module, source: Path) -> None:
    """Load a discriminator's weights into a network.

    Args:
        network: The network to load into.
        source: An exported or published file, a checkpoint of an adversarial phase, or a run directory (its exported
            discriminator, or its last checkpoint).

    Raises:
        ValueError: If there is no such source, it contains no discriminator, or it is another one.
    """
    given, expected = read_discriminator_weights(source), network.state_dict()
    problems = [f"{k} is missing" for k in expected if k not in given]
    problems += [f"{k} is unknown" for k in given if k not in expected]
    problems += [
        f"{k} has shape {tuple(given[k].shape)}, expected {tuple(v.shape)}"
        for k, v in expected.items()
        if k in given and given[k].shape != v.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(
            f"--discriminator-weights {source}: the weights do not match this {type(network).__name__} "
            f"({'; '.join(problems[:3])}{more}). The file appears to contain {describe(given)}; set "
            "--discriminator.type and its sizes to match. A VGG-style discriminator fits one --data.hr-crop only"
        )
    network.load_state_dict(given)


def read_discriminator_weights(source: Path) -> dict[str, Tensor]:
    """Return a discriminator's parameters by name, from any source of `load_discriminator_weights`.

    Raises:
        ValueError: If there is no such source, or it contains no discriminator.
    """
    path = checkpoint.resolve(source)
    if path.is_dir() and is_run(path):
        path = _in_run(path)
    if path.is_file():
        return read_model_file(path).weights
    if not (path / checkpoint.COMPLETE).is_file():
        raise ValueError(f"--discriminator-weights {source}: there is no such file, checkpoint or run directory")
    networks = checkpoint.load(path)["networks"]["networks"]
    if len(networks) < 2:
        raise ValueError(f"{path} is from the pretraining phase, which has no discriminator; choose a later checkpoint")
    return unwrapped(networks[1]["network"])


def _in_run(run: Path) -> Path:
    """Return the exported discriminator of a run, or else its last checkpoint."""
    exported = sorted(RunDir.models_of(run).glob(f"*{RunDir.DISCRIMINATOR}"))
    return exported[-1] if exported else open_run(run, checkpoint.LAST).path
