"""What a run is trained on, and the state of torch in which it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch


def device_of(settings: Mapping[str, Any]) -> str:
    """The device of a run, `cpu` or `cuda`; `auto` takes cuda where there is one.

    Called only in the process that trains: a process that has used CUDA cannot be forked.

    Raises:
        RuntimeError: the run needs cuda, and there is none.

    Example:
        >>> device_of({"device": "cpu"})
        'cpu'
    """
    asked = settings["device"]
    if asked == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if asked == "auto":
        return "cpu"
    reason = "device: found cuda, and PyTorch sees no CUDA device here"
    remedy = "set `device: auto`, or install PyTorch with CUDA on a machine that has one"
    raise RuntimeError(f"{reason}; {remedy}")


def prepare_torch(seed: int, device: str = "cpu") -> None:
    """Put torch into the state in which every run is trained, whatever the process did before.

    Args:
        seed: of torch's own generators, for operations that draw from them.
        device: of the run.
    """
    if device == "cuda":
        # read when cuBLAS starts: without it its results depend on how streams share memory
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.allow_tf32 = False
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    torch.set_flush_denormal(False)
    torch.use_deterministic_algorithms(True)
    # what an operation is about to write to is not filled before, which takes time at every step
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.manual_seed(seed)


@contextmanager
def tiny_numbers_are_zero() -> Iterator[None]:
    """Count numbers below 1e-38 as zero in this thread, where the processor can.

    Moments of weights whose input is seldom other than zero fall below it, and a processor takes
    many times as long for such a number.

    Example:
        >>> with tiny_numbers_are_zero():
        ...     inside = torch.tensor(1e-30) * 1e-10
        >>> float(torch.tensor(1e-30) * 1e-10) > 0
        True
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def precision_of(settings: Mapping[str, Any], device: str) -> AbstractContextManager[Any]:
    """The context in which losses and gradients are computed: float32, or mixed with bfloat16."""
    if settings["precision"] == "bfloat16":
        return torch.autocast(device, torch.bfloat16)
    return nullcontext()


def draws(device: str) -> dict[str, torch.Tensor]:
    """The state of torch's generators, uint8 tensors by name."""
    states = {"draws cpu": torch.get_rng_state()}
    return states | ({"draws cuda": torch.cuda.get_rng_state()} if device == "cuda" else {})


def restore_draws(state: Mapping[str, Any], device: str) -> None:
    """Put torch's generators back into a state."""
    torch.set_rng_state(state["draws cpu"])
    if device == "cuda":
        torch.cuda.set_rng_state(state["draws cuda"])
