"""The networks. A new generator is one file here and one line in `GeneratorConfig`."""

from srgan_dist.models.discriminators import VGGDiscriminatorConfig
from srgan_dist.models.srresnet import SRResNetConfig

GeneratorConfig = SRResNetConfig
DiscriminatorConfig = VGGDiscriminatorConfig

__all__ = ["DiscriminatorConfig", "GeneratorConfig", "SRResNetConfig", "VGGDiscriminatorConfig"]
