"""Generators and discriminators. A new generator takes one file here and one line in `GeneratorConfig`."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from srgan_dist.models.compact import CompactConfig
from srgan_dist.models.discriminators import UNetDiscriminatorConfig, VGGDiscriminatorConfig
from srgan_dist.models.light_edsr import LightEDSRConfig
from srgan_dist.models.rrdbnet import RRDBNetConfig
from srgan_dist.models.spandrel import SpandrelConfig
from srgan_dist.models.srresnet import SRResNetConfig
from srgan_dist.models.state_dicts import load_compatible_state_dict

GeneratorConfig = SRResNetConfig | RRDBNetConfig | CompactConfig | LightEDSRConfig | SpandrelConfig
DiscriminatorConfig = VGGDiscriminatorConfig | UNetDiscriminatorConfig

__all__ = [
    "CompactConfig",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "LightEDSRConfig",
    "RRDBNetConfig",
    "SRResNetConfig",
    "SpandrelConfig",
    "UNetDiscriminatorConfig",
    "VGGDiscriminatorConfig",
    "architecture",
    "restore",
]


def architecture(config: GeneratorConfig) -> GeneratorConfig:
    """Return the config to store with exported weights, without options that only affect training or paths."""
    if isinstance(config, SpandrelConfig):
        return replace(config, file=Path(config.file.name))
    return replace(config, recompute=False) if isinstance(config, RRDBNetConfig) else config


def restore(config: GeneratorConfig, scale: int, state: Mapping[str, Tensor], name: str) -> nn.Module:
    """Build the generator that `config` describes and load `state` into it; `name` names its file in errors.

    Raises:
        ValueError: If the scale is not supported, the weights do not match, or spandrel is needed and not installed.
    """
    if isinstance(config, SpandrelConfig):  # `config.file` may no longer exist
        return config.rebuild(scale, state)
    network = config.build(scale)
    load_compatible_state_dict(network, state, name)
    return network
