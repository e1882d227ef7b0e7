"""The network of `svoice.network` in less time and memory, from the same weights.

It differs from the plain network in five ways, of which all but one serve the CPU and GPUs alike:

- Time is the first axis, which is fastest for LSTMs, and in one piece of memory, as cuDNN needs it.
- A linear layer of a concatenation is applied to its parts, so that no concatenation is made.
- The decoder averages its filters instead of their outputs, which saves most of its memory.
- Activation checkpointing, if it is chosen, keeps only the inputs of the double blocks.
- A CPU has LSTMs of its own (`svoice.lstm`), except under autocast. A GPU, and a CPU in bf16 or
  fp16, run PyTorch's nn.LSTM, as the plain network does everywhere.

The test tests/svoice/test_svoice_fast.py compares the two networks.

Axes: N features, K frames of a chunk, C speakers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from svoice.chunks import chunk, merge
from svoice.lstm import projected_lstms

if TYPE_CHECKING:
    from svoice.network import DoubleBlock, MulCat, SVoice


def forward(network: SVoice, mixture: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Computes `SVoice.forward`.

    Args:
        network: the network.
        mixture: (batch, samples).
        lengths: the number of each mixture's samples without its padding, (batch,). Then each
            output is that of the mixture alone, provided that all mixtures have the same number of
            `tiles`. None counts the padding as part of the mixtures.

    Returns:
        The outputs, (outputs, batch, C, samples).
    """
    samples = mixture.shape[-1]
    padding = max(0, network.L - samples)
    frames = F.relu(network.encoder(F.pad(mixture, (0, padding)).unsqueeze(1)))
    mask = None
    if lengths is not None:
        # A mixture alone has no frames that begin later; `chunk` fills up with zeros.
        own = network.frames(lengths)
        mask = torch.arange(frames.shape[-1], device=frames.device) < own[:, None, None]
        frames = frames * mask
    # (batch, N, K, chunks) → (K, chunks, batch, N)
    x = chunk(frames, network.K).permute(2, 3, 0, 1).contiguous()
    outputs = []
    for number, block in enumerate(network.blocks, 1):
        if network.activation_checkpointing and network.training:
            # The check would compare the sizes of buffers, which may be larger than their content.
            x = checkpoint(double_block, block, x, use_reentrant=False, determinism_check="none")
        else:
            x = double_block(block, x)
        if network.training or number == len(network.blocks):
            outputs.append(decode(network, x, frames.shape[-1], samples, mask))
    return torch.stack(outputs)


def double_block(block: DoubleBlock, x: Tensor) -> Tensor:
    """Computes `DoubleBlock.forward` with time as the first axis.

    Args:
        block: the block.
        x: (K, chunks, batch, N).

    Returns:
        (K, chunks, batch, N).
    """
    for mulcat_block, norm in zip((block.within, block.across), block.norms, strict=True):
        y = mulcat(mulcat_block, x.flatten(1, 2)).view(x.shape)
        if isinstance(norm, nn.GroupNorm):
            y = norm(y.permute(2, 3, 0, 1)).permute(2, 3, 0, 1)
        # Two transpositions bring the axes back.
        x = (x + y).transpose(0, 1).contiguous()
    return x


def mulcat(block: MulCat, x: Tensor) -> Tensor:
    """Computes `MulCat.forward`.

    Args:
        block: the block.
        x: (time, sequences, N).

    Returns:
        (time, sequences, N).
    """
    first, second = projected_lstms(block.lstms, block.projections, x)
    # The weights of the linear layer, for each part of the concatenation.
    gated, bypass = block.output.weight.chunk(2, 1)
    y = F.linear(x, bypass, block.output.bias)
    return y + F.linear(first * second, gated)


def decode(
    network: SVoice, x: Tensor, length: int, samples: int, mask: Tensor | None = None
) -> Tensor:
    """Computes `SVoice.decode` with time as the first axis.

    The convolution, the merging of chunks and the averaging of L features are linear. The result is
    therefore the same when the chunks are merged before the convolution and its filters are
    averaged, which is a fraction of the work.

    Args:
        network: the network.
        x: (K, chunks, batch, N).
        length: the frames of the sequence.
        samples: the samples of the mixture.
        mask: which frames belong to each mixture, (batch, 1, frames); None stands for all.

    Returns:
        The output, (batch, C, samples).
    """
    frames = merge(network.activation(x).permute(2, 3, 0, 1), length)
    weight = network.separation.weight.view(-1, network.L, network.N, 1).mean(1)
    bias = network.separation.bias.view(-1, network.L).mean(1)
    pieces = F.conv1d(frames, weight, bias)
    if mask is not None:
        pieces = pieces * mask
    pieces = pieces.unflatten(1, (network.C, -1)).flatten(0, 1)
    return network.overlap_add(pieces, samples)
