"""The tracks of `quality.py`: goals, and the recipes that were tried, each an ordinary command of `train.py`."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Track:
    """Who may take part, and what is to be reached."""

    rules: str
    goals: dict[str, float]
    """PSNR-Y on Set5 x4 in dB, by the published network that reports it."""


@dataclass(frozen=True)
class Recipe:
    """A preset and its changes."""

    track: str
    preset: str
    steps: int
    about: str
    flags: tuple[str, ...] = field(default=())
    scale: int = 4


TRACKS = {
    "cpu": Track(
        "two cores, 200 photographs (the train half of bsds400), any network and any recipe",
        {"ESPCN": 30.90, "VDSR": 31.35},  # Shi et al. 2016, Table 1 (ImageNet); Kim et al. 2016, Table 3
    ),
    "gpu": Track(
        "one GPU (an H100 for the record), DIV2K's 800 photographs, SRResNet with the SRGAN paper's 16 blocks of 64",
        {"SRResNet": 32.05},  # Ledig et al. 2017, Table 2
    ),
}
"""The goals are on Set5 x4 by the standard evaluation protocol: within five and thirty minutes on the CPU track, and
within ten on the GPU track."""

BF16 = "--mixed-precision=bf16"

RECIPES = {
    "cpu-minutes": Recipe("cpu", "light-x4-fast", 6_500, "the preset", ("--data.batch=8", BF16)),
    "cpu-half-hour": Recipe(
        "cpu", "light-x4-fast", 26_000, "a longer schedule, larger batches", ("--data.batch=16", BF16)
    ),
    "gpu-minutes": Recipe("gpu", "srresnet-x4-fast", 120_000, "the preset", ("--compile=reduce-overhead",)),
}
