"""What each stage depends on of the composed configuration."""

from __future__ import annotations

from typing import Any

from contract.yaml_files import value_at

# The keys of the configuration that each stage depends on: groups, or values in them.
KEYS: dict[str, tuple[str, ...]] = {
    "environments": ("runtime",),
    "fetch_music": ("music.name", "music.path", "music.url", "music.source"),
    "csv_music": ("music.name", "music.sample_rate", "music.validation_tracks"),
    "fetch_speech": ("speech",),
    "mix_speech": ("speech.name", "speech.speakers", "speech.sample_rate", "speech.mode"),
    "csv_speech": ("speech.name", "speech.speakers", "speech.sample_rate", "speech.mode"),
    "train_spleeter": (
        "seed",
        "music.sample_rate",
        "spleeter",
        "optimizer.name",
        "optimizer.spleeter",
        "schedule",
        "clipping",
    ),
    "train_svoice": (
        "seed",
        "speech.speakers",
        "speech.sample_rate",
        "svoice",
        "optimizer.name",
        "optimizer.svoice",
        "schedule",
        "clipping",
    ),
    "bound_music": (
        "spleeter.frame_length",
        "spleeter.frame_step",
        "evaluation.window_seconds",
        "evaluation.hop_seconds",
    ),
    "evaluate_spleeter": (
        "music.sample_rate",
        "spleeter",
        "evaluation.window_seconds",
        "evaluation.hop_seconds",
    ),
    "evaluate_svoice": (
        "speech.speakers",
        "speech.sample_rate",
        "evaluation.pesq",
        "evaluation.stoi",
    ),
}


def part(configuration: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Returns a part of a configuration, in the same groups.

    Args:
        configuration: the whole.
        keys: what the part holds: groups, or paths of keys joined by dots.
    """
    selected: dict[str, Any] = {}
    for key in keys:
        *groups, last = key.split(".")
        place = selected
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value_at(configuration, key)
    return selected
