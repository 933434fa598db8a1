"""The device a job runs on, its precision, and what makes its arithmetic repeatable."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import dtype as DType

from ..errors import UserError
from ..settings import T5_FAMILY

DEVICE = "STILTSWEEP_DEVICE"
"""`cpu` keeps jobs off a GPU; `auto`, the default, takes the first visible one; `mps` is the GPU of a Mac."""


@dataclass(frozen=True)
class Device:
    """A device and the precision of its forward passes; weights and optimizer stay in fp32."""

    torch: torch.device
    precision: str
    """`fp32`, `bf16` or `fp16`, as accelerate's mixed precision."""

    @property
    def name(self) -> str:
        """The device's name, for the record."""
        return torch.cuda.get_device_name(self.torch) if self.torch.type == "cuda" else self.torch.type

    @property
    def mixed_precision(self) -> str:
        """Accelerate's name of the precision."""
        return "no" if self.precision == "fp32" else self.precision

    @property
    def widest(self) -> DType:
        """The widest floating-point numbers it has; sums over a batch are taken in them."""
        return torch.float32 if self.torch.type == "mps" else torch.float64

    def peak_memory_mb(self) -> int:
        """Return the peak memory so far: the GPU's, or the process's resident set, which a Mac's GPU shares."""
        if self.torch.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.torch) / 2**20)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak / (2**20 if sys.platform == "darwin" else 2**10))


@contextlib.contextmanager
def repeatable(device: Device, *, wanted: bool = True) -> Iterator[None]:
    """Have a GPU use nothing but algorithms that give the same bytes each time, if that is wanted.

    Otherwise it uses them where it has them, but for attention, which asks for this (`choose`).

    Raises:
      RuntimeError: it has none for what is computed.
    """
    if device.torch.type == "cuda":
        torch.use_deterministic_algorithms(True, warn_only=not wanted)
    try:
        yield
    finally:
        if device.torch.type == "cuda":
            torch.use_deterministic_algorithms(True, warn_only=True)


def autocast(device: Device) -> torch.autocast:
    """Return the context in which forward passes have a device's precision."""
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(device.precision)
    return torch.autocast(device.torch.type, dtype=dtype, enabled=dtype is not None)


def place() -> torch.device:
    """Return the first visible GPU, else the CPU; refuse to go on slowly where a GPU was given and does not work.

    A Mac's GPU has to be asked for: it computes other bytes than the CPU, and several jobs at once share it.
    """
    wanted = os.environ.get(DEVICE, "auto")
    if wanted not in ("auto", "cpu", "mps"):
        raise UserError(
            f"{DEVICE}: {wanted!r} is not allowed; allowed: auto, cpu, mps. CUDA_VISIBLE_DEVICES chooses a GPU."
        )
    if wanted == "cpu":
        return torch.device("cpu")
    if wanted == "mps":
        if not torch.backends.mps.is_available():
            raise UserError(f"{DEVICE}=mps: torch {torch.__version__} finds no GPU of a Mac here. Leave {DEVICE} out.")
        return torch.device("mps")
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if visible not in ("", "-1", "NoDevFiles"):
        raise UserError(
            f"CUDA_VISIBLE_DEVICES gives this job the GPU {visible}, but torch {torch.__version__} finds none (a build "
            f"for CPUs, or no driver). Install a build of torch for the GPU, or set {DEVICE}=cpu to compute on the CPU."
        )
    return torch.device("cpu")


def choose(precision: str, model_type: str, threads: int = 1) -> Device:
    """Choose the device and fix what makes a run repeatable.

    The first visible GPU is taken, else the CPU. On the CPU a job computes with `threads` threads, whatever the machine
    has: sums over another number of threads round differently, and the same inputs have to give the same bytes.

    Raises:
      UserError: fp16 for a T5-like model, whose activations overflow in it, a precision the device lacks, or a GPU that
        was given to this job and cannot be used.
    """
    device = place()
    if device.type == "cuda" and "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        # Texts, and graphs of them, come in many sizes: in blocks that do not grow they leave most of a card unusable.
        # Before the first tensor, or it does not count.
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    if precision == "fp16" and model_type in T5_FAMILY:
        raise UserError(
            f"training.precision: fp16 is refused for {model_type}: its activations overflow to inf. Use bf16 or fp32."
        )
    if precision == "fp16" and device.type != "cuda":
        raise UserError("training.precision: fp16 needs a GPU that runs CUDA. Use fp32 or bf16.")
    if precision == "auto":
        precision = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    else:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    # It would also fill all new memory with NaN, 2% of a training on a CPU, to show up what reads before it writes.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return Device(device, precision)
