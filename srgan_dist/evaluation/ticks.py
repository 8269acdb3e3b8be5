"""Round values at which an axis is labeled."""

import math


def round_ticks(values: list[float], margin: float = 0.08) -> list[float]:
    """Return about five round values that enclose all of these.

    Args:
        values: Finite values.
        margin: Room at both ends, as a share of their range; there is at least 0.05 if it is not 0.
    """
    low, high = min(values), max(values)
    room = max(margin * (high - low), 0.05) if margin else 0.0
    low, high = low - room, high + room
    rough = (high - low) / 5 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(n * step, 10) for n in range(first, max(last, first + 1) + 1)]


def decades(values: list[float]) -> list[float]:
    """Return the powers of ten that enclose these positive values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**n for n in range(low, max(high, low + 1) + 1)]
