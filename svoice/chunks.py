"""Cutting a sequence into half-overlapping chunks, and back (arXiv 2003.01531, section 3).

Axes: N features, K frames of a chunk.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from contract.sizes import tiles


def chunk(frames: Tensor, K: int) -> Tensor:
    """Cuts a sequence into half-overlapping chunks.

    The chunks are those of two tilings, of which one is ⌊K/2⌋ frames ahead of the other, in order
    of time. Zeros fill both ends, so that each frame lies in exactly two chunks, for odd K too.

    Args:
        frames: the sequence, (batch, N, frames).
        K: the frames of a chunk.

    Returns:
        The chunks, (batch, N, K, chunks).
    """
    batch, N, length = frames.shape
    shift, count = K // 2, tiles(length, K)
    ahead = F.pad(frames, (shift, count * K - length - shift))
    behind = F.pad(frames, (0, count * K - length))
    tilings = [tiling.view(batch, N, count, K) for tiling in (ahead, behind)]
    return torch.stack(tilings, 3).view(batch, N, 2 * count, K).transpose(2, 3)


def merge(chunks: Tensor, length: int) -> Tensor:
    """Inverts `chunk` by overlap-add.

    Args:
        chunks: (batch, N, K, chunks).
        length: the frames of the sequence.

    Returns:
        The sequence, (batch, N, length).
    """
    batch, N, K, count = chunks.shape
    shift = K // 2
    tilings = chunks.transpose(2, 3).reshape(batch, N, count // 2, 2, K)
    ahead = tilings[:, :, :, 0].reshape(batch, N, -1)
    behind = tilings[:, :, :, 1].reshape(batch, N, -1)
    return (ahead[..., shift : shift + length] + behind[..., :length]) / 2
