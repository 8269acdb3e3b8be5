"""torch.compile for the networks of a run, set up so that nothing is compiled twice."""

import os
from pathlib import Path
from typing import Literal

import torch
from torch import nn

Compile = Literal["no", "default", "reduce-overhead"]


def prepare_compilation(mode: Compile, cache: Path) -> None:
    """What has to be set before the first network is compiled.

    Args:
        cache: the machine's cache folder; compiled code is kept in it from one run to the next, unless
            `TORCHINDUCTOR_CACHE_DIR` names another place.
    """
    if mode == "no":
        return
    import torch._functorch.config

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "compiled"))
    # The probe of the gradient's shares goes back through a graph several times, which donated buffers forbid.
    torch._functorch.config.donated_buffer = False  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def compile_in_place(network: nn.Module, mode: Compile) -> None:
    """Makes calls of the network run compiled code; its parameters keep their names, copies of it are not compiled.

    Shapes are fixed: crops are all of one size, and what looks at whole pictures uses the moving average, a copy.
    """
    if mode != "no":
        network.compile(dynamic=False, mode=None if mode == "default" else mode)


def mark_step(mode: Compile) -> None:
    """Tells CUDA graphs that the tensors of the step before are not needed any more."""
    if mode == "reduce-overhead":
        torch.compiler.cudagraph_mark_step_begin()
