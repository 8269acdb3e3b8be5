"""Kernel selection: torch.compile, cuDNN's autotuning, or deterministic kernels."""

import logging
import os
from pathlib import Path
from typing import Literal

import torch
from torch import nn

log = logging.getLogger("srgan_dist")

Compile = Literal["no", "default", "reduce-overhead"]


def choose_kernels(deterministic: bool, compile: Compile) -> None:
    """Configure torch's kernel selection. Call it before the first matrix product or convolution.

    By default cuDNN benchmarks its algorithms on the first batches, whose shapes never change, and keeps the fastest.
    Another start of the program may select another one, which rounds differently.

    Args:
        deterministic: select the same kernels at every start instead. torch warns about each operation that has no
            deterministic kernel.
        compile: the requested mode; ignored with a warning if `deterministic` is set.
    """
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    if not deterministic:
        return
    # Deterministic mode would also fill new tensors, which costs a pass over each and does not affect our results.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS at the first product
    if compile != "no":
        log.warning("--deterministic: --compile %s is ignored", compile)


def prepare_compilation(mode: Compile, cache: Path) -> None:
    """Configure torch.compile. Call it before the first network is compiled.

    Args:
        cache: cache folder of the machine, in which compiled code is kept for later runs; `TORCHINDUCTOR_CACHE_DIR`
            takes precedence.
    """
    if mode == "no":
        return
    import torch._functorch.config

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "compiled"))
    # Measuring gradient shares runs backward through one graph several times, which donated buffers do not allow.
    torch._functorch.config.donated_buffer = False  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]


def compile_in_place(network: nn.Module, mode: Compile) -> None:
    """Compile a network in place. Its parameters keep their names, and copies of it stay uncompiled.

    Shapes are static: all crops have one size, and full images are upscaled by the moving average, which is a copy.
    """
    if mode != "no":
        network.compile(dynamic=False, mode=None if mode == "default" else mode)


def mark_step(mode: Compile) -> None:
    """Tell CUDA graphs that the tensors of the previous step may be overwritten."""
    if mode == "reduce-overhead":
        torch.compiler.cudagraph_mark_step_begin()
