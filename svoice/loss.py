"""The permutation-invariant SI-SNR loss (Le Roux et al. 2019; Kolbæk et al. 2017)."""

import itertools

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

EPSILON = 1e-8  # against silence, in units of signal energy
ENUMERATED = 3  # speakers up to which all permutations are tried


def pairwise_si_snr(estimates, references, lengths):
    """SI-SNR in dB of every estimate against every reference.

    estimates (batch, C, samples), references (batch, C, samples), lengths (batch,): how many
    samples of each example are real. → (batch, estimates, references)
    """
    real = torch.arange(estimates.shape[-1], device=estimates.device) < lengths[:, None, None]

    def centred(signals):
        signals = signals * real
        return (signals - signals.sum(-1, keepdim=True) / lengths[:, None, None]) * real

    estimates = centred(estimates).unsqueeze(2)
    references = centred(references).unsqueeze(1)
    energy = references.square().sum(-1, keepdim=True)
    target = (estimates * references).sum(-1, keepdim=True) / (energy + EPSILON) * references
    noise = estimates - target
    ratio = (target.square().sum(-1) + EPSILON) / (noise.square().sum(-1) + EPSILON)
    return 10 * torch.log10(ratio)


def best_permutation(scores):
    """The assignment of references to estimates with the largest sum, for each example.

    scores (batch, C, C), by estimate and reference → (batch, C), the estimates' references.
    """
    C = scores.shape[-1]
    if C <= ENUMERATED:
        permutations = torch.tensor(list(itertools.permutations(range(C))), device=scores.device)
        sums = scores[:, torch.arange(C, device=scores.device), permutations].sum(-1)
        return permutations[sums.argmax(-1)]
    # The solver refuses NaN; whatever it assigns in its place, the loss stays NaN.
    costs = torch.nan_to_num(-scores.detach()).cpu().numpy()
    columns = np.stack([linear_sum_assignment(cost)[1] for cost in costs])
    return torch.from_numpy(columns).to(scores.device)


def si_snr(estimates, references, lengths):
    """SI-SNR in dB under the best permutation, (batch, C), in the estimates' order."""
    scores = pairwise_si_snr(estimates, references, lengths)
    columns = best_permutation(scores.detach())
    return scores.gather(2, columns.unsqueeze(-1)).squeeze(-1)


def separation_loss(outputs, references, lengths):
    """The loss of R outputs, output r of R (from 1) weighted by r/R, divided by R.

    outputs (R, batch, C, samples), references (batch, C, samples), lengths (batch,) → scalar, the
    mean over examples and speakers of −SI-SNR in dB. One output has the weight 1: in evaluation
    this is the plain −SI-SNR of the last output.
    """
    R = len(outputs)
    losses = [-si_snr(output, references, lengths).mean() for output in outputs]
    return sum(r / R * loss for r, loss in enumerate(losses, 1)) / R
