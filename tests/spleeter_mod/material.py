"""The configuration of the study, and the files of conf/."""

from pathlib import Path

from tests.yaml_files import read_yaml

CONF = Path(__file__).resolve().parents[2] / "conf"

# The configuration of the study: that of Spleeter for MUSDB, and an optimizer.
STUDY = {
    "train_csv": "configs/musdb_train.csv",
    "validation_csv": "configs/musdb_validation.csv",
    "model_dir": "musdb_model",
    "mix_name": "mix",
    "instrument_list": ["vocals", "drums", "bass", "other"],
    "sample_rate": 44100,
    "frame_length": 4096,
    "frame_step": 1024,
    "T": 512,
    "F": 1024,
    "n_channels": 2,
    "n_chunks_per_song": 40,
    "separation_exponent": 2,
    "mask_extension": "zeros",
    "learning_rate": 0.1,
    "batch_size": 4,
    "training_cache": "training_cache",
    "validation_cache": "validation_cache",
    "train_max_steps": 100,
    "throttle_secs": 300,
    "random_seed": 4,
    "save_checkpoints_steps": 1000,
    "save_summary_steps": 1,
    "optimizer": "Nesterov",
    "model": {
        "type": "unet.unet",
        "params": {"conv_activation": "ELU", "deconv_activation": "ELU"},
    },
}


def choice(group, name):
    """Reads a file of conf/."""
    return read_yaml(CONF / group / f"{name}.yaml")


def optimizer_of(name, preset):
    """Returns the settings of `optimizer=<name> spleeter=<preset>`.

    They are composed as conf/config.yaml says, because this environment has no Hydra.
    """
    parts = [choice("optimizer", name), choice("spleeter", preset).get("optimizer", {})]
    if (CONF / "study_settings" / f"{preset}_{name}.yaml").exists():
        parts.append(choice("study_settings", f"{preset}_{name}")["optimizer"])
    return {key: value for part in parts for key, value in part.get("spleeter", {}).items()}


def published_optimizer(name):
    """Returns the settings of `optimizer=<name> spleeter=published`."""
    return optimizer_of(name, "published")
