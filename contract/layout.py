"""Names that several parts share: folders and files relative to the repository, stems, and the
columns of the tables that cross from one part to another."""

from pathlib import Path

PARAMS = Path("params.yaml")  # the composed configuration
LOCK = Path("dvc.lock")

# Data.
MUSIC = Path("data/music")
CORPUS = Path("data/speech/corpus")
RECIPES = Path("data/speech/recipes")
MIXTURES = Path("data/speech/mixtures")
MUSIC_LISTS = Path("data/csv/music")
SPEECH_LISTS = Path("data/csv/speech")
MUSIC_TEST = MUSIC_LISTS / "test.csv"
SPEECH_TEST = SPEECH_LISTS / "test.csv"

# What the trainers and the evaluation write.
SPLEETER_MODEL = Path("models/spleeter")  # a folder, as Spleeter has it
SVOICE_MODEL = Path("models/svoice/model.pt")
SPLEETER_RESULTS = Path("results/spleeter")
SVOICE_RESULTS = Path("results/svoice")
ESTIMATES = "estimates"  # in the results of a model

# Audio.
STEMS = ("vocals", "drums", "bass", "other")  # museval calls them targets
CHANNELS = 2  # of music, as MUSDB18 has it and as the last layer of Spleeter's U-Net writes it


def speaker(number: int) -> str:
    """The name of a mixture's speaker `number`, from 1, in columns and folders."""
    return f"s{number}"


def path_column(name: str) -> str:
    """The column of a list of items that holds the file of a stem, a speaker, or the mixture."""
    return f"{name}_path"


# Tables of a training: one row per optimizer step, and one per validation.
STEPS = "steps.csv"
EPOCHS = "epochs.csv"
TRAIN = "train.json"
ENVIRONMENT = "environment.json"  # what the trainer ran in
RECORDS = (STEPS, EPOCHS, TRAIN)
STEP_COLUMNS = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "seconds")
EPOCH_COLUMNS = ("epoch", "step", "train_loss", "valid_loss", "best_valid_loss")

# Tables of scores, in dB: one row per track and target, or per mixture and speaker.
SCORES = "scores.csv"
HEADLINES = "scores.json"
BSS_METRICS = ("SDR", "SIR", "SAR", "ISR")
SPEECH_METRICS = {
    "si_snr": "SI-SNR",
    "si_snr_improvement": "SI-SNR improvement",
    "sdr_improvement": "SDR improvement",
}
PERCEPTUAL_METRICS = {"pesq": "PESQ", "stoi": "STOI"}  # only where they are asked for
MUSIC_SCORE_COLUMNS = ("track", "target", *BSS_METRICS, "frames", "nan_frames")
SPEECH_SCORE_COLUMNS = ("mixture", "speaker", "estimate", *SPEECH_METRICS)
PESQ_MODES = {8000: "nb", 16000: "wb"}  # sample rate (Hz): mode of ITU-T P.862
