"""Variants' labels as figures and their legend have them: short."""

from collections import Counter
from collections.abc import Iterable


def short(variants: Iterable[str]) -> dict[str, str]:
    """Each variant's label with the last part of its keys only, `lr=0.1` for
    `optimizer.svoice.lr=0.1`, where that part is no other key's as well."""
    variants = list(dict.fromkeys(variants))
    settings = {part for each in variants for part in each.split(" · ") if "=" in part}
    keys = {part.partition("=")[0] for part in settings}
    uses = Counter(key.rpartition(".")[2] for key in keys)

    def shortened(part: str) -> str:
        key, equals, value = part.partition("=")
        last = key.rpartition(".")[2]
        return f"{last}={value}" if equals and uses[last] == 1 else part

    return {each: " · ".join(map(shortened, each.split(" · "))) for each in variants}
