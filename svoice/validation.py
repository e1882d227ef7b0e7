"""The validation loss."""

import torch

from svoice import distributed
from svoice.data import Segment, load
from svoice.precision import batch_loss


@torch.inference_mode()
def validate(network, items, precision):
    """The mean over whole utterances of −SI-SNR in dB of the network's last output.

    In the precision of the training: what it will be used in, and what schedules and the choice
    of the best weights go by. Several processes share the utterances; the result is the same.
    """
    network.eval()
    device = next(network.parameters()).device
    losses = torch.zeros(len(items), dtype=torch.float64, device=device)
    for number in range(distributed.rank(), len(items), distributed.world()):
        item = items[number]
        batch = load([Segment(item, 0, item.length)], item.length)
        # `forward` itself is never the compiled one, which every new length would compile anew.
        losses[number] = batch_loss(
            network.forward, [tensor.to(device) for tensor in batch], precision
        )
    # Adding others' zeros changes nothing, so this is one process's list to the bit.
    return distributed.add_up(losses).cpu().mean().item()
