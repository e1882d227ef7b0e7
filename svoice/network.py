"""The separation network of arXiv 2003.01531, section 3.

Axes in comments and docstrings: N features, K frames of a chunk, C speakers.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from svoice.errors import InputError
from svoice.lstm import projected_lstms


def chunk_length(sample_rate, segment_seconds, L):
    """K, frames in a chunk: near the square root of twice a segment's frames, which makes the
    sequences within and across chunks about equally long (section 3)."""
    return math.floor(math.sqrt(2 * sample_rate * segment_seconds / (L / 2)))


def chunk(frames, K):
    """Cut into half-overlapping chunks: (batch, N, frames) → (batch, N, K, chunks).

    The chunks are those of two tilings, one ⌊K/2⌋ frames ahead of the other, in order of time;
    zeros fill both ends, so each frame lies in exactly two chunks, for odd K too.
    """
    batch, N, length = frames.shape
    shift = K // 2
    tiles = -(-(length + shift) // K)
    ahead = F.pad(frames, (shift, tiles * K - length - shift))
    behind = F.pad(frames, (0, tiles * K - length))
    tilings = [tiling.view(batch, N, tiles, K) for tiling in (ahead, behind)]
    return torch.stack(tilings, 3).view(batch, N, 2 * tiles, K).transpose(2, 3)


def merge(chunks, length):
    """The inverse of `chunk`, by overlap-add: (batch, N, K, chunks) → (batch, N, length)."""
    batch, N, K, count = chunks.shape
    shift = K // 2
    tilings = chunks.transpose(2, 3).reshape(batch, N, count // 2, 2, K)
    ahead = tilings[:, :, :, 0].reshape(batch, N, -1)
    behind = tilings[:, :, :, 1].reshape(batch, N, -1)
    return (ahead[..., shift : shift + length] + behind[..., :length]) / 2


class MulCat(nn.Module):
    """Multiply and concatenate (section 3, equation 5): two bidirectional LSTMs, of which one
    gates the other, and a bypass. (time, sequences, N) → the same."""

    def __init__(self, N, H):
        super().__init__()
        self.lstms = nn.ModuleList(nn.LSTM(N, H, bidirectional=True) for _ in range(2))
        self.projections = nn.ModuleList(nn.Linear(2 * H, N) for _ in range(2))
        self.output = nn.Linear(2 * N, N)

    def forward(self, x):
        first, second = projected_lstms(self.lstms, self.projections, x)
        # The concatenation's linear layer in two parts spares the concatenation.
        gated, bypass = self.output.weight.chunk(2, 1)
        y = F.linear(x, bypass, self.output.bias)
        return y + F.linear(first * second, gated)


class DoubleBlock(nn.Module):
    """A MulCat block along the frames within chunks, then one along the chunks, each added to
    its input. (K, chunks, batch, N) → the same: time first is how the LSTMs run fastest."""

    def __init__(self, N, H, group_norm):
        super().__init__()
        self.within = MulCat(N, H)
        self.across = MulCat(N, H)
        self.norms = nn.ModuleList(
            nn.GroupNorm(1, N, eps=1e-8) if group_norm else nn.Identity() for _ in range(2)
        )

    def forward(self, x):
        for block, norm in zip((self.within, self.across), self.norms, strict=True):
            y = block(x.flatten(1, 2)).view(x.shape)
            if isinstance(norm, nn.GroupNorm):
                y = norm(y.permute(2, 3, 0, 1)).permute(2, 3, 0, 1)
            # Two transpositions bring the axes back.
            x = (x + y).transpose(0, 1).contiguous()
        return x


class SVoice(nn.Module):
    """The network.

    N: encoder features; L: encoder kernel in samples; H: LSTM units in each direction; R: double
    blocks; C: speakers; sample_rate in Hz and segment_seconds, the training segments' length, set
    the chunk length; group_norm: normalise each MulCat block's output; activation_checkpointing:
    in training keep only what goes into each double block and compute the rest anew in the backward
    pass, to the same results.

    Raises InputError for sizes that do not fit each other.
    """

    def __init__(
        self,
        N,
        L,
        H,
        R,
        C,
        sample_rate,
        segment_seconds,
        group_norm=False,
        activation_checkpointing=False,
    ):
        super().__init__()
        if L % 2:
            raise InputError("svoice.L", L, "an even number (the encoder's hop is L/2)")
        if N % L:
            raise InputError("svoice.N", N, f"a multiple of svoice.L = {L}")
        if 2 * N < L * L:
            raise InputError(
                "svoice.N",
                N,
                f"N/L at least L/2, so at least {L * L // 2} (the decoder would leave gaps)",
            )
        if sample_rate * segment_seconds < L:
            raise InputError(
                "svoice.segment_seconds", segment_seconds, f"at least svoice.L = {L} samples"
            )
        self.configuration = {
            "N": N,
            "L": L,
            "H": H,
            "R": R,
            "C": C,
            "sample_rate": sample_rate,
            "segment_seconds": segment_seconds,
            "group_norm": group_norm,
        }
        self.activation_checkpointing = activation_checkpointing
        self.N, self.L, self.C = N, L, C
        self.K = chunk_length(sample_rate, segment_seconds, L)
        self.encoder = nn.Conv1d(1, N, L, stride=L // 2, bias=False)
        self.blocks = nn.ModuleList(DoubleBlock(N, H, group_norm) for _ in range(R))
        self.activation = nn.PReLU()
        self.separation = nn.Conv1d(N, C * N, 1)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)

    def forward(self, mixture):
        """(batch, samples) → (outputs, batch, C, samples).

        In training the outputs are those after each of the R double blocks, in evaluation only
        the last one is computed.
        """
        samples = mixture.shape[-1]
        padding = max(0, self.L - samples)
        frames = F.relu(self.encoder(F.pad(mixture, (0, padding)).unsqueeze(1)))
        # (batch, N, K, chunks) → (K, chunks, batch, N)
        x = chunk(frames, self.K).permute(2, 3, 0, 1).contiguous()
        outputs = []
        for number, block in enumerate(self.blocks, 1):
            if self.activation_checkpointing and self.training:
                # The check compares sizes, and buffers may be larger than what is in them.
                x = checkpoint(block, x, use_reentrant=False, determinism_check="none")
            else:
                x = block(x)
            if self.training or number == len(self.blocks):
                outputs.append(self.decode(x, frames.shape[-1], samples))
        return torch.stack(outputs)

    def decode(self, x, length, samples):
        """(K, chunks, batch, N) → (batch, C, samples), by way of `length` frames.

        The paper convolves chunks to C·N features, merges them and averages groups of L features
        into N/L samples. Convolution, merging and averaging are linear, so the merged frames and
        the averaged filters give the same for a fraction of the work.
        """
        frames = merge(self.activation(x).permute(2, 3, 0, 1), length)
        weight = self.separation.weight.view(-1, self.L, self.N, 1).mean(1)
        bias = self.separation.bias.view(-1, self.L).mean(1)
        pieces = F.conv1d(frames, weight, bias).unflatten(1, (self.C, -1)).flatten(0, 1)
        hop = self.L // 2
        width = pieces.shape[1]
        overlapped = F.fold(
            pieces, (1, (length - 1) * hop + width), kernel_size=(1, width), stride=(1, hop)
        ).view(-1, self.C, (length - 1) * hop + width)
        return F.pad(overlapped, (0, samples - overlapped.shape[-1]))
