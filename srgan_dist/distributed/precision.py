"""The number formats that networks compute in."""

from typing import Literal

Precision = Literal["no", "fp16", "bf16"]
"""no is float32 throughout."""
MixedPrecision = Literal["auto", "no", "fp16", "bf16"]
"""auto: what the launcher was told, else bf16 or fp16 as the GPU has it, and no on a CPU."""
