"""Measures where the time from the command to the first step goes."""

import time

import psutil

from srgan_dist.distributed.launcher import find_launcher


class Startup:
    """A timer that starts with the command: when the launcher started, or this process if there is no launcher."""

    def __init__(self) -> None:
        launcher, own = find_launcher(), psutil.Process().create_time()
        self._started = launcher.create_time() if launcher else own
        self._last_mark = own
        self._parts = {"launcher": own - self._started} if launcher else {}

    def mark(self, part: str) -> None:
        """Attribute the time since the previous mark to `part`."""
        now = time.time()
        self._parts[part] = self._parts.get(part, 0.0) + now - self._last_mark
        self._last_mark = now

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self._parts.items())
        return f"{self._last_mark - self._started:.1f} s from the command to the first step: {parts}"
