"""Short labels of variants, for figures and their legend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def short(variants: Iterable[str]) -> dict[str, str]:
    """Returns the label of each variant, in which keys have only their last part.

    `optimizer.svoice.lr=0.1` becomes `lr=0.1`, unless another key ends with the same part.

    Args:
        variants: as `report.experiments.variants` names them.
    """
    variants = list(dict.fromkeys(variants))
    settings = {part for variant in variants for part in variant.split(" · ") if "=" in part}
    keys = {setting.partition("=")[0] for setting in settings}
    uses = Counter(key.rpartition(".")[2] for key in keys)

    def shortened(part: str) -> str:
        key, equals, value = part.partition("=")
        last = key.rpartition(".")[2]
        return f"{last}={value}" if equals and uses[last] == 1 else part

    return {variant: " · ".join(map(shortened, variant.split(" · "))) for variant in variants}
