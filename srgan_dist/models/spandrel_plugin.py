"""A plugin for spandrel: after `register()`, `spandrel.ModelLoader` also opens our SRResNet and LightEDSR files.

spandrel, and therefore chaiNNer and ComfyUI, supports RRDBNet and Compact out of the box. The other two are added
through spandrel's own architecture registry.
"""

from typing import Any

from torch import nn

from srgan_dist.models.state_dicts import identify

_KEYS = {
    "SRResNet": ("head.0.weight", "trunk.0.body.0.weight", "merge.0.weight", "upsample.0.0.weight", "tail.weight"),
    "LightEDSR": ("head.weight", "trunk.0.conv1.weight", "trunk.0.conv2.weight", "tail.weight"),
}
"""Parameters by which each architecture is recognized."""


def register() -> None:
    """Add both architectures to spandrel's main registry. Further calls have no effect."""
    from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor  # an optional extra
    from spandrel.util import KeyCondition

    class OwnArch(Architecture[nn.Module]):
        """An architecture of this package, with this package's parameter names."""

        def __init__(self, name: str) -> None:
            super().__init__(id=f"{name} (srgan-dist)", detect=KeyCondition.has_all(*_KEYS[name]))

        def load(self, state_dict: dict[str, Any]) -> ImageModelDescriptor[nn.Module]:
            """Return a descriptor of the network, whose size is inferred from the weights."""
            found = identify(state_dict)
            assert found
            size = [f"{found.config.channels}nf", f"{found.config.blocks}nb"]
            return ImageModelDescriptor(
                found.config.build(found.scale), state_dict, architecture=self, purpose="SR", tags=size,
                scale=found.scale, supports_half=True, supports_bfloat16=True, input_channels=3, output_channels=3,
            )  # fmt: skip

    for name in _KEYS:
        MAIN_REGISTRY.add(ArchSupport.from_architecture(OwnArch(name)), ignore_duplicates=True)
