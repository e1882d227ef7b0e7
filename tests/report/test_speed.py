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
        variant = {"variant": optimizer, "optimizer": optimizer, "status": "completed"}
        summary.append({**run, **variant, "seed": len(summary)})
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


def workloads(**curves):
    """Those of `experiments`, completed, under the names VARIANT_SEED and of both models: Spleeter
    has the same losses, at half the steps."""
    frames = experiments(**curves)
    summary = frames[0]
    summary["variant"] = summary["optimizer"] = summary["experiment"].str.partition("_")[0]
    summary["seed"] = summary["experiment"].str.rpartition("_")[2]
    summary["status"] = "completed"
    spleeter = [frame.assign(model="spleeter") for frame in frames]
    spleeter[2]["step"] //= 2
    return [pd.concat(pair, ignore_index=True) for pair in zip(frames, spleeter, strict=True)]


def test_algoperfs_score_on_logs_made_by_hand():
    """Validations are every 10 steps of SVoice, and every 5 of Spleeter."""
    frames = workloads(
        sgd_0=[9, 8, 7, 6],  # the baseline: its target is 6, which both seeds reach
        sgd_1=[9, 6, 5, 4],
        adam_0=[6, 5, 5, 5],  # four times as fast
        adam_1=[7, 7, 6, 6],  # 1.5 times as long
        lion_0=[7, 6, 9, np.nan],  # twice as long as adam, and no run of the other seed
    )
    losses = speed.final_targets(*frames, "sgd")
    assert losses == {"svoice": 6, "spleeter": 6}
    reached = speed.workload_times(*frames, losses)
    steps = reached[reached.model == "svoice"].set_index(["variant", "workload"])["step"]
    assert steps.to_dict() == {
        ("sgd", "0"): 40,
        ("sgd", "1"): 20,
        ("adam", "0"): 10,
        ("adam", "1"): 30,
        ("lion", "0"): 20,
        ("lion", "1"): np.inf,
    }
    scored = speed.algoperf(reached).set_index("variant")
    # By hand, for each model: adam is 1 and 1.5 times as slow as the fastest, sgd 4 and 1 times,
    # lion 2 times; 2 of its workloads count as missed.
    expected = {"adam": (3 + 2.5) / 6, "sgd": (0 + 3) / 6, "lion": 2 / 6}
    assert scored["step"].to_dict() == pytest.approx(expected)
    assert list(scored.index) == ["adam", "sgd", "lion"]
    assert scored["reached"].to_dict() == {"adam": 4, "sgd": 4, "lion": 2}
    assert set(scored["workloads"]) == {4}
    _, html = speed.render(*frames, "sgd")
    assert "at most 6 dB (SVoice) and 6 (Spleeter)" in html
    assert "0.917" in html and "4 of 4" in html


def test_a_repetition_is_one_workload_whose_time_is_the_median():
    frames = workloads(
        sgd_0=[9, 6], sgd_1=[9, 6], sgd_2=[9, 6], adam_0=[6], adam_1=[7, 6], adam_2=[7, 7, 6]
    )
    frames[0]["repetition"] = 1
    losses = {"svoice": 6.0}
    reached = speed.workload_times(*frames, losses, "repetition").set_index("variant")
    assert reached["step"].to_dict() == {"sgd": 20, "adam": 20}
    assert reached["workload"].tolist() == [1, 1]


def test_a_diverged_baseline_sets_no_target():
    frames = workloads(sgd_0=[9, 8], sgd_1=[9, np.nan])
    frames[0].loc[frames[0].seed == "1", "status"] = "diverged"
    assert speed.final_targets(*frames, "sgd") == {"svoice": 8, "spleeter": 8}
    frames[0]["status"] = "diverged"
    assert speed.final_targets(*frames, "sgd") == {}
    _, html = speed.render(*frames, "sgd")
    assert "AlgoPerf&#x27;s score" not in html and "AlgoPerf's score" not in html


def test_without_step_times_there_is_no_score_by_seconds():
    summary, steps, epochs = workloads(sgd_0=[9, 8], adam_0=[8, 7])
    losses = speed.final_targets(summary, steps[:0], epochs, "sgd")
    scored = speed.algoperf(speed.workload_times(summary, steps[:0], epochs, losses))
    assert scored["elapsed"].isna().all()
    assert scored.set_index("variant")["step"].to_dict() == pytest.approx({"adam": 1, "sgd": 2 / 3})
