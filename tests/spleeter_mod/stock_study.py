"""Trains stock Spleeter, patched as the study describes, and ours by the same configuration.

The patch adds a choice of TensorFlow 1's optimizers, by name, to `spleeter train`. The model of
stock Spleeter goes to the folder stock_<model_dir>, with the losses of all steps in losses.json,
and ours goes to `model_dir`. This runs in a process of its own, because determinism cannot be
switched off again.
"""

import json
from functools import partial
from pathlib import Path
from unittest import mock

import spleeter.__main__
import spleeter.dataset
import tensorflow as tf
from spleeter.model import EstimatorSpecBuilder

from spleeter_mod import cache, configuration, standalone, tracks
from spleeter_mod.data import Share, draws, training_dataset

v1 = tf.compat.v1.train

# The study gave each optimizer the rate of the configuration, except Adadelta.
OPTIMIZERS = {
    "Adadelta": lambda rate: v1.AdadeltaOptimizer(),
    "SGD": v1.GradientDescentOptimizer,
    "Adagrad": v1.AdagradOptimizer,
    "RMSProp": v1.RMSPropOptimizer,
    "Adam": v1.AdamOptimizer,
    "Nesterov": partial(v1.MomentumOptimizer, momentum=0.9, use_nesterov=True),
}


class Losses(v1.SessionRunHook):
    """The loss of every step."""

    def __init__(self, loss):
        self._loss, self.values = loss, []

    def before_run(self, run_context):
        return v1.SessionRunArgs(self._loss)

    def after_run(self, run_context, run_values):
        self.values.append(float(run_values.results))


def batches(settings, songs, folder):
    """Returns our batches, which stock Spleeter is given in the place of its own.

    `test_spleeter_data` compares the two. Their spectrograms differ by rounding, a difference which
    grows tenfold in every other step at a rate of 0.1.
    """
    chunks = cache.to_train_on(settings)
    segments = cache.Segments(settings, songs, chunks, folder)
    segments.fill(range(len(segments)))
    share = Share(settings.batch_size)
    return training_dataset(settings, segments, draws(settings, segments), 0, share)


def only_train(estimator, train_spec, _):
    """Trains as `train_and_evaluate` does, which would also validate what nobody looks at here.

    Rewriting the graph takes a third of the time of ten steps, and changes no digit.
    """
    config = estimator.config
    config.session_config.graph_options.rewrite_options.disable_meta_optimizer = True
    quick = tf.estimator.Estimator(estimator.model_fn, config=config)
    quick.train(train_spec.input_fn, max_steps=train_spec.max_steps)


def train_stock(path, run, songs, audio):
    """Trains stock Spleeter as its command does, without its validation."""
    losses, folder = [], Path(f"stock_{run.model_dir}")

    def build_optimizer(builder):
        return OPTIMIZERS[builder._params["optimizer"]](builder._params["learning_rate"])

    build_train_model = EstimatorSpecBuilder.build_train_model

    def watched(builder, labels):
        spec = build_train_model(builder, labels)
        losses.append(Losses(spec.loss))
        return spec._replace(training_hooks=losses)

    def input_of_training(*_):
        return batches(run.settings, songs, folder / "segments")

    values = json.loads(path.read_text())
    for key in ("model_dir", "training_cache", "validation_cache"):
        values[key] = f"stock_{values[key]}"
    changed = Path(f"stock_{path}")
    changed.write_text(json.dumps(values))
    with (
        mock.patch.object(EstimatorSpecBuilder, "_build_optimizer", build_optimizer),
        mock.patch.object(EstimatorSpecBuilder, "build_train_model", watched),
        mock.patch.object(spleeter.dataset, "get_training_dataset", input_of_training),
        mock.patch.object(tf.estimator, "train_and_evaluate", only_train),
    ):
        spleeter.__main__.train(
            adapter="spleeter_mod.adapter.SoundfileAudioAdapter",
            data=audio,
            params_filename=str(changed),
            verbose=False,
        )
    (folder / "losses.json").write_text(json.dumps(losses[0].values))


def main(audio, *paths):
    """Trains both by each of the configurations `paths`; `audio` is the folder of the songs."""
    tf.config.experimental.enable_op_determinism()
    for path in map(Path, paths):
        run = configuration.read(path)
        rate = run.settings.sample_rate
        songs, valid = (
            tracks.read(csv, rate, root=Path(audio)) for csv in (run.train_csv, run.validation_csv)
        )
        train_stock(path, run, songs, audio)
        standalone.train(run, songs, valid, Path("scratch"), verbose=False)
