"""Which images of a folder are held out of training for validation."""

import hashlib
from collections.abc import Collection, Mapping

from srgan_dist.data.shards.manifest import Split

_MIN_IMAGES, _MIN_COUNT, _FRACTION, _MAX_FRACTION = 40, 4, 0.02, 0.1


def choose_held_out(names: Collection[str], valid: float | None, packed: Mapping[str, Split]) -> set[str]:
    """Return the names of the images to hold out.

    Each name has a number in [0, 1), from its hash. A fraction holds out the images whose number is smaller: adding
    images moves none. A count holds out those with the smallest numbers, but images that were packed before keep their
    split.

    Args:
        names: unique names of the images.
        valid: a count (1 or more), a fraction (below 1), 0 for none, or None for the default: 2 percent, at least 4 and
            at most a tenth, of 40 images or more.
        packed: split of each image that the folder already holds, from an earlier packing.

    Raises:
        ValueError: `valid` is negative, not a whole number above 1, or would leave no image to train on.
    """
    if valid is None and len(names) < _MIN_IMAGES:
        return set()
    if valid is not None and (valid < 0 or (valid > 1 and valid != int(valid))):
        raise ValueError(f"--valid {valid:g} must be a number of images, or a fraction below 1")
    by_number = sorted(names, key=_number)
    if valid is not None and valid < 1:
        chosen = {name for name in names if _number(name) < valid}
        chosen |= set(by_number[:1]) if valid and not chosen else set()
    else:
        default = min(max(_MIN_COUNT, round(_FRACTION * len(names))), int(_MAX_FRACTION * len(names)))
        count = default if valid is None else int(valid)
        first = [name for name in by_number if packed.get(name) == "valid"]
        new = [name for name in by_number if name not in packed]
        rest = [name for name in by_number if packed.get(name) == "train"]
        # Images trained on before are only held out if nothing was held out then: they have been seen.
        chosen = set((first + new + ([] if first else rest))[: max(count, len(first))])
    if len(chosen) >= len(names):
        raise ValueError(f"--valid {valid:g} would hold out all {len(names)} images")
    return chosen


def _number(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8], "big") / 2**64
