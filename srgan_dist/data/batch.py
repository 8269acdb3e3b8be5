"""Batches on their way from the reader to the training step."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Pair(NamedTuple):
    """A batch on its device: lr (B, 3, h, w) and hr (B, 3, s*h, s*w), float RGB in [0, 1], channels_last."""

    lr: Tensor
    hr: Tensor
    indices: NDArray[np.uint64] | None = None
    """Numbers of the crops within the run, (B,)."""
    sharpened: Tensor | None = None
    """Target of the pixel and content terms if it is not hr; same shape as hr."""
    offsets: NDArray[np.int64] | None = None
    """Until a degradation with a margin has been applied, hr contains the crops with their margin, and these are the
    top and left edges of the crops within hr, in LR pixels, (B, 2)."""

    def split(self, parts: int) -> list["Pair"]:
        """Return the batch in `parts` consecutive parts of equal size; `parts` must divide B.

        Only for a batch as the reader returns it: `sharpened` is dropped.
        """
        size = len(self.hr) // parts
        indices = np.empty(0, np.uint64) if self.indices is None else self.indices
        ranges = [slice(i * size, (i + 1) * size) for i in range(parts)]
        offsets = [None if self.offsets is None else self.offsets[r] for r in ranges]
        split = zip(ranges, offsets, strict=True)
        return [Pair(self.lr[r], self.hr[r], indices[r], offsets=o) for r, o in split] if parts > 1 else [self]

    @property
    def target(self) -> Tensor:
        """The image that pixel and content terms compare with; the discriminator sees hr."""
        return self.hr if self.sharpened is None else self.sharpened


class RawBatch(NamedTuple):
    """A batch on the CPU: lr (B, h, w, 3) and hr (B, s*h, s*w, 3), uint8 RGB, not yet oriented."""

    lr: Tensor
    hr: Tensor
    orientation: Tensor
    """Orientations that the device will apply, uint8 (B,); see `crop_plan.Crops`."""
    indices: NDArray[np.uint64]
    """Numbers of the crops within the run, (B,)."""
    offsets: NDArray[np.int64] | None = None
    """See `Pair.offsets`."""
