"""Training and evaluation of SVoice, a time-domain separator of overlapping voices.

Nachmani, Adi, Wolf: Voice Separation with an Unknown Number of Multiple Speakers, ICML 2020,
arXiv 2003.01531. Written from the paper; `network.py` is the model, `train.py` and `estimate.py`
are the commands.
"""

import ctypes
import os

# PyTorch's threads synchronise many times in each LSTM. By default GNU OpenMP lets them spin for a
# long time while they wait, which makes a training step several times slower when the cores are
# shared with other programs. A short spin costs nothing when they are not. OpenMP reads this
# variable when PyTorch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# Large arrays are placed in large pages, so that fresh memory costs a training step little. PyTorch
# reads this variable when it is first imported.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# glibc raises its threshold as arrays are freed, and then keeps freed arrays of up to 32 MiB for
# later ones, which do not fit the gaps: the process grows by a fifth within a few steps. With a
# fixed threshold, arrays of 4 MiB and more return to the system when they are freed.
M_MMAP_THRESHOLD = -3
_libc = ctypes.CDLL(None)
if hasattr(_libc, "mallopt"):
    _libc.mallopt(M_MMAP_THRESHOLD, 4 << 20)
