"""The fields of a training run's configuration, for the documentation and help texts; without loading torch."""

from srgan_dist.cli.without_torch import without_torch
from srgan_dist.utils.settings.fields import Field, every_leaf


def config_fields(preset_name: str | None = None) -> list[Field]:
    """Return every field of the configuration, with the preset's values as defaults.

    For a section that is chosen by `type`, these are `SECTION.type`, the fields of the preset's class, and then those
    of the other classes, each with its class in `choice`.

    Args:
        preset_name: A preset; without it, the defaults are those of the configuration's classes.

    Raises:
        KeyError: If there is no such preset.
    """
    with without_torch():
        from srgan_dist.training.config import TrainConfig
        from srgan_dist.training.presets import preset

        return list(every_leaf(preset(preset_name) if preset_name else TrainConfig()))
