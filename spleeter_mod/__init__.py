"""Spleeter with a choice of optimizers, schedules and clipping, and reproducible training.

Spleeter itself stays as installed: what differs is subclassed (`model.SpecBuilder`,
`adapter.SoundfileAudioAdapter`) and handed to `tf.estimator`.
"""

import os

# Before TensorFlow is loaded anywhere: its log is not for users. Spleeter sets the same.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
