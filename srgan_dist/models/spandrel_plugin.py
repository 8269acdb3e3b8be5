"""An SRResNet plugin for spandrel: after `register()`, `spandrel.ModelLoader` also opens our SRResNet files.

spandrel, and therefore chaiNNer and ComfyUI, supports RRDBNet and Compact out of the box. SRResNet is added through
spandrel's own architecture registry.
"""

from typing import Any

from srgan_dist.models.srresnet import SRResNet
from srgan_dist.models.state_dicts import identify


def register() -> None:
    """Add SRResNet to spandrel's main registry. Further calls have no effect."""
    from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor  # an optional extra
    from spandrel.util import KeyCondition

    class SRResNetArch(Architecture[SRResNet]):
        """SRResNet of the SRGAN paper, with this package's parameter names."""

        def __init__(self) -> None:
            keys = "head.0.weight", "trunk.0.body.0.weight", "merge.0.weight", "upsample.0.0.weight", "tail.weight"
            super().__init__(id="SRResNet (srgan-dist)", detect=KeyCondition.has_all(*keys))

        def load(self, state_dict: dict[str, Any]) -> ImageModelDescriptor[SRResNet]:
            """Return a descriptor of the network, whose size is inferred from the weights."""
            found = identify(state_dict)
            assert found
            size = [f"{found.config.channels}nf", f"{found.config.blocks}nb"]
            return ImageModelDescriptor(
                found.config.build(found.scale), state_dict, architecture=self, purpose="SR", tags=size,
                scale=found.scale, supports_half=True, supports_bfloat16=True, input_channels=3, output_channels=3,
            )  # fmt: skip

    MAIN_REGISTRY.add(ArchSupport.from_architecture(SRResNetArch()), ignore_duplicates=True)
