"""The epochs of a network on one worker, by PyTorch: gradients of each batch are summed over all workers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as nn

from imbalance_spark.core.arrays import IntArray
from imbalance_spark.scoring.bundle_files import Floats, decode_tensors, encode_tensors
from imbalance_spark.scoring.network import NetworkModel, Rows
from imbalance_spark.train_only.learners.boosting import BoostingPlan, Progress, Site
from imbalance_spark.train_only.learners.losses import FocalLoss
from imbalance_spark.train_only.learners.network_rows import (
    Batches,
    LearnedRows,
    batches_of,
    collect_inputs,
    initial_network,
    over_workers,
)
from imbalance_spark.train_only.learners.stopping import StoppingMetric

_ROWS_AT_ONCE = 1 << 14
_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # of AdamW, as in PyTorch


class Training:
    """A network while it learns: all its weights in one vector, which AdamW (Loshchilov and Hutter, 2019) moves.

    The gradient by the margins is that of `FocalLoss`, in closed form; PyTorch takes it back through the layers. It is
    summed over the rows of all workers and divided by their number and their mean weight.

    Args:
        network: where it starts.
        scale: 1 / mean weight of the rows to fit on.
    """

    def __init__(self, network: NetworkModel, loss: FocalLoss, scale: float, *, lr: float, weight_decay: float) -> None:
        self._like, self._loss, self._scale, self._lr, self._decay = network, loss, scale, lr, weight_decay
        self._weights = torch.from_numpy(_flat(network)).requires_grad_()
        self._mean, self._mean_square = torch.zeros_like(self._weights), torch.zeros_like(self._weights)
        self._steps, self._best = 0, self._weights.detach().clone()

    def step(self, rows: LearnedRows, chosen: IntArray) -> None:
        """Learn from a batch, of which this worker has the `chosen` rows; every worker takes the same step."""
        label, weight = rows.labels(chosen), rows.weights(chosen) * self._scale
        margins = margins_of(self._weights, self._like, rows.data(chosen))
        by_margin, _ = self._loss.weighted(margins.detach().numpy(), label, weight)
        [gradient] = torch.autograd.grad(margins, self._weights, torch.from_numpy(by_margin.astype(np.float32)))
        summed = over_workers(np.append(gradient.numpy(), np.float32(len(chosen))))
        if summed[-1]:
            self._move(torch.from_numpy(summed[:-1] / summed[-1]))

    def _move(self, gradient: torch.Tensor) -> None:
        # PyTorch's own AdamW first loads a compiler, which takes each worker seconds.
        self._steps += 1
        self._mean.lerp_(gradient, 1.0 - _BETAS[0])
        self._mean_square.lerp_(gradient**2, 1.0 - _BETAS[1])
        unbiased = [1.0 - beta**self._steps for beta in _BETAS]
        deviation = (self._mean_square / unbiased[1]).sqrt() + _EPSILON
        with torch.no_grad():
            self._weights.mul_(1.0 - self._lr * self._decay)
            self._weights.addcdiv_(self._mean, deviation, value=-self._lr / unbiased[0])

    def measure(self, rows: LearnedRows, metric: StoppingMetric) -> float:
        """The metric for the rows of all workers."""
        with torch.no_grad():
            parts = [
                margins_of(self._weights, self._like, rows.data(chunk)).numpy() for chunk in rows.chunks(_ROWS_AT_ONCE)
            ]
        outputs, everything = len(self._like.layers[-1][1]), slice(None)
        margins = np.concatenate([np.empty((0,) if outputs == 1 else (0, outputs)), *parts])
        return metric.of(margins, rows.labels(everything), rows.weights(everything))

    def keep_as_best(self) -> None:
        """The weights as they are now are the best ones so far."""
        self._best = self._weights.detach().clone()

    @property
    def best(self) -> NetworkModel:
        """The network with the best weights so far."""
        return _network(self._best.numpy(), self._like)

    def to_bytes(self) -> bytes:
        """All that another attempt needs to go on."""
        state = {"weights": self._weights.detach(), "mean": self._mean, "mean_square": self._mean_square}
        arrays = {name: values.numpy() for name, values in (state | {"best": self._best}).items()}
        return encode_tensors(arrays, {"steps": str(self._steps)})

    def resume(self, content: bytes) -> None:
        """Go on from what `to_bytes` wrote."""
        arrays, metadata = decode_tensors(content)
        found = {name: torch.from_numpy(values) for name, values in arrays.items()}
        self._weights, self._best = found["weights"].requires_grad_(), found["best"]
        self._mean, self._mean_square, self._steps = found["mean"], found["mean_square"], int(metadata["steps"])


def margins_of(weights: torch.Tensor, like: NetworkModel, data: Rows) -> torch.Tensor:
    """PyTorch's own forward pass: the margins of `NetworkModel`, in float32."""
    arrays = _arrays(like)
    flat = weights.split([array.size for array in arrays])
    parts = [part.view(array.shape) for part, array in zip(flat, arrays, strict=True)]
    tables, layers = parts[: len(like.tables)], parts[len(like.tables) :]
    codes = torch.from_numpy(like.inputs.codes(data))
    embedded = [nn.embedding(codes[:, k], table) for k, table in enumerate(tables)]
    x = torch.cat([torch.from_numpy(like.inputs.numbers(data)).to(weights.dtype), *embedded], dim=1)
    for number, (weight, bias) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
        x = nn.linear(torch.relu(x) if number else x, weight, bias)
    return x[:, 0] if x.shape[1] == 1 else x


