"""The validation loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from contract import termination
from contract.termination import Terminated
from svoice import distributed
from svoice.data import Item, Segment, load
from svoice.devices import WHOLE_MIXTURE, batch_loss, memory_errors_explained
from svoice.network import SVoice


@torch.inference_mode()
def validate(network: SVoice, items: Sequence[Item], precision: str) -> float:
    """Computes the mean of −SI-SNR over whole utterances, of the network's last output.

    Several processes share the utterances; the result is the same.

    Args:
        network: the network, which is left in evaluation mode.
        items: the utterances.
        precision: that of the training, in which the network will be used, and by whose losses
            schedules change the rate and the best weights are chosen.

    Returns:
        The loss, in dB.

    Raises:
        InputError: a file cannot be read, or an utterance does not fit into the memory.
        Terminated: SIGTERM has asked one of the processes to end; all of them raise it.
    """
    network.eval()
    device = next(network.parameters()).device
    # The last entry counts the processes that have been asked to end.
    losses = torch.zeros(len(items) + 1, dtype=torch.float64, device=device)
    for number in range(distributed.rank(), len(items), distributed.world_size()):
        if termination.requested():
            losses[-1] = 1
            break
        item = items[number]
        with memory_errors_explained(item.mixture, *WHOLE_MIXTURE):
            batch = load([Segment(item, 0, item.length)], item.length)
            # `forward` is never compiled. The compiled network would be compiled anew for each
            # length.
            losses[number] = batch_loss(
                network.forward, [tensor.to(device) for tensor in batch], precision
            )
    # The other processes' entries are zeros, so the sum is exactly the list of one process.
    sums = distributed.sum_over_processes(losses).cpu()
    if sums[-1]:
        raise Terminated
    return sums[:-1].mean().item()
