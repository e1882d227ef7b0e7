"""The optimizer step."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch

from contract import termination
from svoice import distributed
from svoice.clipping import Clipping
from svoice.data import Batch
from svoice.devices import batch_loss, make_scaler
from svoice.network import SVoice
from svoice.optimizers import make_optimizer
from svoice.params import Params


class Stepper:
    """Takes one optimizer step after another on a network.

    Args:
        network: the network, in training mode while it steps.
        params: the optimizer, the clipping and the precision, among others.

    Attributes:
        asked_to_end: whether SIGTERM had asked a process to end when the last step was taken. It is
            the same in all processes.
    """

    def __init__(self, network: SVoice, params: Params) -> None:
        self.clipping = Clipping(params.clipping)
        self.precision = params.svoice.precision
        self.accumulation_steps = params.svoice.accumulation_steps
        self.count_padding = params.svoice.count_padding
        self.parameters = list(network.parameters())
        self.device = self.parameters[0].device
        self.optimizer = make_optimizer(
            params.optimizer, params.optimizer_settings, self.parameters
        )
        self.scaler = make_scaler(self.precision, self.device)
        self.asked_to_end = False
        self._model = distributed.data_parallel(network)
        # Within this context, the processes do not exchange their gradients.
        self._no_exchange = getattr(self._model, "no_sync", nullcontext)

    def step(self, batch: Batch, weight: float, rate: float) -> list[float]:
        """Takes a step along the gradient of the mean loss over a batch.

        The batch is processed in `accumulation_steps` parts, or in as many as it has examples. Its
        padding counts in the loss only if the parameters say `count_padding`.

        Args:
            batch: this process's share of the batch, as `data.load` returns it.
            weight: the part of the whole batch's examples that is in the share; 0 for a process
                without an example, which takes part all the same.
            rate: the learning rate.

        Returns:
            The loss of the whole batch, and the global gradient norm before clipping. In fp16 the
            norm may be infinite or NaN: then the weights have stayed as they were, and the loss is
            scaled less from here on.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        size = len(batch[0])
        count = min(self.accumulation_steps, size)
        mixtures, sources, lengths = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        if self.count_padding:
            # As in the study, which treated padded segments as if they were not padded.
            lengths = torch.full_like(lengths, mixtures.shape[-1])
        tensors = (mixtures, sources, lengths)
        parts = list(zip(*(tensor.tensor_split(count) for tensor in tensors), strict=True))
        total = torch.zeros((), device=self.device)
        for number, part in enumerate(parts, 1):
            # The processes exchange their gradients once, with those of the last part.
            with self._no_exchange() if number < count else nullcontext():
                loss = batch_loss(self._model, part, self.precision)
                loss = loss * (weight * len(part[0]) / size)
                # The exchange leaves the mean over the processes, but the step needs the sum.
                self.scaler.scale(loss * distributed.world_size()).backward()
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        norm = self.clipping.clip(self.parameters)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        # The processes exchange their losses anyway. So it costs nothing that the same exchange
        # makes them all end after the same step.
        asked = torch.full_like(total, float(termination.requested()))
        sums = distributed.sum_over_processes(torch.stack((total, asked)))
        # Only this waits for the device, so it comes last.
        *loss_and_norm, asked_processes = torch.stack((sums[0], norm, sums[1])).tolist()
        self.asked_to_end = asked_processes > 0
        return loss_and_norm

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the optimizer, the scaler and the clipping, for a checkpoint."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "clipping": self.clipping.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a state that `state_dict` has returned.

        Args:
            state: the state, which may have other keys as well.
        """
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.clipping.load_state_dict(state["clipping"])
