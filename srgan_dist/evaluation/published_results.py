"""Results that the papers report at x4, for comparison with other models' scores."""

from srgan_dist.evaluation.metrics import Scores
from srgan_dist.utils.usage import UsageError

# Ledig et al. 2017, Table 2, and Wang et al. 2018, Table 1 (RRDB is ESRGAN's generator before its GAN phase).
_SRGAN = {
    "set5": {
        "nearest": (26.26, 0.7552),
        "bicubic": (28.43, 0.8211), "SRResNet": (32.05, 0.9019), "SRGAN-VGG54": (29.40, 0.8472),
    },
    "set14": {
        "nearest": (24.64, 0.7100),
        "bicubic": (25.99, 0.7486), "SRResNet": (28.49, 0.8184), "SRGAN-VGG54": (26.02, 0.7397),
    },
    "bsd100": {
        "nearest": (25.02, 0.6606),
        "bicubic": (25.94, 0.6935), "SRResNet": (27.58, 0.7620), "SRGAN-VGG54": (25.16, 0.6688),
    },
}  # fmt: skip
_ESRGAN = {
    "set5": {"bicubic": (28.42, 0.8104), "RRDB": (32.73, 0.9011)},
    "set14": {"bicubic": (26.00, 0.7027), "RRDB": (28.99, 0.7917)},
    "bsd100": {"bicubic": (25.96, 0.6675), "RRDB": (27.85, 0.7455)},
}

REMARKS = [
    "[SRGAN] Ledig et al. 2017, Table 2: PSNR is computed as above; SSIM is daala's, which is higher and "
    "not comparable with the other SSIM scores.",
    "[ESRGAN] Wang et al. 2018, Table 1: PSNR and SSIM are MATLAB's, computed as above; RRDB is the model before GAN "
    "training.",
]


def published(data: str, scale: int) -> tuple[list[tuple[str, Scores]], list[str]]:
    """Return the rows (method and scores) that the papers report for a data set, and notes on how they are computed.

    Args:
        data: Name of the data set; case, hyphens and underscores do not matter.
        scale: Upscaling factor.

    Raises:
        ValueError: If the papers report no results for this data set and scale.
    """
    known = data.lower().replace("-", "").replace("_", "")
    if scale != 4 or known not in _SRGAN:
        raise UsageError(f"--published: the papers report Set5, Set14 and BSD100 at x4, not {data} at x{scale}")
    tables = (("SRGAN", _SRGAN[known]), ("ESRGAN", _ESRGAN[known]))
    rows = [(f"{name} [{paper}]", {"psnr_y": p, "ssim_y": s}) for paper, t in tables for name, (p, s) in t.items()]
    return rows, REMARKS
