"""What a separation is worth: BSS Eval, SI-SNR, their tables and the report."""
