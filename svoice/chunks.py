"""Cutting a sequence into half-overlapping chunks, and back (arXiv 2003.01531, section 3).

Axes: N features, K frames of a chunk.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def chunk_length(sample_rate: int, segment_seconds: float, L: int) -> int:
    """Returns K, the frames in a chunk: near the square root of twice a segment's frames.

    The sequences within and across chunks are then about equally long.

    Args:
        sample_rate: in Hz.
        segment_seconds: the length of the segments on which the network is trained.
        L: the encoder's kernel in samples; its hop is L/2.
    """
    return math.floor(math.sqrt(2 * sample_rate * segment_seconds / (L / 2)))


def tiles(length: int, K: int) -> int:
    """Returns how many chunks each of the two tilings of `chunk` has.

    Args:
        length: the frames of the sequence.
        K: the frames of a chunk.
    """
    return -(-(length + K // 2) // K)


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
