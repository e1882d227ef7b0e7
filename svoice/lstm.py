"""The bidirectional LSTMs of a MulCat block on a CPU, in less time than nn.LSTM's and half of its
memory (benchmarks/svoice_step.py).

Sequences are split among threads that run PyTorch on one core each, and meet only at the end:
nn.LSTM's threads meet several times in every time step, which costs much, and very much on cores
shared with other programs. For the backward pass only the gates are kept; the rest follows from
them at the price of a few element-wise products.

A *scan* is one LSTM in one direction of time. There are four, in the order (forward, backward in
time) × (first, second LSTM), and their time is counted in their own direction.
"""

import functools
import itertools
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.autograd.function import once_differentiable

from svoice.buffers import Buffers, shaped

MAX_WORKERS = 8  # more would wait for Python's lock
MAX_SEQUENCES = 192  # of one piece: what a time step needs shall stay in a core's caches

# Gates are most of what a training step needs, and the next one needs as much.
_spare = Buffers()


def projected_lstms(lstms, projections, x):
    """Two bidirectional LSTMs on the same input, each followed by a linear layer.

    lstms: two nn.LSTM, one layer, bidirectional, N → H; projections: two nn.Linear, 2H → N;
    x (time, sequences, N) → two of (time, sequences, N)
    """
    # cuDNN and oneDNN's kernels for half precision are nn.LSTM's.
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
    return _projected(x, weights, outward, bias, torch.is_grad_enabled())


def _weights(lstm, direction):
    """(N + H + 1, 4H): from input, previous output and 1 to the gates i, f, o, g before their
    activations, those of g doubled."""
    parameters = [
        getattr(lstm, f"{kind}_l0{direction}")
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    inward, recurrent, *biases = parameters
    stacked = torch.cat((inward, recurrent, sum(biases).unsqueeze(1)), 1)
    i, f, g, o = stacked.chunk(4)
    return torch.cat((i, f, o, 2 * g)).t()


# The loops over time would be unrolled into a graph of many thousand nodes.
@torch.compiler.disable
def _projected(x, weights, outward, bias, keep):
    return _Projected.apply(x, weights, outward, bias, keep)


class _Projected(torch.autograd.Function):
    """x (time, sequences, N), weights (4, N + H + 1, 4H), outward (4, N, H), bias (2, N); keep:
    whether a backward pass will follow."""

    @staticmethod
    def forward(ctx, x, weights, outward, bias, keep):
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
    def backward(ctx, *gradients):
        x, weights, outward, *buffers = ctx.saved_tensors
        T, sequences, _ = x.shape
        H = outward.shape[2]
        pieces = _pieces(sequences)
        # A second pass through a kept graph must not write over its gates, given back already;
        # should others have done so, autograd has just found out.
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


def _inputs(x, sequences, H):
    """What the scans' weights apply to, (4, sequences, N + H + 1), and its parts: the input of
    the scans forward and backward in time, and the previous output."""
    N = x.shape[-1]
    width = N + H + 1
    # Rows begin at multiples of 16 numbers, as the matrix kernels like them.
    inputs = x.new_zeros(4, sequences, -(-width // 16) * 16)[..., :width]
    inputs[..., -1] = 1
    return inputs, inputs[:2, :, :N], inputs[2:, :, :N], inputs[..., N : N + H]


def _tanh_(values):
    """tanh in place, as 2σ(2z) − 1: PyTorch's tanh takes eight times as long as its σ."""
    return values.mul_(2).sigmoid_().mul_(2).sub_(1)


def _scan(x, weights, gates, outputs):
    """The four scans over x (time, sequences, N).

    gates (time, 4, sequences, 4H) receives σ of all gates, g's doubled argument included, or
    (1, …) that of the last step; outputs (4, time, sequences, H) receives the LSTMs' outputs, in
    the order of x.
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


def _scan_back(x, weights, outward, gates, cells, gradients, x_gradient):
    """The gradients of `_scan` and the linear layers, adding x's to x_gradient.

    cells: room for the LSTMs' cells, (time + 1, 4, sequences, H)
    gradients: those of the two linear layers' outputs, (time, sequences, N) each.
    → of weights, of outward
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
    arguments = x.new_empty(4, sequences, 4 * H)  # from here on: gradients of
    argument_i, argument_f, argument_o, argument_g = arguments.chunk(4, -1)
    cell = x.new_zeros(4, sequences, H)
    output = torch.empty_like(cell)
    projected = x.new_empty(4, sequences, N)
    # But for these: values.
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


def _gate_shapes(pieces, T, H):
    return [(T, 4, piece.stop - piece.start, 4 * H) for piece in pieces]


def _pieces(sequences):
    """Slices that share the sequences out, the same number to each worker."""
    workers = min(_worker_count(), max(1, sequences // 16))
    count = workers * -(-sequences // (workers * MAX_SEQUENCES))
    bounds = [sequences * n // count for n in range(count + 1)]
    return [slice(*pair) for pair in itertools.pairwise(bounds)]


def _worker_count():
    return min(torch.get_num_threads(), MAX_WORKERS)


def _each(function, *arguments):
    """function of each, in the workers and without gradients. → the results, in order"""
    inference = torch.is_inference_mode_enabled()  # of this thread

    def run(*arguments):
        with torch.inference_mode(inference), torch.no_grad():
            return function(*arguments)

    if _worker_count() == 1 or len(arguments[0]) == 1:
        return list(map(run, *arguments))
    return list(_workers(torch.get_num_threads()).map(run, *arguments))


@functools.cache
def _workers(threads):
    """Threads in which PyTorch uses an equal share of so many cores."""
    count = min(threads, MAX_WORKERS)
    all_started = threading.Barrier(count)

    def start():
        torch.get_num_threads()  # The first call in a thread sets what the next line changes.
        torch.set_num_threads(threads // count)
        all_started.wait()

    pool = ThreadPoolExecutor(count, "lstm", start)
    list(pool.map(lambda _: None, range(count)))
    torch.set_num_threads(threads)  # They set it for threads to come, too.
    return pool
