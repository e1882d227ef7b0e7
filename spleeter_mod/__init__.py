"""Spleeter with a choice of optimizers, schedules and clipping, and reproducible training.

Spleeter itself stays as it was installed. What differs is in subclasses (`model.SpecBuilder`,
`adapter.SoundfileAudioAdapter`), which `tf.estimator` is given instead of Spleeter's classes.
"""

import os

# TensorFlow's log is not for users. This has to be set before TensorFlow is imported. Spleeter sets
# the same.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
