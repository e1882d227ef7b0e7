"""The bidirectional LSTMs of a MulCat block on a CPU, faster than nn.LSTM and with half of its
memory (benchmarks/svoice_step.py).

The sequences are divided among threads, each of which runs PyTorch on one core, and which
synchronise only at the end. The threads of nn.LSTM synchronise several times in every time step,
which is slow, and very slow on cores that are shared with other programs. For the backward pass
only the gates are kept: the cells and outputs follow from them by a few element-wise products.

A *scan* is one LSTM in one direction of time. There are four, in the order (forward, backward in
time) × (first, second LSTM), and each counts time in its own direction.

Axes: N features of the input, H units of an LSTM in one direction.
"""

from __future__ import annotations

import functools
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from svoice.buffers import Buffers, shaped

MAX_WORKERS = 8  # more would wait for Python's global lock
MAX_SEQUENCES = 192  # the most of a piece, so that a time step's data stays in a core's caches

# The gates are most of the memory of a training step, and the next step needs as much.
_spare = Buffers()


def projected_lstms(
    lstms: Sequence[nn.LSTM], projections: Sequence[nn.Linear], x: Tensor
) -> Sequence[Tensor]:
    """Runs two bidirectional LSTMs on the same input, each followed by a linear layer.

    Args:
        lstms: two LSTMs of one bidirectional layer, from N features to H.
        projections: two linear layers, from 2H features to N.
        x: the input, (time, sequences, N).

    Returns:
        The outputs of the two linear layers, (time, sequences, N) each.
    """
    # nn.LSTM uses the kernels of cuDNN on a GPU, and of oneDNN for half precision.
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return [projection(lstm(x)[0]) for lstm, projection in zip(lstms, projections, strict=True)]
    H = lstms[0].hidden_size
    scans = [(lstm, direction) for direction in ("", "_reverse") for lstm in lstms]
    weights = torch.stack([_weights(lstm, direction) for lstm, direction in scans])
    outward = torch.stack(
        [
            projection.weight[:, half]
            for half in (slice(0, H), slice(H, None))
            for projection in projections
        ]
    )
    bias = torch.stack([projection.bias for projection in projections])
    return _run(x, weights, outward, bias, torch.is_grad_enabled())


