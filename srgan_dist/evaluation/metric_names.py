"""Names of the perceptual metrics. Importing this does not load torch, so that help texts appear at once."""

from typing import Literal

PerceptualMetric = Literal["niqe", "lpips", "dists", "topiq"]
