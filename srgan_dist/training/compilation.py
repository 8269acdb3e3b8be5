"""Which kernels a run computes with: torch.compile's, the fastest that cuDNN finds, or always the same."""

import logging
import os
from pathlib import Path
from typing import Literal

import torch
from torch import nn

log = logging.getLogger("srgan_dist")

Compile = Literal["no", "default", "reduce-overhead"]


def choose_kernels(deterministic: bool, compile: Compile) -> None:
    """Set torch up for the run, before the first product is computed.

    By default cuDNN tries its algorithms on the first batches, whose shapes never change, and keeps the fastest;
    another start may choose another one, which rounds differently.

    Args:
        deterministic: use the same kernels at every start instead. Operations for which torch has no deterministic
            kernel name themselves in a warning.
        compile: what was asked for; a warning says that it is not used.
    """
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    if not deterministic:
        return
    # Filling new tensors, which this would bring along, costs a pass over each and decides nothing here.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it with the first product
    if compile != "no":
        log.warning("--deterministic: --compile %s is not used", compile)


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

    Shapes are fixed: crops are all of one size, and what looks at whole images uses the moving average, a copy.
    """
    if mode != "no":
        network.compile(dynamic=False, mode=None if mode == "default" else mode)


def mark_step(mode: Compile) -> None:
    """Tells CUDA graphs that the tensors of the step before are not needed any more."""
    if mode == "reduce-overhead":
        torch.compiler.cudagraph_mark_step_begin()
