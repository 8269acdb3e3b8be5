"""The processes that share a piece of work, as an interface without torch or Accelerate.

"Collective" in a docstring means that every process has to call the function, or the others wait for it.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from srgan_dist.utils.terminal import ListedError

ProgressFn = Callable[[Iterable[Any], str], Iterable[Any]]
"""Yields the items and shows progress under a label: `no_progress`, or `utils.progress.progress_bar`."""


class AgreedError(ListedError):
    """A user error that every process raises alike; only rank 0 prints it."""


class Group(Protocol):
    """Processes that work together; `SingleProcess` if there is only one."""

    @property
    def rank(self) -> int:
        """Index of this process, from 0."""
        ...

    @property
    def size(self) -> int:
        """Number of processes."""
        ...

    def gather(self, items: list[Any]) -> list[Any]:
        """Return the lists of all processes, concatenated in rank order, on every process. Collective."""
        ...

    def local_main_first(self) -> AbstractContextManager[object]:
        """Return a context in which one process per machine runs first, so that the others find what it downloaded."""
        ...


class SingleProcess:
    """A group of one process."""

    rank: int = 0
    size: int = 1

    def gather(self, items: list[Any]) -> list[Any]:
        """Return the list itself."""
        return items

    def local_main_first(self) -> AbstractContextManager[object]:
        """Return a context that does nothing."""
        return nullcontext()


def no_progress(items: Iterable[Any], label: str) -> Iterable[Any]:
    """Return the items without showing any progress."""
    del label
    return items
