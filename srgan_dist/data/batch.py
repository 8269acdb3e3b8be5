"""What flows from the reader to the step."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Pair(NamedTuple):
    """A batch on its device: lr (B, 3, h, w) and hr (B, 3, s*h, s*w), RGB in [0, 1], channels_last."""

    lr: Tensor
    hr: Tensor
    indices: NDArray[np.uint64] | None = None
    """Which crops of the run these are, (B,)."""
    sharpened: Tensor | None = None
    """What a degradation wants pixel and content terms to compare with, where that is not hr."""

    def split(self, parts: int) -> list["Pair"]:
        """A batch fresh from the reader in so many equal parts, one after the other."""
        size = len(self.hr) // parts
        indices = np.empty(0, np.uint64) if self.indices is None else self.indices
        ends = [slice(i * size, (i + 1) * size) for i in range(parts)]
        return [Pair(self.lr[e], self.hr[e], indices[e]) for e in ends] if parts > 1 else [self]

    @property
    def target(self) -> Tensor:
        """What pixel and content terms compare with; the discriminator sees hr."""
        return self.hr if self.sharpened is None else self.sharpened


class RawBatch(NamedTuple):
    """A batch as it leaves the CPU: uint8 NHWC, and the orientation that the device will apply."""

    lr: Tensor
    hr: Tensor
    orientation: Tensor
    indices: NDArray[np.uint64]
