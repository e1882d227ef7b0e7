"""The data sets, one module each; the recipes of mixtures, mixing, lists, and the checks."""
