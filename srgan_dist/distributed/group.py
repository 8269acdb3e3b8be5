"""The processes that share one piece of work, as far as the lower layers need to know about them."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

ProgressFn = Callable[[Iterable[Any], str], Iterable[Any]]
"""Hands items through and shows, under a label, how far along they are: `silent`, or `progress.bar`."""


class AgreedError(ValueError):
    """A user's error that every process raises alike; the first one shows it."""


class Group(Protocol):
    """Processes that work together; `Alone` when there is one."""

    @property
    def rank(self) -> int:
        """This process's number, from 0."""
        ...

    @property
    def size(self) -> int:
        """How many there are."""
        ...

    def gather(self, mine: list[Any]) -> list[Any]:
        """Everybody's lists, one behind the other, on every process. Waits for all."""
        ...

    def one_first(self) -> AbstractContextManager[object]:
        """Inside, one process of each machine works before the others: what it fetches is there for them."""
        ...


class SingleProcess:
    """A group of one."""

    rank: int = 0
    size: int = 1

    def gather(self, mine: list[Any]) -> list[Any]:
        """What came in."""
        return mine

    def one_first(self) -> AbstractContextManager[object]:
        """Waits for nobody."""
        return nullcontext()


def no_progress(items: Iterable[Any], label: str) -> Iterable[Any]:
    """The items, with nothing shown."""
    del label
    return items
