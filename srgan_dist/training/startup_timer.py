"""Where the time from the command to the first step goes."""

import time

import psutil

from srgan_dist.distributed.launcher import find_launcher


class Startup:
    """A clock that began when the command was given: at the launcher's start, where there is one."""

    def __init__(self) -> None:
        launcher, own = find_launcher(), psutil.Process().create_time()
        self._began = launcher.create_time() if launcher else own
        self._marked = own
        self._parts = {"launcher": own - self._began} if launcher else {}

    def mark(self, part: str) -> None:
        """What has just ended, since the mark before."""
        now = time.time()
        self._parts[part] = self._parts.get(part, 0.0) + now - self._marked
        self._marked = now

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self._parts.items())
        return f"{self._marked - self._began:.1f} s from the command to the first step: {parts}"
