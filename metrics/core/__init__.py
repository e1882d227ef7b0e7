"""Scores of separated audio: BSS Eval, SI-SNR, SDR; arrays in, numbers out.

Installed by itself, this is the package `separation_scores`. It needs nothing else of the project,
and its imports are relative, so that it works under either name.
"""
