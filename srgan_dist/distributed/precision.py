"""The floating-point formats that networks compute in."""

from typing import Literal

Precision = Literal["no", "fp16", "bf16"]
"""no is float32 throughout."""
MixedPrecision = Literal["auto", "no", "fp16", "bf16"]
"""auto takes the launcher's setting, else bf16 or fp16 depending on the GPU, and no on the CPU."""
