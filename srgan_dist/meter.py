"""Means of the loss terms, kept on the device and read once every so many steps."""

import time
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from srgan_dist.steps import Terms


class Meter:
    """Adds up terms without waiting for the device; `read` reduces over all processes once."""

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._sums: dict[str, Tensor] = {}
        self._steps = 0
        self._since, self._timed, self._waited = time.perf_counter(), 0, 0.0

    def add(self, terms: Terms, waited: float) -> None:
        """One step's terms, and the seconds that it waited for data."""
        if not self._steps:
            self._sums = {name: torch.zeros_like(t) for name, t in terms.items()}
        for name, term in terms.items():
            self._sums[name] += term
        self._steps += 1
        self._timed += 1
        self._waited += waited

    def read(self, crops: int) -> dict[str, float]:
        """Means since the last read over steps and processes, and the pace; starts anew.

        Args:
            crops: per step, of all processes together.
        """
        packed = torch.stack(list(self._sums.values())) / self._steps
        means: list[float] = self._accelerator.reduce(packed, "mean").tolist()  # type: ignore[union-attr]
        seconds = time.perf_counter() - self._since
        pace = {"crops_per_s": self._timed * crops / seconds, "data_wait": self._waited / seconds}
        numbers = dict(zip(self._sums, means, strict=True)) | pace
        self._steps = 0
        self._since, self._timed, self._waited = time.perf_counter(), 0, 0.0
        return numbers

    def state_dict(self) -> dict[str, Any]:
        """The unread sums of this process."""
        return {"sums": dict(self._sums), "steps": self._steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self._sums = {name: t.to(self._accelerator.device) for name, t in state["sums"].items()}
        self._steps = state["steps"]
