"""One process or many: what torchrun or SLURM started, Fabric over it, and batch norm that sees the whole batch."""

import atexit
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from fourfold.errors import TrainingError, UsageError
from fourfold.training.recipe import Recipe
from fourfold.upscaling.engines.torch import best_device, has_fast_bf16

#: What gloo and NCCL say when a process at the other end is gone.
_LOST = re.compile("closed by peer|reset by peer|[Bb]roken pipe|remote process exited|NCCL communicator was aborted")


@dataclass(frozen=True)
class Launch:
    """How this process was started.

    Attributes:
        world_size: processes in all.
        nodes: machines.
        restarts: how often the launcher has begun anew after a failure.
        rank: number of this process.
        name: what all attempts of one launch have in common; "" where nothing begins anew.
        since: when the launcher began, in seconds since 1970; 0 where that is not known, or is no matter.
    """

    world_size: int = 1
    nodes: int = 1
    restarts: int = 0
    rank: int = 0
    name: str = ""
    since: float = field(default=0.0, compare=False)

    @property
    def per_node(self) -> int:
        """Processes on this machine."""
        return self.world_size // self.nodes


def read_launch(environment: Mapping[str, str] = os.environ) -> Launch:
    """Returns what torchrun or SLURM's srun says in the environment; one process where neither does.

    Raises:
        UsageError: in a job of several tasks, for a process that srun has not started.
    """
    requeued = int(environment.get("SLURM_RESTART_COUNT", 0))
    job = f"slurm {environment['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in environment else ""
    if under_torchrun(environment):
        world, local = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
        restarts = requeued + int(environment.get("TORCHELASTIC_RESTART_COUNT", 0))
        name = job or f"torchrun {environment['TORCHELASTIC_RUN_ID']}"
        since = 0.0 if requeued else _began(os.getppid())
        return Launch(world, world // local, restarts, int(environment["RANK"]), name, since)
    if int(environment.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in environment:
        if environment["SLURM_PROCID"] == "0" and not _srun_started(environment):
            raise UsageError(  # a batch script's own process, which would wait for the others for ever
                f"this job has {environment['SLURM_NTASKS']} tasks, and srun did not start this one: write srun before "
                "the command, or ask for one task (--ntasks=1)"
            )
        nodes = int(environment.get("SLURM_NNODES", 1))
        return Launch(int(environment["SLURM_NTASKS"]), nodes, requeued, int(environment["SLURM_PROCID"]), job)
    return Launch(restarts=requeued, name=job)


def _srun_started(environment: Mapping[str, str]) -> bool:
    """Returns whether srun started this process: SLURM numbers batch scripts and interactive shells from the top."""
    step = environment.get("SLURM_STEP_ID", "")
    return step.isdecimal() and int(step) < 0xFFFFFFF0


def _began(process: int) -> float:
    """Returns when a process began, in seconds since 1970; 0 where the system does not say."""
    try:
        ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
        return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return 0.0


def under_torchrun(environment: Mapping[str, str] = os.environ) -> bool:
    """Returns whether torchrun started this process: it takes any exit status but 0 for a failure, and begins anew."""
    return "TORCHELASTIC_RUN_ID" in environment


@contextmanager
def naming_a_lost_process(launch: Launch) -> Iterator[None]:
    """Says in a sentence that another process has ended, where torch says it in pages: its own message is above them.

    Raises:
        TrainingError: in place of what torch raised.
    """
    try:
        yield
    except RuntimeError as error:
        if launch.world_size == 1 or not _LOST.search(str(error)):
            raise
        raise TrainingError("another process of this run has ended; its own message says why") from error


def settled(recipe: Recipe, device: str) -> Recipe:
    """Returns the recipe with an "auto" precision decided: bf16 where the device multiplies it in hardware, else fp32.

    Args:
        recipe: of the run.
        device: "auto", "cpu", "cuda" or "mps".
    """
    if recipe.run.precision != "auto":
        return recipe
    precision = "bf16" if has_fast_bf16(None if device == "auto" else device) else "fp32"
    return recipe.model_copy(update={"run": recipe.run.model_copy(update={"precision": precision})})


def check_device(device: str) -> None:
    """Refuses a device that there is not.

    Args:
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        UsageError: for a device that this machine has not.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no CUDA device here; `fourfold doctor` says more")
    if device == "mps" and not torch.backends.mps.is_available():
        raise UsageError("--device mps: torch sees no Apple GPU here")
    if device not in ("auto", "cpu", "cuda", "mps"):
        raise UsageError(f"--device {device}: it can be auto, cpu, cuda or mps")


def make_fabric(device: str, precision: str, launch: Launch | None = None) -> Fabric:
    """Returns Fabric on a device, joined to the other processes if there are any; "auto" takes the fastest device.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        precision: "bf16" or "fp32"; see :func:`settled`.
        launch: how this process was started.

    Raises:
        UsageError: for a device that this machine has not, or if SLURM does not say how many processes a machine has.
    """
    launch = launch or read_launch()
    if launch.world_size > 1 and not under_torchrun() and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise UsageError("srun: give it --ntasks-per-node, too; without it, no process knows how many its machine has")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces what the recipe says already
    check_device(device)
    device = best_device() if device == "auto" else device
    arguments: dict[str, Any] = {"accelerator": device, "precision": "bf16-mixed" if precision == "bf16" else "32-true"}
    if launch.world_size == 1:
        # without this, Fabric asks SLURM even inside an allocation for several, in which this process is alone
        fabric = Fabric(devices=1, plugins=LightningEnvironment(), **arguments)
    else:
        backend = "nccl" if device == "cuda" else "gloo"
        strategy = DDPStrategy(process_group_backend=backend)
        fabric = Fabric(devices=launch.per_node, num_nodes=launch.nodes, strategy=strategy, **arguments)
        _join_anew(launch, backend)
    fabric.launch()
    return fabric


def _join_anew(launch: Launch, backend: str) -> None:
    """Joins the other processes after torchrun has begun anew; nothing to do the first time.

    torchrun may give every attempt the same store (torch 2.13 does), in which the processes find each other, and torch
    puts no attempt's name before its keys: a process that is quick reads where the dead ones listened, and fails. So
    here the attempt's number stands before every key. Fabric takes over a group that is there.
    """
    if launch.restarts == 0 or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # torch documents both and leaves them out of what its types export
    store = distributed.TCPStore(host, port, launch.world_size, is_master=False)  # type: ignore[attr-defined]
    prefixed = distributed.PrefixStore(f"fourfold/attempt-{launch.restarts}", store)  # type: ignore[attr-defined]
    distributed.init_process_group(backend, store=prefixed, rank=launch.rank, world_size=launch.world_size)
    atexit.register(_leave)  # as Fabric does for a group of its own


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def one_first(fabric: Fabric) -> Iterator[None]:
    """Lets the first process of every machine through while the others wait."""
    with fabric.rank_zero_first(local=True):
        yield


def any_process(fabric: Fabric, flag: bool) -> bool:
    """Returns whether the flag is set on any process."""
    if fabric.world_size == 1:
        return flag
    found = torch.tensor(float(flag), device=fabric.device)
    distributed.all_reduce(found, op=distributed.ReduceOp.MAX)
    return bool(found)


def own_rand(rows: int, columns: int, device: torch.device) -> Tensor:
    """Returns uniform random numbers for this process's rows of the mini-batch, (rows, columns).

    All processes draw alike, for all of them together, and each takes its own part: so rows differ between processes,
    and no number depends on how many there are.
    """
    together = distributed.is_available() and distributed.is_initialized()
    world, rank = (distributed.get_world_size(), distributed.get_rank()) if together else (1, 0)
    return torch.rand(world * rows, columns, device=device)[rank * rows : (rank + 1) * rows]


def synchronise_batch_norm(network: nn.Module, fabric: Fabric) -> nn.Module:
    """Returns the network with batch norm over the batch of all processes; with one process, as it was.

    On CUDA that is torch's own SyncBatchNorm, which exists for accelerators only; on the CPU,
    :class:`SynchronisedBatchNorm2d`. Without either, each process would normalise by its few crops, and the result
    would depend on their number.
    """
    if fabric.world_size == 1:
        return network
    if fabric.device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for name, child in network.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(network, name, SynchronisedBatchNorm2d.like(child))
        else:
            synchronise_batch_norm(child, fabric)
    return network


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm (Ioffe and Szegedy 2015) over the batch of all processes, on the CPU.

    Statistics and their part of the gradient are those of the whole batch, so that the result is that of one process
    with all of it. Every process must have an equal share. Forward and backward exchange something once each.
    """

    @classmethod
    def like(cls, plain: nn.BatchNorm2d) -> "SynchronisedBatchNorm2d":
        """Returns one with the parameters, buffers and settings of a plain one."""
        new = cls(plain.num_features, plain.eps, plain.momentum, plain.affine, plain.track_running_stats)
        new.load_state_dict(plain.state_dict())
        return new.train(plain.training)

    def forward(self, input: Tensor) -> Tensor:
        """Returns the normalised batch, (N, C, H, W)."""
        if not self.training and self.track_running_stats:
            return super().forward(input)
        mean, variance = _statistics(input.detach())
        count = input.numel() // input.shape[1] * distributed.get_world_size()
        self._remember(mean, variance * count / max(count - 1, 1))
        return _Normalised.apply(input, mean, variance, self.weight, self.bias, self.eps)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if not self.track_running_stats:
            return
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked += 1


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns means and variances of (N, C, H, W) by channel, over all processes, in float32.

    Each process counts its own, and they are told to each other at once: a process that waits computes nothing. Every
    one has an equal share, so the variance of all is the mean of their variances and that of their means.
    """
    ignored = x.new_zeros(x.shape[1], dtype=torch.float32)  # running statistics in float32 have it count in float32
    own = torch.stack(torch.batch_norm_update_stats(x, ignored, ignored.clone(), 0.0))
    every = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, own)
    means, variances = torch.stack(every).unbind(dim=1)
    mean = means.mean(dim=0)
    return mean, (variances + (means - mean).square()).mean(dim=0)


class _Normalised(torch.autograd.Function):
    """Batch norm by given statistics of the batch of all processes, and its gradient through them, by torch's kernels.

    Through the statistics, the gradient has sums over the whole batch in it; torch's backward takes them over this
    process's share. What the two differ by is a slope and an offset for each channel, and is added.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, mean, torch.rsqrt(variance + eps), weight)
        ctx.eps = eps
        return functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, Tensor, Tensor, None]:
        x, mean, inverse, weight = ctx.saved_tensors  # the inverse of the deviation
        to_x, to_weight, to_bias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, None, None, mean, inverse, True, ctx.eps, [True, True, True]
        )
        own = torch.stack([to_weight, to_bias])
        total = own.clone()
        distributed.all_reduce(total)
        count = x.numel() // x.shape[1]
        along, everywhere = (own - total / distributed.get_world_size()) * (weight * inverse / count)
        slope = along * inverse
        slope, offset = (y.to(x.dtype).view(1, -1, 1, 1) for y in (slope, everywhere - slope * mean))
        return to_x.add_(torch.addcmul(offset, x, slope)), None, None, to_weight, to_bias, None


def distribute(network: nn.Module, fabric: Fabric) -> nn.Module:
    """Returns what to call in the network's place: it adds up gradients over all processes in the backward.

    Buffers are not broadcast: batch norm is synchronised instead, so every process computes the same running
    statistics, and a broadcast in the middle of a GAN step would change tensors that a backward still needs.
    """
    if fabric.world_size == 1:
        return network
    devices = [fabric.device] if fabric.device.type == "cuda" else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what is to take its place is not in every torch that we run on
        return DistributedDataParallel(network, device_ids=devices, broadcast_buffers=False)


def mean_over_processes(fabric: Fabric, x: Tensor) -> Tensor:
    """Returns the mean of a tensor over all processes."""
    if fabric.world_size == 1:
        return x
    total = x.clone()
    distributed.all_reduce(total)
    return total / fabric.world_size
