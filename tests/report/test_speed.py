"""Time to target, on curves whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from report import speed


def experiments(**curves):
    """Summary, steps and epochs of runs of SVoice, with a validation every 10 steps.

    A step of adam takes 1 s, one of another optimizer 2 s.
    """
    summary, steps, epochs = [], [], []
    for name, losses in curves.items():
        optimizer = name.rstrip("0123456789")
        run = {"experiment": name, "model": "svoice"}
        summary.append({**run, "variant": optimizer, "optimizer": optimizer, "seed": len(summary)})
        for step in range(1, 10 * len(losses) + 1):
            steps.append({**run, "step": step, "seconds": 1.0 if optimizer == "adam" else 2.0})
        for number, loss in enumerate(losses, start=1):
            epochs.append({**run, "step": 10 * number, "valid_loss": loss})
    return pd.DataFrame(summary), pd.DataFrame(steps), pd.DataFrame(epochs)


FALLING = [10.0, 9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_targets_are_the_losses_of_the_baseline():
    frames = experiments(adam=FALLING)
    targets, reached = speed.times(*frames, "adam")
    assert targets.tolist() == FALLING
    steps = reached[reached.unit == "step"].set_index("target").time
    assert steps.to_dict() == {loss: 10 * n for n, loss in enumerate(FALLING, start=1)}
    seconds = reached[reached.unit == "elapsed"].set_index("target").time
    assert seconds.to_dict() == steps.to_dict()


def test_a_slower_variant_takes_longer_and_may_never_reach_a_target():
    frames = experiments(adam=FALLING, sgd=[20, 9, 9, 8.5, 7])
    _, reached = speed.times(*frames, "adam")
    sgd = reached[reached.variant == "sgd"].pivot(index="target", columns="unit", values="time")
    assert sgd.loc[10.0].to_dict() == {"step": 20, "elapsed": 40}
    assert sgd.loc[8.0].to_dict() == {"step": 50, "elapsed": 100}
    assert sgd.loc[6.0].to_dict() == {"step": np.inf, "elapsed": np.inf}


def test_steps_that_were_not_logged_count_as_well():
    summary, steps, epochs = experiments(adam=FALLING)
    from_all, from_every_fifth = (
        speed.times(summary, rows, epochs, "adam")[1]
        for rows in (steps, steps[steps.step % 5 == 0])
    )
    pd.testing.assert_frame_equal(from_all, from_every_fifth)


def test_without_logged_steps_there_are_no_seconds():
    summary, steps, epochs = experiments(adam=FALLING)
    _, reached = speed.times(summary, steps[:0], epochs, "adam")
    assert np.isinf(reached[reached.unit == "elapsed"].time).all()
    assert np.isfinite(reached[reached.unit == "step"].time).all()


def test_the_time_is_the_median_over_the_seeds():
    frames = experiments(adam=FALLING, sgd1=[1, 1], sgd2=[10, 1], sgd3=[50, 50])
    _, reached = speed.times(*frames, "adam")
    sgd = reached[(reached.variant == "sgd") & (reached.unit == "step")].set_index("target").time
    assert sgd[10.0] == 10
    assert sgd[5.0] == 20


def test_a_baseline_whose_loss_rises_has_fewer_targets():
    targets, _ = speed.times(*experiments(adam=[3, 2, 5, 9, 2, 2, 2, 2, 2, 1]), "adam")
    assert targets.tolist() == [3, 2, 1]


@pytest.mark.parametrize("losses", [[], [np.nan, np.nan]])
def test_without_a_validation_loss_the_section_says_so(losses):
    frames = experiments(sgd=FALLING, adam=losses)
    _, html = speed.render(*frames, "adam")
    assert html.count("No targets: the baseline, adam, has no validation loss.") == 1


def test_the_section_has_the_times_and_the_profiles():
    _, html = speed.render(*experiments(adam=FALLING, sgd=[20, 9, 9, 8.5, 7]), "adam")
    assert "steps to 5" in html and "seconds to 1" in html
    assert html.count("<figure") == 2