def train(
    plan: BoostingPlan, to_fit: LearnedRows, stopping: LearnedRows, numeric: int, start: Sequence[float],
    progress: Progress, site: Site,
) -> Progress:  # fmt: skip
    """The epochs that are left, and the network of the best one; a resumed fit gives the one that was not interrupted.

    Args:
        plan: its loss and metric are given; `params` holds those of `NetworkParams`, and the seed.
        numeric: how many features are numbers.
        start: margins that scores start from, one or one for each class.
    """
    assert plan.loss is not None, "the learner gives one"  # noqa: S101  # for the type checker
    assert plan.metric is not None, "the learner gives one"  # noqa: S101
    params = plan.params
    with _deterministic(site.threads):
        inputs = collect_inputs(to_fit, numeric, _ROWS_AT_ONCE)
        network = initial_network(inputs, params["hidden"], start, params["seed"])
        training = Training(
            network, plan.loss, _scale(to_fit, plan.loss), lr=params["lr"], weight_decay=params["weight_decay"]
        )
        if progress.model:
            training.resume(progress.model)
        batches = batches_of(to_fit, params["batch_rows"], params["seed"], _ROWS_AT_ONCE)
        while not progress.is_over(plan):
            progress = _epoch(training, batches, to_fit, stopping, plan.metric, progress)
            site.tell(progress.rounds - 1)
            if progress.rounds % plan.checkpoint_rounds == 0 and not progress.is_over(plan):
                progress = progress.with_model(training.to_bytes())
                site.keep(progress.as_checkpoint(plan))
        return progress.with_model(training.best.to_bytes())


def _epoch(
    training: Training, batches: Batches, to_fit: LearnedRows, stopping: LearnedRows, metric: StoppingMetric,
    progress: Progress,
) -> Progress:  # fmt: skip
    for chosen in batches.of_epoch(progress.rounds):
        training.step(to_fit, chosen)
    progress = progress.with_round(training.measure(to_fit, metric), training.measure(stopping, metric))
    if progress.best_round(is_maximised=metric.is_maximised) == progress.rounds - 1:
        training.keep_as_best()
    return progress


def _scale(rows: LearnedRows, loss: FocalLoss) -> float:
    """1 / mean weight of a row of all workers, that of its class in the loss included."""
    everything, in_loss = slice(None), np.array(loss.weights)
    weight = float(rows.weights(everything) @ in_loss[rows.labels(everything)])
    total, number = over_workers(np.array([weight, float(len(rows.values))]))
    return float(number / total)


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Within the block PyTorch adds up in one order, on so many threads; Spark uses this process again."""
    was_deterministic, had = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_deterministic)
        torch.set_num_threads(had)


def _arrays(network: NetworkModel) -> list[Floats]:
    return [*network.tables, *[array for layer in network.layers for array in layer]]


def _flat(network: NetworkModel) -> Floats:
    return np.concatenate([array.ravel() for array in _arrays(network)])


def _network(flat: Floats, like: NetworkModel) -> NetworkModel:
    """The network of other weights."""
    arrays = _arrays(like)
    ends = np.cumsum([0, *[array.size for array in arrays]])
    parts = [flat[a:b].reshape(array.shape) for (a, b), array in zip(pairwise(ends), arrays, strict=True)]
    tables, layers = parts[: len(like.tables)], parts[len(like.tables) :]
    return NetworkModel(
        centres=like.centres,
        widths=like.widths,
        tables=tuple(tables),
        layers=tuple(zip(layers[::2], layers[1::2], strict=True)),
    )
