"""Degradations that make LR from HR on the device. A new one is a file here and a line in `DegradationConfig`.

A degradation is a config whose `build(scale, seed)` returns a function of HR crops and their indices. It must be pure,
so that LR is the same for any number of processes and after any resume.
"""

from srgan_dist.data.degradations.realesrgan import Degraded, RealESRGANDegradation
from srgan_dist.data.degradations.strengths import LightDegradation, MediumDegradation

DegradationConfig = RealESRGANDegradation | MediumDegradation | LightDegradation

__all__ = ["DegradationConfig", "Degraded", "LightDegradation", "MediumDegradation", "RealESRGANDegradation"]