def _weights(lstm: nn.LSTM, direction: str) -> Tensor:
    """Returns the weights of a scan in one matrix, (N + H + 1, 4H).

    They lead from the input, the previous output and 1 to the gates i, f, o, g before their
    activations. Those of g are doubled, see `_tanh_`.
    """
    parameters = [
        getattr(lstm, f"{kind}_l0{direction}")
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    inward, recurrent, *biases = parameters
    stacked = torch.cat((inward, recurrent, sum(biases).unsqueeze(1)), 1)
    i, f, g, o = stacked.chunk(4)
    return torch.cat((i, f, o, 2 * g)).t()


def _projected(
    x: Tensor, weights: Tensor, outward: Tensor, bias: Tensor, keep: bool
) -> Sequence[Tensor]:
    return _Projected.apply(x, weights, outward, bias, keep)


_run = _projected


def exclude_from_compilation() -> None:
    """Makes PyTorch's compiler leave the LSTMs as they are, for the rest of the process.

    It would unroll the loops over time into a graph of many thousand nodes. To tell it so takes a
    second, because this imports it; so this is called only before a network is compiled.
    """
    global _run
    _run = torch.compiler.disable(_projected)


class _Projected(torch.autograd.Function):
    """The four scans and the two linear layers, differentiable once.

    The arguments of `forward` are x (time, sequences, N), the scans' weights (4, N + H + 1, 4H),
    the linear layers' weights for each scan, `outward` (4, N, H), their bias (2, N), and whether a
    backward pass will follow, `keep`.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weights: Tensor, outward: Tensor, bias: Tensor, keep: bool
    ) -> tuple[Tensor, ...]:
        T, sequences, N = x.shape
        H = outward.shape[2]
        pieces = _pieces(sequences)
        shapes = _gate_shapes(pieces, T if keep else 1, H)
        take = _spare.take if keep else torch.empty
        buffers = [take(math.prod(shape), dtype=x.dtype) for shape in shapes]
        outputs_buffer = take(4 * T * sequences * H, dtype=x.dtype)
        outputs = shaped(outputs_buffer, (4, T, sequences, H))
        _each(
            lambda piece, gates: _scan(x[:, piece], weights, gates, outputs[:, :, piece]),
            pieces,
            map(shaped, buffers, shapes),
        )
        scans = outputs.view(4, T * sequences, H)
        projected = tuple(
            torch.addmm(bias[lstm], scans[lstm], outward[lstm].t())
            .addmm_(scans[2 + lstm], outward[2 + lstm].t())
            .view(T, sequences, N)
            for lstm in range(2)
        )
        if keep:
            _spare.give_back(outputs_buffer)
            ctx.save_for_backward(x, weights, outward, *buffers)
            ctx.lent = True
        return projected

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, outward, *buffers = ctx.saved_tensors
        T, sequences, _ = x.shape
        H = outward.shape[2]
        pieces = _pieces(sequences)
        # After the first pass through a kept graph its gates belong to `_spare`, so that a second
        # pass must not take buffers from there: it would overwrite them. If another graph already
        # has, autograd has just raised an error, in `ctx.saved_tensors`.
        take = _spare.take if ctx.lent else torch.empty
        shapes = [(T + 1, 4, piece.stop - piece.start, H) for piece in pieces]
        cells = [take(math.prod(shape), dtype=x.dtype) for shape in shapes]
        x_gradient = torch.zeros_like(x)
        parts = _each(
            lambda piece, gates, cells: _scan_back(
                x[:, piece],
                weights,
                outward,
                gates,
                cells,
                [gradient[:, piece] for gradient in gradients],
                x_gradient[:, piece],
            ),
            pieces,
            map(shaped, buffers, _gate_shapes(pieces, T, H)),
            map(shaped, cells, shapes),
        )
        if ctx.lent:
            _spare.give_back(*buffers, *cells)
            ctx.lent = False
        weights_gradient, outward_gradient = (sum(part) for part in zip(*parts, strict=True))
        bias_gradient = torch.stack([gradient.sum((0, 1)) for gradient in gradients])
        return x_gradient, weights_gradient, outward_gradient, bias_gradient, None


def _inputs(x: Tensor, sequences: int, H: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Makes room for what the scans' weights are multiplied with in a time step.

    Returns:
        The inputs of the four scans (4, sequences, N + H + 1), of which the last feature is 1, and
        views of its parts: the input of the scans forward in time, that of the scans backward in
        time, (2, sequences, N) each, and the previous output (4, sequences, H).
    """
    N = x.shape[-1]
    width = N + H + 1
    # The matrix kernels are faster when rows begin at multiples of 16 numbers.
    inputs = x.new_zeros(4, sequences, -(-width // 16) * 16)[..., :width]
    inputs[..., -1] = 1
    return inputs, inputs[:2, :, :N], inputs[2:, :, :N], inputs[..., N : N + H]


def _tanh_(values: Tensor) -> Tensor:
    """Computes tanh in place, as 2σ(2z) − 1: PyTorch's tanh takes eight times as long as its σ."""
    return values.mul_(2).sigmoid_().mul_(2).sub_(1)


def _scan(x: Tensor, weights: Tensor, gates: Tensor, outputs: Tensor) -> None:
    """Runs the four scans.

    Args:
        x: the input, (time, sequences, N).
        weights: (4, N + H + 1, 4H).
        gates: receives σ of the arguments of all gates, of which g's is doubled,
            (time, 4, sequences, 4H); if it has room for one time step only, those of the last one.
        outputs: receives the outputs of the LSTMs, (4, time, sequences, H), in the order of time
            of `x`.
    """
    T, sequences, _ = x.shape
    H = outputs.shape[-1]
    inputs, forward, backward, output = _inputs(x, sequences, H)
    arguments = x.new_empty(4, sequences, 4 * H)
    cell = x.new_zeros(4, sequences, H)
    activated = torch.empty_like(cell)
    for t in range(T):
        forward.copy_(x[t])
        backward.copy_(x[T - 1 - t])
        torch.bmm(inputs, weights, out=arguments)
        i, f, o, g = torch.sigmoid(arguments, out=gates[t % len(gates)]).chunk(4, -1)
        # c = f c + i tanh(z), tanh(z) = 2g − 1
        cell.mul_(f).sub_(i).addcmul_(i, g, value=2)
        torch.mul(o, _tanh_(activated.copy_(cell)), out=output)
        outputs[:2, t] = output[:2]
        outputs[2:, T - 1 - t] = output[2:]


def _scan_back(
    x: Tensor,
    weights: Tensor,
    outward: Tensor,
    gates: Tensor,
    cells: Tensor,
    gradients: Sequence[Tensor],
    x_gradient: Tensor,
) -> tuple[Tensor, Tensor]:
    """Computes the gradients of `_scan` and the linear layers.

    Args:
        x: the input, (time, sequences, N).
        weights: (4, N + H + 1, 4H).
        outward: the linear layers' weights for each scan, (4, N, H).
        gates: as `_scan` has left them, (time, 4, sequences, 4H).
        cells: room for the cells of the LSTMs, (time + 1, 4, sequences, H).
        gradients: the gradients of the outputs of the two linear layers, (time, sequences, N) each.
        x_gradient: the gradient of `x` is added to it, (time, sequences, N).

    Returns:
        The gradients of `weights` and of `outward`.
    """
    T, sequences, N = x.shape
    H = outward.shape[2]
    cells[0] = 0
    for t in range(T):
        i, f, o, g = gates[t].chunk(4, -1)
        torch.mul(cells[t], f, out=cells[t + 1]).sub_(i).addcmul_(i, g, value=2)

    inputs, forward, backward, previous = _inputs(x, sequences, H)
    inputs_gradient = x.new_zeros(4, sequences, N + H)
    from_scans = inputs_gradient[..., :N]
    from_next = inputs_gradient[..., N:]
    to_inputs = weights[:, :-1].transpose(1, 2).contiguous()
    weights_gradient = torch.zeros_like(weights)
    outward_gradient = torch.zeros_like(outward)
    # Until `activated`, the tensors below are the gradients of what their names say.
    arguments = x.new_empty(4, sequences, 4 * H)
    argument_i, argument_f, argument_o, argument_g = arguments.chunk(4, -1)
    cell = x.new_zeros(4, sequences, H)
    output = torch.empty_like(cell)
    projected = x.new_empty(4, sequences, N)
    # These are values.
    activated = _tanh_(cells[T].clone())
    value = activated * gates[T - 1].chunk(4, -1)[2]
    for t in reversed(range(T)):
        i, f, o, g = gates[t].chunk(4, -1)
        for lstm, gradient in enumerate(gradients):
            projected[lstm] = gradient[t]
            projected[2 + lstm] = gradient[T - 1 - t]
        outward_gradient.baddbmm_(projected.transpose(1, 2), value)
        torch.baddbmm(from_next, projected, outward, out=output)

        torch.mul(output, activated, out=argument_o)
        output.mul_(o)
        cell.add_(output).addcmul_(output, activated.square_(), value=-1)
        torch.mul(cell, g, out=argument_i).mul_(2).sub_(cell)
        torch.mul(cell, cells[t], out=argument_f)
        torch.mul(cell, i, out=argument_g).mul_(2)
        cell.mul_(f)
        # σ' = σ − σ²
        arguments.mul_(gates[t]).addcmul_(arguments, gates[t], value=-1)

        torch.bmm(arguments, to_inputs, out=inputs_gradient)
        x_gradient[t].add_(from_scans[0]).add_(from_scans[1])
        x_gradient[T - 1 - t].add_(from_scans[2]).add_(from_scans[3])

        activated.copy_(cells[t])
        torch.mul(gates[t - 1].chunk(4, -1)[2], _tanh_(activated), out=value)
        previous.copy_(value)  # zeros at t = 0, as the first cell is
        forward.copy_(x[t])
        backward.copy_(x[T - 1 - t])
        weights_gradient.baddbmm_(inputs.transpose(1, 2), arguments)
    return weights_gradient, outward_gradient


def _gate_shapes(pieces: list[slice], T: int, H: int) -> list[tuple[int, ...]]:
    return [(T, 4, piece.stop - piece.start, 4 * H) for piece in pieces]


def _pieces(sequences: int) -> list[slice]:
    """Divides the sequences into slices, the same number of them for each worker."""
    workers = min(_worker_count(), max(1, sequences // 16))
    count = workers * -(-sequences // (workers * MAX_SEQUENCES))
    bounds = [sequences * n // count for n in range(count + 1)]
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def _worker_count() -> int:
    return min(torch.get_num_threads(), MAX_WORKERS)


def _each(function: Callable[..., Any], *arguments: Iterable[Any]) -> list[Any]:
    """Calls a function in the workers, without gradients, as `map` does, and returns the results.

    The first of `arguments` is a list.
    """
    inference = torch.is_inference_mode_enabled()  # each thread has its own mode

    def run(*arguments: Any) -> Any:
        with torch.inference_mode(inference), torch.no_grad():
            return function(*arguments)

    if _worker_count() == 1 or len(arguments[0]) == 1:
        return list(map(run, *arguments))
    return list(_workers(torch.get_num_threads()).map(run, *arguments))


@functools.cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """Makes a pool of threads, in each of which PyTorch uses an equal share of `threads` cores."""
    count = min(threads, MAX_WORKERS)
    all_started = threading.Barrier(count)

    def start() -> None:
        torch.get_num_threads()  # The first call in a thread resets what the next line sets.
        torch.set_num_threads(threads // count)
        all_started.wait()

    pool = ThreadPoolExecutor(count, "lstm", start)
    list(pool.map(lambda _: None, range(count)))
    torch.set_num_threads(threads)  # The workers have set it for all later threads as well.
    return pool
