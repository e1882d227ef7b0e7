"""Runs the experiments of a study on a Slurm cluster."""
