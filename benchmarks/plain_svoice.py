"""SVoice as one would first write it down from the paper: the peer of the benchmarks."""

import torch
import torch.nn.functional as F

from svoice.network import SVoice, chunk, merge


class PlainSVoice(SVoice):
    """The same parameters and, in training, the same results as SVoice."""

    def forward(self, mixture):
        frames = F.relu(self.encoder(mixture.unsqueeze(1)))
        x = chunk(frames, self.K)
        outputs = []
        for block in self.blocks:
            x = x + block.norms[0](mulcat(block.within, x))
            x = x + block.norms[1](mulcat(block.across, x.mT)).mT
            outputs.append(self.decode(x, frames.shape[-1], mixture.shape[-1]))
        return torch.stack(outputs)

    def decode(self, x, length, samples):
        """(batch, N, K, chunks) → (batch, C, samples)"""
        convolved = F.conv2d(
            self.activation(x), self.separation.weight.unsqueeze(-1), self.separation.bias
        )
        frames = merge(convolved, length).unflatten(1, (self.C, self.N)).flatten(0, 1)
        pieces = F.avg_pool1d(frames.mT, self.L)
        hop = self.L // 2
        covered = (length - 1) * hop + pieces.shape[-1]
        waves = F.fold(
            pieces.mT, (1, covered), kernel_size=(1, pieces.shape[-1]), stride=(1, hop)
        ).view(-1, self.C, covered)
        return F.pad(waves, (0, samples - covered))


def mulcat(block, x):
    """A MulCat block along the third axis: (batch, N, time, others) → the same."""
    sequences = x.permute(0, 3, 2, 1).flatten(0, 1)
    first, second = (
        projection(lstm(sequences.transpose(0, 1))[0].transpose(0, 1))
        for lstm, projection in zip(block.lstms, block.projections, strict=True)
    )
    y = block.output(torch.cat((first * second, sequences), -1))
    return y.unflatten(0, (len(x), -1)).permute(0, 3, 2, 1)
