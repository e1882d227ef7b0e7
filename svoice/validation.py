"""The validation loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial

import torch

from contract import termination
from contract.sizes import tiles
from contract.termination import Terminated
from svoice import distributed, fast
from svoice.data import Item, Segment, load
from svoice.devices import WHOLE_MIXTURE, batch_loss, memory_errors_explained
from svoice.network import SVoice

# The utterances that a GPU processes at a time: with one it would mostly wait for the next step of
# an LSTM. A processor is busy with one.
AT_A_TIME = {"cuda": 8}


@torch.inference_mode()
def validate(
    network: SVoice, items: Sequence[Item], precision: str, at_a_time: int | None = None
) -> float:
    """Computes the mean of −SI-SNR over whole utterances, of the network's last output.

    Several processes share the utterances; the result is the same.

    Args:
        network: the network, which is left in evaluation mode.
        items: the utterances.
        precision: that of the training, in which the network will be used, and by whose losses
            schedules change the rate and the best weights are chosen.
        at_a_time: the most utterances that are processed together, which changes the loss by no
            more than rounding; None chooses by the device.

    Returns:
        The loss, in dB.

    Raises:
        InputError: a file cannot be read, or an utterance does not fit into the memory.
        Terminated: SIGTERM has asked one of the processes to end; all of them raise it.
    """
    network.eval()
    device = next(network.parameters()).device
    at_a_time = at_a_time or AT_A_TIME.get(device.type, 1)
    groups = groups_of(network, [item.length for item in items], at_a_time)
    # The sum over the utterances of each group; the last entry counts the processes that have been
    # asked to end.
    losses = torch.zeros(len(groups) + 1, dtype=torch.float64, device=device)
    for number in range(distributed.rank(), len(groups), distributed.world_size()):
        if termination.requested():
            losses[-1] = 1
            break
        group = [items[place] for place in groups[number]]
        longest = max(group, key=lambda item: item.length)
        with memory_errors_explained(longest.mixture, *WHOLE_MIXTURE):
            segments = [Segment(item, 0, item.length) for item in group]
            batch = [tensor.to(device) for tensor in load(segments, longest.length)]
            # `forward` is never compiled. The compiled network would be compiled anew for each
            # length.
            forward = network.forward
            if len(group) > 1:
                forward = partial(fast.forward, network, lengths=batch[-1])
            losses[number] = batch_loss(forward, batch, precision) * len(group)
    # The other processes' entries are zeros, so the sum is exactly the list of one process.
    sums = distributed.sum_over_processes(losses).cpu()
    if sums[-1]:
        raise Terminated
    return sums[:-1].sum().item() / len(items)


def groups_of(network: SVoice, lengths: Sequence[int], most: int) -> list[list[int]]:
    """Returns which utterances are processed together: those whose chunks are equally many.

    Args:
        network: the network, which determines the length of a chunk.
        lengths: of the utterances, in samples.
        most: the most utterances of a group.

    Returns:
        The places of each group's utterances in `lengths`.
    """
    alike = defaultdict(list)
    for place, frames in enumerate(network.frames(torch.tensor(lengths)).tolist()):
        alike[tiles(frames, network.K)].append(place)
    return [
        places[first : first + most]
        for places in alike.values()
        for first in range(0, len(places), most)
    ]
