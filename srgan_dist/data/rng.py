"""Random numbers as pure functions of (seed, stream, counter): entire arrays at once, without a generator state."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


def hashed(seed: int, stream: int, counter: Indices) -> Indices:
    """Return well-mixed 64-bit values of (seed, stream, counter), in the shape of `counter`.

    The mixing function is the finalizer of SplitMix64, applied twice.
    """
    start = np.uint64(hash_one(seed, stream))
    return _mix(_mix(counter + np.uint64(_GOLDEN)) ^ start)


def hashed_table(seed: int, numbers: NDArray[np.int64], stream: int, count: int) -> Indices:
    """Return well-mixed 64-bit values of (seed, number, stream, 0 .. count - 1), shape (len(numbers), count)."""
    seeds = hashed(seed, stream, numbers.astype(np.uint64))
    return _mix(_mix(np.arange(count, dtype=np.uint64) + np.uint64(_GOLDEN)) ^ seeds[:, None])


@lru_cache(maxsize=256)
def hash_one(seed: int, number: int) -> int:
    """Return one well-mixed 64-bit value of (seed, number)."""
    mixed = _mix(_mix(np.array([(seed + _GOLDEN) & _MASK], np.uint64)) + np.uint64((number * _GOLDEN) & _MASK))
    return int(mixed[0])


def below(random: Indices, limit: Indices) -> NDArray[np.int64]:
    """Return uniform integers in [0, limit), from the upper 32 bits; `limit` must be far below 2^32."""
    return (((random >> np.uint64(32)) * limit) >> np.uint64(32)).astype(np.int64)


def unit(random: Indices) -> NDArray[np.float64]:
    """Return uniform numbers in [0, 1) with 53 random bits."""
    return (random >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(z: Indices) -> Indices:
    """Apply the finalizer of SplitMix64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
