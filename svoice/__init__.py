"""Training and evaluation of SVoice, a time-domain separator of overlapping voices.

Nachmani, Adi, Wolf: Voice Separation with an Unknown Number of Multiple Speakers, ICML 2020,
arXiv 2003.01531. Written from the paper; `network.py` is the model, `train.py` and `estimate.py`
are the commands.
"""

import ctypes
import os

# PyTorch's threads meet many times in each LSTM. By default GNU OpenMP lets them wait for each
# other in a long loop, which on cores shared with other programs makes a training step several
# times slower; in a short one they lose nothing on cores of their own. It reads this when PyTorch
# is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Large arrays in large pages: fresh memory then costs a training step little. Read likewise.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# glibc comes to keep freed arrays of up to 32 MiB for later ones, which do not fit their gaps: the
# process grows by a fifth in a few steps. From 4 MiB on, freed shall mean given back.
M_MMAP_THRESHOLD = -3
_libc = ctypes.CDLL(None)
if hasattr(_libc, "mallopt"):
    _libc.mallopt(M_MMAP_THRESHOLD, 4 << 20)
