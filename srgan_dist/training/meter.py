"""Means of the loss terms, kept on the device and read once every so many steps."""

import time
from collections import defaultdict
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from srgan_dist.training.flops import peak_tflops
from srgan_dist.training.steps import StepMetrics
from srgan_dist.utils.memory import peak_memory
from srgan_dist.utils.renamed import current_name

Names = tuple[str, ...]


class Meter:
    """Adds up terms without waiting for the device; `read` reduces over all processes once.

    Skipped steps count in `skipped` only, so that one NaN does not hide a window of good numbers.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._rows: dict[Names, Tensor] = {}
        """For every set of terms that came: their sums, then how many steps counted, then how many there were."""
        self._since, self._steps, self._waited = time.perf_counter(), 0, 0.0
        self.flops_per_crop = 0.0
        """Of the phase that the run is in; 0 or NaN where it is not known."""

    def add(self, terms: StepMetrics, skipped: Tensor, waited: float) -> None:
        """One step's terms, whether it was skipped (bool scalar), and the seconds that it waited for data."""
        names, one = tuple(terms), torch.ones((), device=skipped.device)
        values = torch.where(skipped, 0.0, torch.stack([*(t.float() for t in terms.values()), one]))
        row = torch.cat([values, one[None]])
        self._rows[names] = self._rows[names] + row if names in self._rows else row
        self._steps += 1
        self._waited += waited

    def read(self, crops: int) -> dict[str, float]:
        """Means since the last read over steps and processes, and the pace; starts anew.

        Args:
            crops: per step, of all processes together.
        """
        packed: Tensor = self._accelerator.reduce(torch.cat(list(self._rows.values())), "sum")  # pyright: ignore
        means = _means(self._rows, packed.tolist())
        seconds = time.perf_counter() - self._since
        pace = self._steps * crops / seconds
        about = {"crops_per_s": pace, "data_wait": self._waited / seconds} | self._usage(pace)
        self._rows = {}
        self._since, self._steps, self._waited = time.perf_counter(), 0, 0.0
        return means | about

    def _usage(self, pace: float) -> dict[str, float]:
        """How much of the hardware is used: 10^12 operations a second of all processes, of the peak, and memory."""
        device = self._accelerator.device
        used = {"memory_gib": peak_memory(device) / 2**30}
        if self.flops_per_crop > 0:  # not 0 or NaN
            used["tflops"] = self.flops_per_crop * pace / 1e12
            peak = peak_tflops(device)
            used |= {"of_peak": used["tflops"] / (peak * self._accelerator.num_processes)} if peak else {}
        return used

    def state_dict(self) -> dict[str, Any]:
        """The unread sums of every process; all of them have to call this."""
        rows = {names: self._accelerator.gather(row[None]) for names, row in self._rows.items()}
        return {"names": [list(names) for names in rows], "rows": list(rows.values())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave; with another number of processes the first one carries the sums on."""
        rank, size, device = (getattr(self._accelerator, n) for n in ("process_index", "num_processes", "device"))
        for names, rows in zip(state["names"], state["rows"], strict=True):
            names = [current_name(f"train/{n}").removeprefix("train/") for n in names]
            alone = torch.zeros_like(rows[:size])
            mine = rows[rank] if len(rows) == size else rows.sum(0) if rank == 0 else alone[0]
            self._rows[tuple(names)] = mine.to(device)


def _means(rows: dict[Names, Tensor], numbers: list[float]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, float] = defaultdict(float)
    start = 0
    for names in rows:
        *values, good, all_steps = numbers[start : start + len(names) + 2]
        start += len(names) + 2
        for name, value in zip(names, values, strict=True):
            sums[name] += value
            counts[name] += good
        sums["skipped"] += all_steps - good
        counts["skipped"] += all_steps
    return {name: sums[name] / counts[name] for name in sums if counts[name]}
