"""The networks. A new generator is one file here and one line in `GeneratorConfig`."""

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
    """What belongs into a file of weights: the config without what matters while training alone."""
    return replace(config, recompute=False) if isinstance(config, RRDBNetConfig) else config


def restore(config: GeneratorConfig, scale: int, state: Mapping[str, Tensor]) -> nn.Module:
    """The generator with these weights."""
    if isinstance(config, SpandrelConfig):  # the file that it came from may be gone
        return config.rebuild(scale, state)
    network = config.build(scale)
    network.load_state_dict(state)
    return network
