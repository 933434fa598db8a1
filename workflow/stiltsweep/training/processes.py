"""Several processes that train one model: each holds a piece of its weights, gradients and moments (ZeRO stage 3).

Rajbhandari et al. 2020, ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, arXiv:1910.02054, as
PyTorch's fully sharded data parallel does it. The update is that of one process: its batch is cut into micro-batches,
which are dealt out, and gradients are added up. What is saved is whole tensors, so that any number of processes, one
included, goes on from it. One process is a team of its own, in which nothing is sent and nothing is cut.

The script starts the processes itself (`launch`); no port, host name or launcher of a cluster is involved.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from types import FrameType
from typing import Any

import torch
from torch import Tensor, distributed, nn

from ..models.device import DEVICE

_MEMBER = "STILTSWEEP_MEMBER"
"""`rank size store` of a process that was launched."""
_FOREVER = timedelta(days=365)
"""Waiting is ended by the launcher, which ends all processes when one of them fails."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def wanted(asked: int) -> int:
    """Return how many processes share a training that may use so many GPUs: one for each that is there."""
    if asked < 2 or os.environ.get(DEVICE) == "cpu":
        return 1
    return max(1, min(asked, torch.cuda.device_count()))


def is_member() -> bool:
    """Whether this process was launched as one of several."""
    return _MEMBER in os.environ


