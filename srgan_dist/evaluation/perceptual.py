"""LPIPS, DISTS and NIQE, through pyiqa, an optional extra. Only this module imports it."""

import importlib
from typing import Any

import torch

from srgan_dist.distributed.group import Group
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.evaluation.metrics import Scores
from srgan_dist.imaging.images import Pixels


class Perceptual:
    """The metrics of that name; lower is better for all of them. Whole images, RGB, no border removed.

    Raises:
        ValueError: pyiqa or a metric's weights are not there.
    """

    def __init__(self, names: tuple[PerceptualMetric, ...], device: str) -> None:
        self._device = device
        self._metrics = {name: _create(name, device) for name in names}

    def __call__(self, sr: Pixels, hr: Pixels) -> Scores:
        """Every metric of one image."""
        ours, original = self._batch(sr), self._batch(hr)
        return {n: float(m(ours) if n == "niqe" else m(ours, original)) for n, m in self._metrics.items()}

    def _batch(self, image: Pixels) -> torch.Tensor:
        return torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None].float() / 255


def open_perceptual(names: tuple[PerceptualMetric, ...], device: str, group: Group) -> Perceptual | None:
    """Open metrics on every process of a group, of which one on each machine fetches their weights; None for no names.

    Raises:
        ValueError: see `Perceptual`.
    """
    if not names:
        return None
    with group.local_main_first():
        return Perceptual(names, device)


def _create(name: PerceptualMetric, device: str) -> Any:
    try:
        pyiqa = importlib.import_module("pyiqa")
    except ImportError:
        raise ValueError(f"{name} needs pyiqa: pip install 'srgan-dist[perceptual]'") from None
    try:
        return pyiqa.create_metric(name, device=torch.device(device))
    except Exception as error:  # whatever the downloads below pyiqa raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{name}: its weights are not on this machine and could not be fetched ({reason}); run it once where there "
            "is network, and copy the folders that TORCH_HOME and HF_HOME name"
        ) from error
