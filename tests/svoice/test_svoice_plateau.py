"""The plateau schedule against ReduceLROnPlateau of PyTorch."""

import math

import pytest
import torch

from contract.schedules import Plateau

BASE = 0.01


@pytest.mark.parametrize("patience", [0, 1, 5])
@pytest.mark.parametrize("level", [-10.0, 0.0, 10.0])
def test_the_rates_are_those_of_pytorch(patience, level):
    ours = Plateau(BASE, patience, 0.3)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="min", factor=0.3, patience=patience, threshold=1e-4
    )
    generator = torch.Generator().manual_seed(0)
    rates = set()
    for epoch in range(60):
        noise = torch.randn(1, generator=generator).item()
        loss = math.nan if epoch == 30 else level - epoch * 0.01 + noise
        ours.validated(loss)
        reference.step(loss)
        rates.add(ours.scale)
        assert BASE * ours.scale == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        resumed = Plateau(BASE, patience, 0.3)
        resumed.restore(ours.state())
        ours = resumed
    assert len(rates) > 1
