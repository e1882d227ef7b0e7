"""One look for a variant in every figure: the colour is its optimizer's, the dashes tell apart the
variants of one optimizer."""

import pandas as pd

OPTIMIZERS = (
    *("sgd", "momentum", "nesterov", "adagrad", "adadelta"),
    *("rmsprop", "adam", "adamw", "adamax", "nadam"),
)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def style(summary: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Of each variant in `summary` the colour, a name of the style sheet's, and the dash."""
    found, used = {}, {}
    for variant, optimizer in summary[["variant", "optimizer"]].drop_duplicates().to_numpy():
        known = optimizer in OPTIMIZERS
        number = used[optimizer] = used.get(optimizer, -1) + 1
        found[variant] = {
            "color": f"--{optimizer}" if known else "--muted",
            "dash": DASHES[number % len(DASHES)],
        }
    return found
