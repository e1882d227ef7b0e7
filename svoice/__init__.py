"""Training and evaluation of SVoice, a time-domain separator of overlapping voices.

Nachmani, Adi, Wolf: Voice Separation with an Unknown Number of Multiple Speakers, ICML 2020,
arXiv 2003.01531. Written from the paper; `network.py` is the model, `train.py` and `estimate.py`
are the commands.
"""
