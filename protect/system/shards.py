"""One batch, shared by the rows over the processes of torchrun, as if one process had it.

Every process draws the same batch and computes the network on its own rows. What a row learns of
the others passes through `whole` and, in batch normalisation, through `OneBatch`; so each process
has the loss of the whole batch, and the mean of what they find as its gradient is its gradient.
On a process alone every function gives back what it was given.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from protect.system.processes import others, place


def own_rows(count: int) -> slice:
    """Return which of `count` rows belong to this process; shares differ by one row at most."""
    here = place()
    return slice(count * here.rank // here.count, count * (here.rank + 1) // here.count)


def own(batch: Tensor) -> Tensor:
    """Return the rows of this process of a batch (B, ...) that all have."""
    return batch[own_rows(len(batch))]


def whole(rows: Tensor, count: int) -> Tensor:
    """Put a batch together from the rows of every process.

    Args:
        rows: (b, ...), float, the rows of this process.
        count: B, rows of the batch.

    Returns:
        (B, ...), the same on all; differentiable, with the gradients of all processes added up.
    """
    if place().count == 1:
        return rows
    mine = own_rows(count)
    around = [0, 0] * (rows.ndim - 1) + [mine.start, count - mine.stop]
    summed: Tensor = _Sum.apply(F.pad(rows, around))
    return summed


def averaged(slopes: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Average gradients over all processes; None stays None, which it is on all."""
    there = [slope for slope in slopes if slope is not None]
    if place().count == 1 or not there:
        return list(slopes)
    flat = _summed(torch.cat([slope.flatten() for slope in there])) / place().count
    parts = iter(torch.split(flat, [slope.numel() for slope in there]))
    return [None if slope is None else next(parts).view_as(slope) for slope in slopes]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradient of each parameter by its average over all processes."""
    if place().count == 1:
        return
    parameters = list(parameters)
    slopes = averaged([parameter.grad for parameter in parameters])
    for parameter, slope in zip(parameters, slopes, strict=True):
        parameter.grad = slope


def as_one_batch() -> AbstractContextManager[object]:
    """Within it, batch normalisation in training goes by the rows of all processes."""
    return nullcontext() if place().count == 1 else OneBatch()


class OneBatch(TorchFunctionMode):
    """Computes `batch_norm` in training mode over the rows of all processes.

    It takes the place of the function, not of the layer, so that every library's layers, with
    their own parameters or with those of `functional_call`, are covered, on the CPU as on GPUs.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Pass every call on but that of `batch_norm`."""
        if func is F.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise as PyTorch's function of this name and arguments, by the rows of all processes."""
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    here = place()
    channels = input.shape[1]
    # One row per pixel, as pictures lie in memory; a reduction over several dimensions is slow.
    pixels = input.float().movedim(1, -1).reshape(-1, channels)
    own_mean = pixels.mean(dim=0)
    own_var = (pixels - own_mean).square().mean(dim=0)
    own_size = torch.full_like(own_mean, len(pixels))
    seen = whole(torch.stack([own_mean, own_var, own_size])[None], here.count)
    means, variances, sizes = seen.unbind(dim=1)
    total = sizes.sum(dim=0)
    shares = sizes / total
    mean = (shares * means).sum(dim=0)
    var = (shares * (variances + (means - mean).square())).sum(dim=0)
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(var * total / (total - 1), momentum)
    weight = torch.ones_like(mean) if weight is None else weight
    bias = torch.zeros_like(mean) if bias is None else bias
    normal: Tensor = _Normal.apply(input, mean, var, weight, bias, eps)
    return normal


class _Normal(torch.autograd.Function):
    """Normalisation by a given mean and variance, of which both get a gradient too.

    In PyTorch's own kernels, which give all that is needed in one pass: written out in tensor
    operations, a step of the default surrogate takes twice as long on a CPU.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, mean, var, weight)
        ctx.eps = eps
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, var, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            slope, x, weight, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        scale = (var + ctx.eps).rsqrt()
        of_mean = -weight * scale * of_bias
        of_var = -0.5 * weight * scale.square() * of_weight
        return of_x, of_mean, of_var, of_weight, of_bias, None


class _Sum(torch.autograd.Function):
    """The sum over all processes, to each of them; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:  # noqa: ARG004
        return _summed(part)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:  # noqa: ARG004
        return _summed(slope)


def _summed(part: Tensor) -> Tensor:
    total = part.clone(memory_format=torch.contiguous_format)
    with others():
        dist.all_reduce(total)
    return total
