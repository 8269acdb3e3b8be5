"""`--profile STEPS`: where the time of a few steps goes."""

import logging
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from srgan_dist.utils.files import atomic_path, write_text

log = logging.getLogger("srgan_dist")

_WAIT, _WARM_UP = 3, 2
"""Steps that are not recorded: the first ones allocate, tune and compile."""
TRACE, OPERATIONS = "trace.json.gz", "operations.txt"


class Profiler:
    """Records steps with torch's profiler; does nothing where none are to be recorded.

    Args:
        steps: how many.
        folder: gets `trace.json.gz`, for ui.perfetto.dev, and `operations.txt`, the ten dearest operations.
        device: where the steps run.
    """

    def __init__(self, steps: int, folder: Path, device: torch.device) -> None:
        self._folder, self._device, self._steps = folder, device, steps
        self._profile = self._start() if steps > 0 else None

    def _start(self) -> Any:
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (self._device.type == "cuda")
        plan = schedule(wait=_WAIT, warmup=_WARM_UP, active=self._steps, repeat=1)
        started = profile(activities=activities, schedule=plan, on_trace_ready=self._write)
        started.start()
        return started

    def step(self) -> None:
        """Count one step of the run."""
        if self._profile:
            self._profile.step()

    def close(self) -> None:
        """Write what was recorded, if the run ended before all steps were."""
        if self._profile:
            self._profile.stop()
            self._profile = None
            if not (self._folder / TRACE).exists():
                log.warning("--profile: the run ended before step %d, nothing was recorded", _WAIT + _WARM_UP + 1)

    def _write(self, recorded: Any) -> None:
        try:
            self._write_files(recorded)
        except (OSError, RuntimeError) as error:  # a full disk; training must not end for it
            log.warning("--profile: %s could not be written (%s)", self._folder, error)

    def _write_files(self, recorded: Any) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        cuda = self._device.type == "cuda"
        order = "self_device_time_total" if cuda else "self_cpu_time_total"
        table = recorded.key_averages().table(sort_by=order, row_limit=10, max_name_column_width=40)
        with atomic_path(self._folder / TRACE, ".gz") as partial:  # torch compresses by the suffix
            recorded.export_chrome_trace(str(partial))
        write_text(f"The ten dearest operations of {self._steps} steps.\n{table}", self._folder / OPERATIONS)
        log.info("profiled %d steps: %s and %s", self._steps, self._folder / TRACE, self._folder / OPERATIONS)
