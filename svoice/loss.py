"""The permutation-invariant SI-SNR loss (Le Roux et al. 2019; Kolbæk et al. 2017)."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

EPSILON = 1e-8  # keeps silence from dividing by zero; in units of signal energy
MOST_ENUMERATED = 5  # speakers up to which all permutations are tried, without leaving the device


def pairwise_si_snr(estimates: Tensor, references: Tensor, lengths: Tensor) -> Tensor:
    """Computes the SI-SNR of every estimate against every reference (Le Roux et al. 2019).

    Args:
        estimates: (batch, C, samples).
        references: (batch, C, samples).
        lengths: the number of each example's samples without its padding, (batch,).

    Returns:
        The SI-SNR in dB, (batch, estimates, references).
    """
    mask = torch.arange(estimates.shape[-1], device=estimates.device) < lengths[:, None, None]

    def centred(signals: Tensor) -> Tensor:
        signals = signals * mask
        return (signals - signals.sum(-1, keepdim=True) / lengths[:, None, None]) * mask

    estimates = centred(estimates).unsqueeze(2)
    references = centred(references).unsqueeze(1)
    energy = references.square().sum(-1, keepdim=True)
    target = (estimates * references).sum(-1, keepdim=True) / (energy + EPSILON) * references
    noise = estimates - target
    ratio = (target.square().sum(-1) + EPSILON) / (noise.square().sum(-1) + EPSILON)
    return 10 * torch.log10(ratio)


def best_permutation(scores: Tensor) -> Tensor:
    """Assigns references to estimates so that the sum of their scores is largest.

    Args:
        scores: (batch, estimates, references), with as many references as estimates.

    Returns:
        The reference of each estimate, (batch, estimates).
    """
    C = scores.shape[-1]
    if C <= MOST_ENUMERATED:
        permutations = _permutations(C, scores.device)
        sums = scores[:, torch.arange(C, device=scores.device), permutations].sum(-1)
        return permutations[sums.argmax(-1)]
    # The solver refuses NaN; whatever it assigns in its place, the loss stays NaN.
    costs = torch.nan_to_num(-scores.detach()).cpu().numpy()
    columns = np.stack([linear_sum_assignment(cost)[1] for cost in costs])
    return torch.from_numpy(columns).to(scores.device)


@cache
def _permutations(C: int, device: torch.device) -> Tensor:
    """Returns all permutations of C numbers, (C!, C).

    They are kept, because a GPU would have to be waited for when they are copied to it.
    """
    # Outside of inference mode, in which no tensor could be kept for training.
    with torch.inference_mode(False):
        return torch.tensor(list(itertools.permutations(range(C))), device=device)


def si_snr(estimates: Tensor, references: Tensor, lengths: Tensor) -> Tensor:
    """Computes the SI-SNR of the estimates under the best permutation of the references.

    Args:
        estimates: (batch, C, samples).
        references: (batch, C, samples).
        lengths: the number of each example's samples without its padding, (batch,).

    Returns:
        The SI-SNR in dB, (batch, C), in the order of the estimates.
    """
    scores = pairwise_si_snr(estimates, references, lengths)
    columns = best_permutation(scores.detach())
    return scores.gather(2, columns.unsqueeze(-1)).squeeze(-1)


def separation_loss(outputs: Tensor, references: Tensor, lengths: Tensor) -> Tensor:
    """Computes the loss of a network's outputs: the mean of −SI-SNR over examples and speakers.

    Of R outputs, the loss of output r, from 1, is weighted by r/R, and the sum is divided by R. A
    single output has the weight 1, so that in evaluation this is the −SI-SNR of the last output.

    Args:
        outputs: (R, batch, C, samples).
        references: (batch, C, samples).
        lengths: the number of each example's samples without its padding, (batch,).

    Returns:
        The loss in dB, a scalar.
    """
    R = len(outputs)
    losses = [-si_snr(output, references, lengths).mean() for output in outputs]
    return sum(r / R * loss for r, loss in enumerate(losses, 1)) / R
