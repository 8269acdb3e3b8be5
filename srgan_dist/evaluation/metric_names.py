"""The perceptual metrics by name. Loads without torch, so that help texts show at once."""

from typing import Literal

PerceptualMetric = Literal["lpips", "dists", "niqe"]
