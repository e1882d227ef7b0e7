"""Number formats. The network computes in the chosen precision; weights, loss and updates are
always fp32."""

import torch

from svoice.loss import separation_loss

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def batch_loss(forward, batch, precision):
    """`separation_loss` of a network's outputs.

    forward: what computes them; batch: mixtures, sources and lengths as `data.load` returns them,
    on the network's device.
    """
    mixture, sources, lengths = batch
    dtype = AUTOCAST[precision]
    with torch.autocast(mixture.device.type, dtype, enabled=dtype is not None):
        outputs = forward(mixture)
    return separation_loss(outputs.float(), sources, lengths)


def make_scaler(precision, device):
    """The loss scaler that fp16 needs against vanishing gradients (Micikevicius et al. 2018); it
    does nothing in the other precisions."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def allow_tf32(allowed):
    """Whether a GPU may round the factors of fp32 products to TF32. PyTorch's own default is no
    for matrix products and yes for cuDNN, which computes the LSTMs."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
