"""SRResNet for spandrel: after `register()`, `spandrel.ModelLoader` opens our SRResNet files too.

spandrel, and with it chaiNNer and ComfyUI, knows RRDBNet and Compact by itself; its own registry is the place to add
what it does not know.
"""

from typing import Any

from srgan_dist.models.srresnet import SRResNet
from srgan_dist.models.state_dicts import identify


def register() -> None:
    """Adds SRResNet to spandrel's own registry; once is enough, more does no harm."""
    from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor  # an optional package
    from spandrel.util import KeyCondition

    class SRResNetArch(Architecture[SRResNet]):
        """SRResNet of the SRGAN paper, as this package writes it."""

        def __init__(self) -> None:
            keys = "head.0.weight", "trunk.0.body.0.weight", "merge.0.weight", "upsample.0.0.weight", "tail.weight"
            super().__init__(id="SRResNet (srgan-dist)", detect=KeyCondition.has_all(*keys))

        def load(self, state_dict: dict[str, Any]) -> ImageModelDescriptor[SRResNet]:
            """The network with these weights; its size is read off them."""
            found = identify(state_dict)
            assert found
            size = [f"{found.config.channels}nf", f"{found.config.blocks}nb"]
            return ImageModelDescriptor(
                found.config.build(found.scale), state_dict, architecture=self, purpose="SR", tags=size,
                scale=found.scale, supports_half=True, supports_bfloat16=True, input_channels=3, output_channels=3,
            )  # fmt: skip

    MAIN_REGISTRY.add(ArchSupport.from_architecture(SRResNetArch()), ignore_duplicates=True)
