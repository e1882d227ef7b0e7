"""Metrics of separated audio (BSS Eval, SI-SNR, SDR, PESQ, STOI), and the scoring of test sets."""
