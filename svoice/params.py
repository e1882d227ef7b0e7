"""What the commands read of params.yaml."""

from pathlib import Path

import yaml

from svoice.errors import InputError

KEYS = {
    "seed": None,
    "speech": ("speakers", "sample_rate"),
    "svoice": (
        *("N", "L", "H", "R", "group_norm"),
        *("segment_seconds", "stride_seconds", "batch_size", "epochs"),
        *("precision", "tf32", "compile", "activation_checkpointing", "accumulation_steps"),
    ),
    "optimizer": ("name", "svoice"),
    "schedule": None,
    "clipping": None,
}


def read_params(path):
    """The part of params.yaml that determines a run, a dict like the file's.

    Ranges are the pipeline's to check. Raises InputError for a file that is not YAML or lacks a
    key.
    """
    try:
        params = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise InputError(path, f"no YAML ({problem})", "the composed configuration") from None
    chosen = {}
    for group, names in KEYS.items():
        if not isinstance(params, dict) or group not in params:
            raise InputError(path, f"no key {group}", "the composed configuration")
        if names is None:
            chosen[group] = params[group]
            continue
        for name in names:
            if not isinstance(params[group], dict) or name not in params[group]:
                raise InputError(path, f"no key {group}.{name}", "the composed configuration")
        chosen[group] = {name: params[group][name] for name in names}
    return chosen
