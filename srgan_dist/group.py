"""The processes that share one piece of work, as far as the lower layers need to know about them."""

from typing import Any, Protocol


class Group(Protocol):
    """Processes that work together; `Alone` when there is one."""

    rank: int
    size: int

    def gather(self, mine: list[Any]) -> list[Any]:
        """Everybody's lists, one behind the other, on every process. Waits for all."""
        ...


class Alone:
    """A group of one."""

    rank = 0
    size = 1

    def gather(self, mine: list[Any]) -> list[Any]:
        """What came in."""
        return mine
