"""LPIPS, DISTS and TOPIQ, computed by the optional package pyiqa. Only this module imports it."""

import importlib
from typing import Any

import torch

from srgan_dist.distributed.group import Group
from srgan_dist.evaluation.metric_names import PerceptualMetric
from srgan_dist.evaluation.metrics import Scores
from srgan_dist.imaging.images import Pixels


class Perceptual:
    """Perceptual metrics of complete RGB images against the original, without removing a border.

    Lower is better for LPIPS and DISTS, higher for TOPIQ.

    Args:
        names: The metrics to compute.
        device: The torch device to run on.

    Raises:
        ValueError: If pyiqa is not installed, or a metric's weights cannot be downloaded.
    """

    def __init__(self, names: tuple[PerceptualMetric, ...], device: str) -> None:
        self._device = device
        self._metrics = {name: _create(name, device) for name in names}

    def __call__(self, sr: Pixels, hr: Pixels) -> Scores:
        """Return every metric of `sr` against `hr`, (H, W, 3) uint8 RGB."""
        result, original = self._batch(sr), self._batch(hr)
        return {name: float(metric(result, original)) for name, metric in self._metrics.items()}

    def _batch(self, image: Pixels) -> torch.Tensor:
        return torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None].float() / 255


def open_perceptual(names: tuple[PerceptualMetric, ...], device: str, group: Group) -> Perceptual | None:
    """Create metrics on every process of a group, or return None if no name but `niqe` is given, which is our own.

    One process per machine goes first and downloads the weights.

    Raises:
        ValueError: See `Perceptual`.
    """
    names = tuple(name for name in names if name != "niqe")
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
        return pyiqa.create_metric("topiq_fr" if name == "topiq" else name, device=torch.device(device))
    except Exception as error:  # the exception types depend on the library that pyiqa downloads with
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{name}: its weights are not on this machine and could not be downloaded ({reason}); run the command "
            "once with network access, and copy the folders that TORCH_HOME and HF_HOME name"
        ) from error
