import math

import pytest
import torch

from svoice.errors import InputError
from svoice.schedules import make_schedule

BASE, STEPS_PER_EPOCH, TOTAL = 0.01, 7, 70


def schedule(warmup_steps=0, **settings):
    return make_schedule(BASE, {"warmup_steps": warmup_steps, **settings}, STEPS_PER_EPOCH, TOTAL)


FORMULAS = [
    ({"name": "constant"}, lambda k: 1),
    ({"name": "step", "epochs": 2, "factor": 0.98}, lambda k: 0.98 ** math.floor(k / 14)),
    ({"name": "exponential", "factor": 0.95}, lambda k: 0.95 ** (k / 7)),
    ({"name": "cosine", "floor": 0.1}, lambda k: 0.55 + 0.45 * math.cos(math.pi * k / 70)),
    ({"name": "plateau", "patience": 5, "factor": 0.5}, lambda k: 1),
]


@pytest.mark.parametrize("warmup_steps", [0, 1, 20])
@pytest.mark.parametrize(("settings", "factor"), FORMULAS, ids=lambda value: str(value)[:20])
def test_against_the_formula(settings, factor, warmup_steps):
    rates = schedule(warmup_steps, **settings)
    for k in reversed(range(TOTAL)):
        warmup = (k + 1) / warmup_steps if k + 1 < warmup_steps else 1
        assert rates.rate(k) == pytest.approx(BASE * warmup * factor(k), rel=1e-12)


@pytest.mark.parametrize("patience", [0, 1, 5])
@pytest.mark.parametrize("level", [-10.0, 0.0, 10.0])
def test_plateau_is_pytorchs(patience, level):
    settings = {"name": "plateau", "patience": patience, "factor": 0.3}
    ours = schedule(**settings)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="min", factor=0.3, patience=patience, threshold=1e-4
    )
    generator = torch.Generator().manual_seed(0)
    rates = set()
    for epoch in range(60):
        noise = torch.randn(1, generator=generator).item()
        loss = math.nan if epoch == 30 else level - epoch * 0.01 + noise
        ours.validated(loss)
        theirs.step(loss)
        rates.add(ours.rate(epoch))
        assert ours.rate(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        resumed = schedule(**settings)
        resumed.load_state_dict(ours.state_dict())
        ours = resumed
    assert len(rates) > 1


def test_plateau_by_hand():
    plateau = schedule(name="plateau", patience=2, factor=0.5)
    rates = []
    for loss in [5, 4, 4, 4, 4, 3, 3, 3, 3]:
        plateau.validated(loss)
        rates.append(plateau.rate(0) / BASE)
    assert rates == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_an_unknown_schedule_is_refused():
    with pytest.raises(InputError, match=r"schedule.name: found 'linear', expected one of const"):
        schedule(name="linear")
