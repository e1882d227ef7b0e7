"""fetch_music: the songs and their stems, in MUSDB18-HQ's layout.

data/music/{train,test}/<track>/{mixture,vocals,drums,bass,other}.wav, 44.1 kHz stereo,
as `musdb.DB(root, is_wav=True)` reads it.
"""

import hashlib
from importlib.resources import as_file, files
from pathlib import Path

from stages.audio import write_pcm16
from stages.errors import InputError
from stages.outputs import directory
from stages.params import Music, load
from stages.run import run

MUSIC = Path("data/music")
# The order of the streams in a STEMS file: https://www.native-instruments.com/en/specials/stems
STREAMS = ("mixture", "drums", "bass", "other", "vocals")


def main() -> None:
    fetch(load().music, MUSIC)


def fetch(music: Music, target: Path) -> None:
    """Cuts the excerpt that the stempeg package ships into one track per split.

    Raises:
        InputError: the excerpt is not the one expected, or too short for its parts.
    """
    with as_file(files("stempeg") / "data" / music.excerpt.file) as source:
        if not source.is_file():
            raise InputError(source, "no such file", "the excerpt in the stempeg package")
        sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
        if sha256 != music.excerpt.sha256:
            raise InputError(source, f"sha256 {sha256}", music.excerpt.sha256)
        stems, sample_rate = _decode(source)
    if sample_rate != music.sample_rate:
        raise InputError(source, f"{sample_rate} Hz", f"{music.sample_rate}, music.sample_rate")
    title = music.excerpt.file.removesuffix(".stem.mp4")
    with directory(target) as root:
        seconds = stems.shape[1] / sample_rate
        for part, (start, end) in music.excerpt.parts:
            if end > seconds:
                key = f"music.excerpt.parts.{part}"
                raise InputError(key, f"{end} s", f"at most {seconds:.2f} s")
            folder = root / ("test" if part == "test" else "train") / f"{title} ({part})"
            cut = slice(round(start * sample_rate), round(end * sample_rate))
            for name, samples in zip(STREAMS, stems, strict=True):
                write_pcm16(folder / f"{name}.wav", samples[cut], sample_rate)


def _decode(source: Path):
    """All streams of a STEMS file: (sources, samples, channels), and the sample rate in Hz."""
    import stempeg  # refuses to import without ffmpeg, so not before it is needed

    return stempeg.read_stems(str(source), stem_id=None)


if __name__ == "__main__":
    run(main)
