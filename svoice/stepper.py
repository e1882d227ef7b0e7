"""The optimizer step."""

from contextlib import nullcontext

import torch

from svoice import distributed
from svoice.clipping import check_clipping, clip
from svoice.optimizers import make_optimizer
from svoice.precision import batch_loss, make_scaler


class Stepper:
    """Makes one optimizer step after another on a network; params as `params.KEYS` has them."""

    def __init__(self, network, params):
        check_clipping(params["clipping"])
        self.clipping = params["clipping"]
        self.precision = params["svoice"]["precision"]
        self.accumulation_steps = params["svoice"]["accumulation_steps"]
        self.count_padding = params["svoice"]["count_padding"]
        self.parameters = list(network.parameters())
        self.device = self.parameters[0].device
        self.optimizer = make_optimizer(
            params["optimizer"]["name"], params["optimizer"]["svoice"], self.parameters
        )
        self.scaler = make_scaler(self.precision, self.device)
        self.model = distributed.model_of(network)
        self.apart = getattr(self.model, "no_sync", nullcontext)

    def step(self, batch, weight, rate):
        """Step along the gradient of the mean loss over a batch, at the learning rate `rate`.

        batch: this process's share, as `data.load` returns it; weight: what part of the whole
        batch's examples that is, 0 for a process that has none and takes part all the same. The
        share is processed in `accumulation_steps` parts, or as many as it has examples. Its padding
        is part of the loss only if the parameters say `count_padding`.

        → the loss and the global gradient norm before clipping. In fp16 the norm may be infinite
        or NaN: the weights are then left as they were, and the loss is scaled less from there on.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        size = len(batch[0])
        count = min(self.accumulation_steps, size)
        batch = [tensor.to(self.device, non_blocking=True) for tensor in batch]
        if self.count_padding:
            # As the study did, which took padded segments for whole ones.
            mixtures, _, lengths = batch
            batch[2] = torch.full_like(lengths, mixtures.shape[-1])
        parts = list(zip(*(tensor.tensor_split(count) for tensor in batch), strict=True))
        total = torch.zeros((), device=self.device)
        for number, part in enumerate(parts, 1):
            # The processes exchange gradients once, when the last part's are there.
            with self.apart() if number < count else nullcontext():
                loss = batch_loss(self.model, part, self.precision)
                loss = loss * (weight * len(part[0]) / size)
                # The exchange leaves the processes' mean, and the sum is wanted.
                self.scaler.scale(loss * distributed.world()).backward()
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        norm = clip(self.parameters, self.clipping)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # The only wait for the device, so it comes last.
        return torch.stack((distributed.add_up(total), norm)).tolist()

    def state_dict(self):
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state):
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
