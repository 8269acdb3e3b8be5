"""System metrics (CPU, memory, disk, network, GPU): sampled by MLflow's monitors, sent like all other metrics.

MLflow's own sampling thread ends at the first failed request; written to the journal, the samples survive an outage.
"""

import os
import threading
import time
from contextlib import suppress
from typing import Any

from srgan_dist.tracking.points import points
from srgan_dist.utils.jsonl import Journal

_SECONDS = 10.0
"""Default sampling interval."""
PREFIX = "system/"
"""Prefix of the metrics, under which MLflow shows them on a page of their own."""


class SystemMetrics:
    """A thread that samples every ten seconds, or every `MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL` seconds.

    Args:
        journal: receives one line per sample.
        first: step of the first sample.
    """

    def __init__(self, journal: Journal, first: int) -> None:
        self._monitors = _monitors()
        self._journal, self._step, self._stop = journal, first, threading.Event()
        self._seconds = float(os.environ.get("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", _SECONDS))
        self._thread = threading.Thread(target=self._sample, name="system metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop sampling."""
        self._stop.set()

    def _sample(self) -> None:
        while not self._stop.wait(self._seconds):
            line: dict[str, Any] = {"step": self._step, "time": round(time.time(), 3)}
            for monitor in self._monitors:
                with suppress(Exception):  # a monitor that fails is missing from this sample
                    monitor.collect_metrics()
                    line |= {PREFIX + name: float(value) for name, value in monitor.aggregate_metrics().items()}
                monitor.clear_metrics()
            self._journal.append(line)
            self._step += 1


def _monitors() -> list[Any]:
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    found: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    with suppress(Exception):  # without a supported GPU, MLflow raises one of several exceptions
        found.append(GPUMonitor())
    return found


def enabled() -> bool:
    """Return whether to log system metrics: yes, unless `MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING` is false."""
    return os.environ.get("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true").lower() not in ("false", "0")


def next_sample(journal: Journal, sent: dict[str, int]) -> int:
    """Return the step after the last sample that was sent or is waiting to be sent."""
    waiting = journal.file.read_text("utf-8").splitlines() if journal.file.exists() else []
    steps = [p.step for line in waiting for p in points(line) if p.name.startswith(PREFIX)]
    return max([-1, *steps, *(step for name, step in sent.items() if name.startswith(PREFIX))]) + 1
