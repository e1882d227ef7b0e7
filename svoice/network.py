"""The separation network of arXiv 2003.01531, section 3, as the paper describes it.

Trainings and separations compute it in another way, on the CPU and on GPUs: `SVoice.forward` calls
`svoice.fast`, which computes the same outputs from the same weights. What is written here says what
these outputs are. It runs where a network is made with `plain=True`: in the tests, which compare
the two (tests/svoice/test_svoice_fast.py), and in benchmarks/svoice_step.py, which measures what
the other way gains.

Axes in comments and docstrings: N features, K frames of a chunk, C speakers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contract.sizes import chunk_length
from svoice import fast
from svoice.chunks import chunk, merge


class MulCat(nn.Module):
    """A block that multiplies and concatenates (equation 5).

    Of two bidirectional LSTMs, each followed by a linear layer, one gates the other. Their product
    is concatenated with the input, and a linear layer leads back to N features.

    Args:
        N: features of the input and the output.
        H: units of an LSTM in one direction.
    """

    def __init__(self, N: int, H: int) -> None:
        super().__init__()
        self.lstms = nn.ModuleList(nn.LSTM(N, H, bidirectional=True) for _ in range(2))
        self.projections = nn.ModuleList(nn.Linear(2 * H, N) for _ in range(2))
        self.output = nn.Linear(2 * N, N)

    def forward(self, x: Tensor) -> Tensor:
        """Computes the output of the block.

        Args:
            x: the input, (time, sequences, N).

        Returns:
            The output, (time, sequences, N).
        """
        first, second = (
            projection(lstm(x)[0])
            for lstm, projection in zip(self.lstms, self.projections, strict=True)
        )
        return self.output(torch.cat((first * second, x), -1))


class DoubleBlock(nn.Module):
    """A MulCat block along the frames within chunks, then one along the chunks.

    The output of each is added to its input.

    Args:
        N: features of the input and the output.
        H: units of an LSTM in one direction.
        group_norm: whether to normalise the output of each MulCat block.
    """

    def __init__(self, N: int, H: int, group_norm: bool) -> None:
        super().__init__()
        self.within = MulCat(N, H)
        self.across = MulCat(N, H)
        self.norms = nn.ModuleList(
            nn.GroupNorm(1, N, eps=1e-8) if group_norm else nn.Identity() for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Computes the output of the block.

        Args:
            x: the input, (batch, N, K, chunks).

        Returns:
            The output, (batch, N, K, chunks).
        """
        x = x + self.norms[0](_along_third_axis(self.within, x))
        return x + self.norms[1](_along_third_axis(self.across, x.mT)).mT


def _along_third_axis(block: MulCat, x: Tensor) -> Tensor:
    """Applies a block along the third axis: the other two besides N count the sequences.

    Args:
        block: the block.
        x: (batch, N, time, others).

    Returns:
        (batch, N, time, others).
    """
    sequences = x.permute(2, 0, 3, 1).flatten(1, 2)  # (time, batch × others, N)
    return block(sequences).unflatten(1, (len(x), -1)).permute(1, 3, 0, 2)


class SVoice(nn.Module):
    """The separation network.

    Its weights are drawn by Xavier's normal initialisation, as the authors' are.

    Args:
        N: features of the encoder.
        L: the encoder's kernel in samples, an even number that divides N; N/L is at least L/2.
        H: units of an LSTM in one direction.
        R: double blocks.
        C: speakers.
        sample_rate: in Hz.
        segment_seconds: the length of the training segments, which determines that of the chunks.
        group_norm: whether to normalise the output of each MulCat block.
        activation_checkpointing: whether `svoice.fast` keeps only the inputs of the double blocks
            in training, and computes the rest again in the backward pass, with the same results.
            The plain computation keeps everything.
        plain: whether to compute the outputs as written here. Otherwise `svoice.fast` computes the
            same outputs from the same weights, in less time and memory.

    Attributes:
        configuration: the arguments that determine the weights' shapes and their meaning. The last
            two are not among them.
        K: the frames of a chunk.
    """

    def __init__(
        self,
        N: int,
        L: int,
        H: int,
        R: int,
        C: int,
        sample_rate: int,
        segment_seconds: float,
        group_norm: bool = False,
        *,
        activation_checkpointing: bool = False,
        plain: bool = False,
    ) -> None:
        super().__init__()
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
        self.activation_checkpointing, self.plain = activation_checkpointing, plain
        self.N, self.L, self.C = N, L, C
        self.K = chunk_length(sample_rate, segment_seconds, L)
        self.encoder = nn.Conv1d(1, N, L, stride=L // 2, bias=False)
        self.blocks = nn.ModuleList(DoubleBlock(N, H, group_norm) for _ in range(R))
        self.activation = nn.PReLU()
        self.separation = nn.Conv1d(N, C * N, 1)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)

    def frames(self, samples: Tensor) -> Tensor:
        """Returns how many frames the encoder makes of mixtures.

        Args:
            samples: their lengths, (batch,).

        Returns:
            (batch,).
        """
        return (samples - self.L).clamp(min=0) // (self.L // 2) + 1

    def forward(self, mixture: Tensor) -> Tensor:
        """Separates mixtures.

        Args:
            mixture: (batch, samples).

        Returns:
            The estimates, (outputs, batch, C, samples). In training there is an output after each
            of the R double blocks, in evaluation only the one after the last block.
        """
        if not self.plain:  # in every training and separation, on any device
            return fast.forward(self, mixture)
        samples = mixture.shape[-1]
        mixture = F.pad(mixture, (0, max(0, self.L - samples)))
        frames = F.relu(self.encoder(mixture.unsqueeze(1)))  # (batch, N, frames)
        x = chunk(frames, self.K)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(self.decode(x, frames.shape[-1], samples))
        return torch.stack(outputs if self.training else outputs[-1:])

    def decode(self, x: Tensor, length: int, samples: int) -> Tensor:
        """Turns features into estimates.

        A convolution leads from N features to C × N, and the chunks are merged. Then each group of
        L of a speaker's N features is averaged to one sample, which gives N/L samples per frame.
        These overlap and are added up.

        Args:
            x: the features, (batch, N, K, chunks).
            length: the frames of the sequence.
            samples: the samples of the mixture.

        Returns:
            The estimates, (batch, C, samples).
        """
        weight = self.separation.weight.unsqueeze(-1)
        features = F.conv2d(self.activation(x), weight, self.separation.bias)
        frames = merge(features, length).unflatten(1, (self.C, self.N)).flatten(0, 1)
        pieces = F.avg_pool1d(frames.mT, self.L).mT  # (batch × C, N/L, frames)
        return self.overlap_add(pieces, samples)

    def overlap_add(self, pieces: Tensor, samples: int) -> Tensor:
        """Adds up the samples of overlapping frames, which are L/2 samples apart.

        Args:
            pieces: the samples of each frame, (batch × C, N/L, frames).
            samples: the samples of the result, which is cut or padded with zeros at the end.

        Returns:
            (batch, C, samples).
        """
        hop, width, length = self.L // 2, pieces.shape[1], pieces.shape[2]
        covered = (length - 1) * hop + width
        waves = F.fold(pieces, (1, covered), kernel_size=(1, width), stride=(1, hop))
        waves = waves.view(-1, self.C, covered)
        return F.pad(waves, (0, samples - covered))