def launch(size: int) -> int:
    """Run this script again in several processes, a GPU each if there are any; return the status of the first to fail.

    Stop signals are passed on, and every process gets all the time it needs to save. When one fails, the others, which
    may wait for it for ever, are ended.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    devices = visible.split(",") if torch.cuda.device_count() else []
    with tempfile.TemporaryDirectory(prefix="stiltsweep-") as folder:
        members = []
        for rank in range(size):
            environment = {**os.environ, _MEMBER: f"{rank} {size} {folder}/store"}
            if devices:
                environment["CUDA_VISIBLE_DEVICES"] = devices[rank]
            members.append(subprocess.Popen([sys.executable, *sys.argv], env=environment))

        def forward(number: int, frame: FrameType | None) -> None:
            for member in members:
                member.send_signal(number)

        before = [signal.signal(number, forward) for number in _SIGNALS]
        try:
            while True:
                statuses = [member.poll() for member in members]
                if failed := [status for status in statuses if status]:
                    break
                if None not in statuses:
                    return 0
                time.sleep(0.1)
            return _end(members, failed[0])
        finally:
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)


_INTERRUPTED = 130
_GRACE_SECONDS = 10.0
"""Between processes that stop together, after their state is saved."""


def _end(members: Sequence[subprocess.Popen[bytes]], status: int) -> int:
    """End what is left of a team of which one process has ended with a status, and return that status."""
    deadline = time.monotonic() + (_GRACE_SECONDS if status == _INTERRUPTED else 0.0)
    for member in members:
        with contextlib.suppress(subprocess.TimeoutExpired):
            member.wait(max(0.0, deadline - time.monotonic()))
        member.kill()
        member.wait()
    # Killed by a signal: as a shell says it.
    return status if status > 0 else 128 - status


class Team:
    """The processes of a training, seen from one of them."""

    def __init__(self) -> None:
        """Join the team this process was launched for; return when all of it has joined."""
        rank, size, store = os.environ[_MEMBER].split(maxsplit=2) if is_member() else ("0", "1", "")
        self.rank, self.size = int(rank), int(size)
        self.first = self.rank == 0
        """Whether this process writes what the team makes."""
        self._store = store
        if not self.first:
            logging.disable(logging.INFO)  # they would all say the same
        if self.size > 1 and not distributed.is_initialized():
            # All processes are on this host: no name of it has to be resolved.
            if sys.platform == "linux":
                os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
            method = f"file://{store}"
            distributed.init_process_group(backend, method, _FOREVER, world_size=self.size, rank=self.rank)

    def shard(self, model: nn.Module, device: torch.device) -> None:
        """Cut a model's parameters, layer by layer; the forward pass puts one layer at a time together."""
        if self.size == 1:
            return
        model.sharded = True  # type: ignore[assignment]
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(device.type, (self.size,))
        for layer in _layers(model):
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)

    @contextlib.contextmanager
    def together(self, model: Any) -> Iterator[None]:
        """Put together what is outside a sharded model's layers, for calls that do not begin with its own forward."""
        if self.size == 1:
            yield
            return
        model.unshard()
        try:
            yield
        finally:
            model.reshard()

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """Return a model's tensors by name, whole; in memory of the first process alone."""
        tensors = {}
        for name, tensor in model.state_dict().items():
            whole = self.whole(tensor.detach())
            if self.size == 1 or self.first:
                tensors[name] = whole if self.size == 1 else whole.cpu()
        return tensors

    def deal(self, parts: Sequence[Any]) -> list[tuple[Any, float]]:
        """Return this process's parts of an update, each with the factor of its loss.

        Gradients are averaged over the team, so losses are multiplied by its size. All processes take equally many
        parts, since every pass waits for the others; what is missing is made up by one that counts nothing.
        """
        if self.size == 1:
            return [(part, 1.0) for part in parts]
        mine = [(part, float(self.size)) for part in parts[self.rank :: self.size]]
        return mine + [(parts[0], 0.0)] * (-(-len(parts) // self.size) - len(mine))

    def budget(self, tokens: int, longest: int) -> int:
        """Return the token slots of a micro-batch that leave work for every process."""
        return tokens if self.size == 1 else max(longest, tokens // self.size)

    def sum(self, value: float) -> float:
        """Return the sum of the processes' values."""
        return value if self.size == 1 else float(self._reduced(value, distributed.ReduceOp.SUM))

    def any(self, value: int) -> int:
        """Return the largest of the processes' values: not 0 if any of them is not."""
        return value if self.size == 1 else int(self._reduced(value, distributed.ReduceOp.MAX))

    def agree(self, value: Any) -> Any:
        """Return the first process's value."""
        if self.size == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.any(0)

    def leave(self) -> None:
        """End the team, when all its processes are here."""
        if self.size > 1:
            self.wait()
            distributed.destroy_process_group()

    def _reduced(self, value: float, how: Any) -> Tensor:
        tensor = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(tensor, how)
        return tensor

    @cached_property
    def _dtensor(self) -> Any:
        from torch.distributed import tensor

        return tensor

    def whole(self, tensor: Tensor) -> Tensor:
        """Return a tensor put together from its pieces; all processes have to ask."""
        return tensor.full_tensor() if self.size > 1 and isinstance(tensor, self._dtensor.DTensor) else tensor

    def cut(self, whole: Tensor, like: Tensor) -> Tensor:
        """Return this process's piece of a whole tensor, cut as `like` is."""
        if self.size == 1 or not isinstance(like, self._dtensor.DTensor) or whole.shape != like.shape:
            return whole
        mesh, placements = like.device_mesh, like.placements
        piece: Tensor = self._dtensor.distribute_tensor(whole.to(like.device), mesh, placements, src_data_rank=None)
        return piece


def _layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers of a transformer: what its outermost lists of modules hold."""
    layers: list[nn.Module] = []
    for module in model.children():
        layers += list(module) if isinstance(module, nn.ModuleList) else _layers(module)
    return layers


class Whole(torch.optim.Optimizer):
    """An optimizer that needs whole parameters (Adafactor, whose moments are factored), one of them at a time.

    Its own state is small and the same in every process.
    """

    def __init__(
        self, groups: list[dict[str, Any]], team: Team, make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
    ) -> None:
        super().__init__(groups, {})
        self.team = team
        stand_ins = [[nn.Parameter(_nothing(parameter)) for parameter in group["params"]] for group in groups]
        self.inner = make([{**group, "params": params} for group, params in zip(groups, stand_ins, strict=True)])

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Make one update."""
        for group, inner in zip(self.param_groups, self.inner.param_groups, strict=True):
            inner["lr"] = group["lr"]
            for parameter, stand_in in zip(group["params"], inner["params"], strict=True):
                if parameter.grad is None:
                    continue
                stand_in.data = self.team.whole(parameter.detach()).clone()
                stand_in.grad = self.team.whole(parameter.grad)
                self.inner.step()
                parameter.copy_(self.team.cut(stand_in.data, parameter))
                stand_in.data, stand_in.grad = _nothing(parameter), None

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as the optimizer in one process has it."""
        return self.inner.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put a state back."""
        self.inner.load_state_dict(state_dict)


def _nothing(parameter: Tensor) -> Tensor:
    return torch.empty(0, dtype=parameter.dtype, device=parameter.device)


__all__ = ["Team", "Whole", "is_member", "launch", "wanted"]
