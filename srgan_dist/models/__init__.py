"""Generators and discriminators. A new generator takes one file here and one line in `GeneratorConfig`."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from srgan_dist.models.compact import CompactConfig
from srgan_dist.models.discriminators import UNetDiscriminatorConfig, VGGDiscriminatorConfig
from srgan_dist.models.rrdbnet import RRDBNetConfig
from srgan_dist.models.spandrel import SpandrelConfig
from srgan_dist.models.srresnet import SRResNetConfig

GeneratorConfig = SRResNetConfig | RRDBNetConfig | CompactConfig | SpandrelConfig
DiscriminatorConfig = VGGDiscriminatorConfig | UNetDiscriminatorConfig

__all__ = [
    "CompactConfig",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "RRDBNetConfig",
    "SRResNetConfig",
    "SpandrelConfig",
    "UNetDiscriminatorConfig",
    "VGGDiscriminatorConfig",
    "architecture",
    "restore",
]


def architecture(config: GeneratorConfig) -> GeneratorConfig:
    """Return the config to store with exported weights: options that only affect training are reset."""
    return replace(config, recompute=False) if isinstance(config, RRDBNetConfig) else config


def restore(config: GeneratorConfig, scale: int, state: Mapping[str, Tensor]) -> nn.Module:
    """Build the generator that `config` describes and load `state` into it.

    Raises:
        ValueError: If the scale is not supported, or spandrel is needed and not installed.
    """
    if isinstance(config, SpandrelConfig):  # `config.file` may no longer exist
        return config.rebuild(scale, state)
    network = config.build(scale)
    network.load_state_dict(state)
    return network
