"""How LR is made from HR on the device. A new degradation is one file here and one line in `DegradationConfig`.

A degradation is a config with `build(scale, seed)`, which gives a function of HR crops and their indices: a pure one,
so that any number of processes and any resumed run see the same LR.
"""

from srgan_dist.data.degradations.realesrgan import Degraded, RealESRGANDegradation

DegradationConfig = RealESRGANDegradation

__all__ = ["DegradationConfig", "Degraded", "RealESRGANDegradation"]
