"""Mixing: the published lists over a stand-in corpus, interruptions, workers, bad utterances."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile

from contract.errors import InputError
from contract.layout import CORPUS, MIXTURES, RECIPES
from contract.params import SpeechFolder, load
from stages.datasets import mixing
from stages.datasets.audio import ANOTHER_COPY
from stages.datasets.corpus import read_utterance, write_index
from stages.datasets.mixing import make_mixtures
from stages.datasets.recipes import utterances_of
from stages.datasets.sphere import read_sphere
from stages.datasets.wsj0mix import (
    SPLITS,
    Recipe,
    part_names,
    read_levels,
    read_recipes,
    split_folder,
)
from tests.conftest import IN_CI, TEST_DATA
from tests.stages import standin
from tests.stages.disks import grow, small_disk
from tests.stages.patience import until
from tests.stages.workspaces import (
    environment,
    processes_in,
    run_stage,
    succeed,
    workspace,
)

EXCERPTS = Path(__file__).parent / "datasets" / "wsj0mix"  # lines of the published lists
PUBLISHED = {"tr": 20_000, "cv": 5_000, "tt": 3_000}  # the numbers of their lines
PARTS = {  # of WSJ0, and some speakers of each; no speaker is in two
    "si_tr_s": ("01a", "20b", "40c", "44d", "46e"),
    "si_dt_05": ("050", "22h"),
    "si_et_05": ("440", "443", "447"),
}
MIXED = 500 if IN_CI else 100  # mixtures of each split
SPHERES = 6  # utterances in SPHERE files, of which two are compressed
SHORT = (2, 2.5)  # seconds
FOLDERS = ("mix", "s1", "s2")
NO_SPACE = "no space left on device; make room on its disk and repeat the command"


# --- the published lists ------------------------------------------------------------------


def write_lists(
    folder: Path,
    counts: dict[str, int],
    speakers: int = 2,
    utterances: int = 12,
    beginnings: Path | None = None,
) -> None:
    """Writes lists in the format of WSJ0-mix's.

    Args:
        folder: where the lists are written.
        counts: the number of mixtures in each split.
        speakers: the number of speakers in a mixture.
        utterances: the number of utterances by each speaker of the corpus.
        beginnings: a folder of lists with which these begin.
    """
    generator = np.random.default_rng(0)
    (folder / "activlev").mkdir(parents=True)
    names = {
        part: [
            f"wsj0/{part}/{name}/{name}{n:05d}.wav" for name in people for n in range(utterances)
        ]
        for part, people in PARTS.items()
    }
    for split, count in counts.items():
        pool = names["si_dt_05"] + names["si_et_05"] if split == "tt" else names["si_tr_s"]
        path = Path(f"mix_{speakers}_spk_{split}.txt")
        beginning = (beginnings / path).read_text() if beginnings else ""
        lines = dict(enumerate(beginning.splitlines(keepends=True)))
        while len(lines) < count:
            sources = generator.choice(pool, speakers, replace=False)
            snrs = [f"{generator.uniform(-2.5, 2.5):.5g}" for _ in sources]
            pairs = zip(sources, snrs, strict=True)
            lines[tuple(sources)] = "".join(f"{name} {snr} " for name, snr in pairs) + "\n"
        (folder / path).write_text("".join(lines.values()))
    for part, names_of_part in names.items():
        path = Path("activlev", f"activlev_{part}.txt")
        beginning = (beginnings / path).read_text() if beginnings else ""
        levels = [
            f"{Path(name).stem} {generator.uniform(1e-4, 1e-2):.16e}\n" for name in names_of_part
        ]
        (folder / path).write_text(beginning + "".join(levels))


def write_corpus(root: Path, recipes: list[Recipe], others: Iterable[PurePosixPath] = ()) -> None:
    """Writes a corpus of stand-ins.

    Args:
        root: the corpus's folder.
        recipes: all utterances that they name get a file of their own.
        others: further utterances, which become links to one file.
    """
    used = utterances_of({"all": recipes})
    for number, name in enumerate(used):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < SPHERES:
            short = standin.utterance(str(name), SHORT)
            path.with_suffix(".wv1").write_bytes(standin.sphere(short, shortened=number < 2))
        else:
            path.write_bytes(standin.wav(standin.utterance(str(name))))
    for name in set(others) - set(used):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(root / used[-1], root / name)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A workspace with lists as long as WSJ0-2mix's over a stand-in corpus.

    The lists begin with lines of the published ones. They are fetched completely, and the first
    `MIXED` mixtures of each split are made.
    """
    root = tmp_path_factory.mktemp("published")
    lists = root / "lists"
    write_lists(lists, PUBLISHED, utterances=40, beginnings=EXCERPTS)
    recipes = {split: read_recipes(lists / f"mix_2_spk_{split}.txt", 2) for split in PUBLISHED}
    mixed = [recipe for in_split in recipes.values() for recipe in in_split[:MIXED]]
    write_corpus(root / "corpus", mixed, utterances_of(recipes))
    workspace(root, "speech", "wsj0_2mix", corpus=str(root / "corpus"), lists=str(lists))
    (root / "conf/speech/wsj0mix.sha256").write_text("")
    succeed(root, "fetch_speech")
    fetched = {path.name: path.read_text() for path in (root / RECIPES).iterdir() if path.is_file()}
    for split, in_split in recipes.items():
        text = "".join(f"{recipe}\n" for recipe in in_split[:MIXED])
        (root / RECIPES / f"mix_2_spk_{split}.txt").write_text(text)
    succeed(root, "mix_speech")
    yield root, lists, recipes, fetched
    shutil.rmtree(root)


def test_every_list_is_read_completely(published):
    root, lists, recipes, fetched = published
    for split, count in PUBLISHED.items():
        name = f"mix_2_spk_{split}.txt"
        assert fetched[name] == (lists / name).read_text()
        assert len(recipes[split]) == count
    levels = read_levels(root / RECIPES / "activlev.txt")
    listed = [line for path in (lists / "activlev").iterdir() for line in path.open()]
    assert len(levels) == len(listed)
    for line in listed:
        name, level = line.split()
        assert levels[name] == float(level)
    index = (root / CORPUS / "index.csv").read_text().splitlines()
    assert index[0] == "path,bytes"
    assert len(index) - 1 == len(utterances_of(recipes))
    assert sum(line.split(",")[0].endswith(".wv1") for line in index) == SPHERES
    assert "  mix_2_spk_tr.txt\n" in fetched["sha256.txt"]


def test_names_and_folders_are_the_originals(published):
    root, _, recipes, _ = published
    for split, in_split in recipes.items():
        folder = root / MIXTURES / "wav8k" / "min" / split
        assert sorted(path.name for path in folder.iterdir()) == ["mix", "s1", "s2"]
        expected = set()
        for recipe in in_split[:MIXED]:
            (path1, snr1), (path2, snr2) = zip(recipe.sources, recipe.snrs, strict=True)
            expected.add(f"{path1.stem}_{snr1}_{path2.stem}_{snr2}.wav")
        for name in FOLDERS:
            assert {path.name for path in (folder / name).iterdir()} == expected


def decimated(samples):
    """Halves the sample rate of (samples,) like Matlab's `resample(x, 8000, 16000)`."""
    taps = np.arange(-20, 21)
    window = np.sinc(taps / 2) * np.kaiser(41, 5)
    return np.convolve(samples, window / window.sum())[20:-20:2]


def check_mixture(recipe, sources, levels, folder):
    """Compares the files of a mixture with the formula of the original scripts, for mode `min`."""
    scaled = [
        samples / levels[name.stem] ** 0.5 * 10 ** (float(snr) / 20)
        for samples, name, snr in zip(sources, recipe.sources, recipe.snrs, strict=True)
    ]
    shortest = min(map(len, scaled))
    scaled = [samples[:shortest] for samples in scaled]
    expected = [sum(scaled), *scaled]
    divisor = max(1, *(np.abs(samples).max() for samples in expected)) / 0.9
    for name, samples in zip(part_names(len(sources)), expected, strict=True):
        written, rate = soundfile.read(folder / name / recipe.name, dtype="int16")
        assert rate == 8000
        assert soundfile.info(folder / name / recipe.name).subtype == "PCM_16"
        assert len(written) == shortest
        # Samples are rounded to the nearest integer. Arithmetic in another order moves halves.
        assert np.abs(samples / divisor * 2**15 - written).max() < 0.5 + 1e-6


def test_an_independent_formula_gives_the_same_samples(published):
    root, _, recipes, _ = published
    levels = read_levels(root / RECIPES / "activlev.txt")
    spheres = set()
    for split, in_split in recipes.items():
        folder = root / MIXTURES / "wav8k" / "min" / split
        for recipe in in_split[:MIXED]:
            sources = []
            for name in recipe.sources:
                if (root / "corpus" / name).is_file():
                    samples, _ = soundfile.read(root / "corpus" / name, dtype="int16")
                else:
                    samples = standin.utterance(str(name), SHORT)
                    spheres.add(name)
                sources.append(decimated(samples / 2**15))
            check_mixture(recipe, sources, levels, folder)
    assert len(spheres) == SPHERES


# --- shorter lists ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Makes workspaces with stand-ins of WSJ0 and runs fetch_speech in them, once for each key."""
    made = {}

    def template(counts, speakers):
        key = (*counts.values(), speakers)
        if key not in made:
            root = made[key] = tmp_path_factory.mktemp("template")
            write_lists(root / "lists", counts, speakers)
            paths = [root / "lists" / f"mix_{speakers}_spk_{split}.txt" for split in counts]
            recipes = [recipe for path in paths for recipe in read_recipes(path, speakers)]
            write_corpus(root / "corpus", recipes)
            configure(root, speakers=speakers)
            succeed(root, "fetch_speech")
        return made[key]

    return template


@pytest.fixture
def make(tmp_path, templates):
    """Makes a copy of such a workspace, which a test may spoil."""

    def make(counts, speakers=2, **values):
        root = tmp_path / "workspace"
        shutil.copytree(templates(counts, speakers), root)
        configure(root, speakers, **values)
        return root

    return make


def configure(root, speakers=2, **values):
    """Writes the configuration of a workspace, and no checksums of published lists."""
    values = {"corpus": "corpus", "lists": "lists", **values}
    workspace(root, "speech", f"wsj0_{speakers}mix", **values)
    (root / "conf/speech/wsj0mix.sha256").write_text("")


SMALL = {"tr": 12, "cv": 4, "tt": 4}


def made_files(root):
    """The content of all files of the mixtures, by name."""
    folder = root / MIXTURES
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_number_of_workers_does_not_change_the_files(make, monkeypatch):
    root = make(SMALL)
    monkeypatch.chdir(root)
    speech, made = load().speech, []
    for workers in (1, 2, 5):
        make_mixtures(speech, CORPUS, RECIPES, MIXTURES, workers)
        made.append(made_files(root))
    assert len(made[0]) == 3 * 20
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(("mode", "sample_rate"), [("max", 8000), ("min", 16000)])
def test_mode_and_sample_rate_determine_length_and_rate(make, mode, sample_rate):
    root = make(SMALL, mode=mode, sample_rate=sample_rate)
    succeed(root, "mix_speech")
    folder = root / MIXTURES / f"wav{sample_rate // 1000}k" / mode / "tt"
    for recipe in read_recipes(root / RECIPES / "mix_2_spk_tt.txt", 2):
        paths = [utterance_path(root / "corpus" / name) for name in recipe.sources]
        lengths = [len(read_utterance(path)[0]) * sample_rate / 16000 for path in paths]
        expected = np.ceil(min(lengths) if mode == "min" else max(lengths))
        parts = [soundfile.read(folder / name / recipe.name) for name in FOLDERS]
        assert {(len(samples), rate) for samples, rate in parts} == {(expected, sample_rate)}
        (mixture, _), *sources = parts
        np.testing.assert_allclose(
            mixture, sum(samples for samples, _ in sources), atol=1.5 * 2**-15
        )


def utterance_path(path):
    """The file of an utterance that a list calls `path`."""
    return path if path.is_file() else path.with_suffix(".wv1")


def test_mixtures_of_three_speakers_follow_the_formula(make):
    root = make({"tr": 4, "cv": 4, "tt": 4}, speakers=3)
    succeed(root, "mix_speech")
    levels = read_levels(root / RECIPES / "activlev.txt")
    for recipe in read_recipes(root / RECIPES / "mix_3_spk_tt.txt", 3):
        paths = [utterance_path(root / "corpus" / name) for name in recipe.sources]
        sources = [decimated(read_utterance(path)[0]) for path in paths]
        folder = root / MIXTURES / "wav8k" / "min" / "tt"
        check_mixture(recipe, sources, levels, folder)


HELD_AT = 20  # mixtures in the journal
# Mixing on two cores. Once so many mixtures are in the journal, the workers begin no other before
# there is a file `proceed`.
HELD = f"""
import functools, os
from pathlib import Path
from stages import mix_speech
from stages.datasets import mixing
from stages.run import run
from tests.stages.patience import until

make = mixing._make

@functools.wraps(make)
def make_if_not_held(job):
    journal = job.decoded.parent / "journal.txt"
    until(lambda: journal.read_text().count("\\n") < {HELD_AT} or Path("proceed").exists())
    return make(job)

mixing._make = make_if_not_held
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
run(mix_speech.main)
"""


def start(root):
    """Starts mixing, which is held when `HELD_AT` mixtures are in the journal."""
    return subprocess.Popen(
        [sys.executable, "-c", HELD],
        cwd=root,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished_files(root):
    """The files of the mixtures in the journal, below the scratch folder."""
    for path in (root / "scratch" / "mix_speech").glob("*/journal.txt"):
        text = path.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()
        folder = path.parent / "mixtures" / "wav8k" / "min"
        names = [line.split()[:2] for line in lines]
        return [folder / split / part / name for split, name in names for part in FOLDERS]
    return []


def interrupt(root, end):
    """Starts mixing, and ends it when `HELD_AT` mixtures are finished.

    Args:
        root: the workspace.
        end: a function that ends the process.

    Returns:
        The exit code, and what was printed on stderr.
    """
    process = start(root)
    until(lambda: len(finished_files(root)) >= HELD_AT * len(FOLDERS))
    end(process)
    (root / "proceed").touch()
    code = process.wait()
    error = process.stderr.read()
    assert not (root / MIXTURES).exists()
    until(lambda: not processes_in(root))
    (root / "proceed").unlink()
    return code, error


def kill(process):
    process.kill()


BIG = {"tr": 700, "cv": 50, "tt": 50}  # takes seconds, so that it can be interrupted
MADE = sum(BIG.values())


def test_after_a_kill_finished_mixtures_stay_and_the_others_are_made(make):
    root = make(BIG)
    code, _ = interrupt(root, kill)
    assert code == -signal.SIGKILL
    finished = finished_files(root)
    assert len(FOLDERS) * HELD_AT <= len(finished) < 3 * MADE
    cut_short, changed, missing = finished[0], finished[4], finished[8]
    content = cut_short.read_bytes()
    cut_short.write_bytes(content[:1000])
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    missing.unlink()
    (journal,) = (root / "scratch" / "mix_speech").glob("*/journal.txt")
    journal.write_text(journal.read_text() + "tr incomple")
    before = {
        path.relative_to(journal.parent / "mixtures"): path.stat().st_mtime_ns
        for path in finished
        if path.name not in {cut_short.name, changed.name, missing.name}
    }
    succeed(root, "mix_speech")
    for path, modified in before.items():
        assert (root / MIXTURES / path).stat().st_mtime_ns == modified
    made = made_files(root)
    assert len(made) == 3 * MADE
    shutil.rmtree(root / MIXTURES)
    succeed(root, "mix_speech")
    assert made_files(root) == made
    assert not list((root / "scratch" / "mix_speech").glob("*/"))


def to_the_group(number):
    """Sends a signal as a terminal does."""
    return lambda process: os.killpg(process.pid, number)


def to_the_process(number):
    return lambda process: process.send_signal(number)


@pytest.mark.parametrize(
    ("number", "send"), [(signal.SIGTERM, to_the_process), (signal.SIGINT, to_the_group)]
)
def test_a_signal_ends_every_worker(make, number, send):
    root = make(BIG)
    code, error = interrupt(root, send(number))
    assert code == 128 + number
    assert "ERROR" not in error
    assert "Traceback" not in error
    assert finished_files(root)
    succeed(root, "mix_speech")
    assert len(made_files(root)) == 3 * MADE


def test_a_killed_worker_is_one_line(make):
    """The kernel kills workers when memory runs out."""

    def kill_a_worker(process):
        worker = next(number for number in processes_in(root) if number != process.pid)
        os.kill(worker, signal.SIGKILL)

    root = make(BIG)
    code, error = interrupt(root, kill_a_worker)
    assert code == 1
    assert "Traceback" not in error
    problem = "one of them was killed, perhaps because memory ran out"
    remedy = "repeat the command with more memory or on fewer cores"
    assert f"ERROR: worker processes: {problem}; {remedy}\n" in error


def test_another_setting_does_not_resume(make):
    root = make(BIG)
    interrupt(root, kill)
    configure(root, mode="max")
    succeed(root, "mix_speech")
    assert not (root / MIXTURES / "wav8k" / "min").exists()
    assert len(made_files(root)) == 3 * MADE


def all_recipes(root):
    paths = [root / RECIPES / f"mix_2_spk_{split}.txt" for split in SPLITS.values()]
    return [recipe for path in paths for recipe in read_recipes(path, 2)]


def utterance_files(root):
    return [path for path in (root / "corpus").rglob("*") if path.is_file()]


def cut_in_half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def stereo(path):
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, np.stack([samples, samples], 1), rate, subtype="PCM_16")


def no_audio(path):
    path.write_text("not audio")


def empty(path):
    path.write_bytes(standin.wav(np.zeros(0, np.int16)))


@pytest.mark.parametrize(
    ("damage", "pattern"),
    [
        (cut_in_half, rf"is cut short: it has \d+ bytes and its header says \d+; {ANOTHER_COPY}"),
        (stereo, "found 2 channels, expected 1 channel"),
        (no_audio, rf"cannot be read as audio \(.+\); {ANOTHER_COPY}"),
        (empty, f"has no samples; {ANOTHER_COPY}"),
        (Path.unlink, "there is no such utterance; complete the corpus"),
    ],
)
def test_a_bad_utterance_is_refused(tmp_path, damage, pattern):
    path = tmp_path / "any.wav"
    path.write_bytes(standin.wav(standin.utterance("any", (2, 2.2))))
    damage(path)
    with pytest.raises(InputError) as caught:
        read_utterance(path)
    assert re.fullmatch(f"{path}: {pattern}", str(caught.value))


@pytest.mark.parametrize(
    ("damage", "pattern"),
    [
        (cut_in_half, rf"is cut short: it has \d+ bytes and its header says \d+; {ANOTHER_COPY}"),
        (Path.unlink, "there is no such utterance; complete the corpus"),
    ],
)
def test_a_bad_utterance_is_named_and_the_other_mixtures_are_made(make, damage, pattern):
    root = make(SMALL)
    recipes = read_recipes(root / RECIPES / "mix_2_spk_tt.txt", 2)
    names = {name for recipe in recipes for name in recipe.sources}
    path = next(
        root / "corpus" / name for name in sorted(names) if (root / "corpus" / name).is_file()
    )
    content = path.read_bytes()
    damage(path)
    # The index has the sizes of the damaged corpus.
    files = {p.relative_to(root / "corpus"): p.stat().st_size for p in utterance_files(root)}
    write_index(dict(sorted(files.items())), root / CORPUS)
    done = run_stage(root, "mix_speech")
    assert done.returncode == 1
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("ERROR"))
    assert re.fullmatch(f"ERROR: {path}: {pattern}", error)
    assert not (root / MIXTURES).exists()
    without = sum(path.relative_to(root / "corpus") not in r.sources for r in all_recipes(root))
    assert len(finished_files(root)) == 3 * without
    path.write_bytes(content)
    succeed(root, "fetch_speech")
    before = {p.name: p.stat().st_mtime_ns for p in finished_files(root) if p.parent.name == "mix"}
    succeed(root, "mix_speech")
    made = {p.name: p.stat().st_mtime_ns for p in (root / MIXTURES).rglob("mix/*.wav")}
    assert len(made) == 20
    assert before.items() <= made.items()


def test_of_many_bad_utterances_ten_are_named(make):
    root = make(SMALL)
    for path in utterance_files(root)[:20]:
        path.write_bytes(path.read_bytes() + b"more")
    done = run_stage(root, "mix_speech")
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    assert len(errors) == len(set(errors)) == 10
    pattern = (
        rf"ERROR: {root}/corpus/.+: has \d+ bytes, but the corpus's index says \d+; "
        "run `dvc repro -f fetch_speech` if this is intended"
    )
    assert all(re.fullmatch(pattern, error) for error in errors)


def test_a_replaced_utterance_is_mixed_again(make):
    root = make(BIG)
    interrupt(root, kill)
    recipe = read_recipes(root / RECIPES / "mix_2_spk_tr.txt", 2)[0]
    path = next(
        p
        for p in map(utterance_path, map((root / "corpus").joinpath, recipe.sources))
        if p.suffix == ".wav"
    )
    path.write_bytes(standin.wav(standin.utterance("another")))
    succeed(root, "fetch_speech")
    succeed(root, "mix_speech")
    levels = read_levels(root / RECIPES / "activlev.txt")
    paths = [utterance_path(root / "corpus" / name) for name in recipe.sources]
    sources = [decimated(read_utterance(path)[0]) for path in paths]
    check_mixture(recipe, sources, levels, root / MIXTURES / "wav8k/min/tr")


def test_an_utterance_without_a_level_is_an_error(make):
    root = make(SMALL)
    path = root / RECIPES / "activlev.txt"
    name = all_recipes(root)[0].sources[0].stem
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(f"{name} ")))
    done = run_stage(root, "mix_speech")
    assert done.returncode == 1
    assert done.stderr == (
        f"ERROR: data/speech/recipes/activlev.txt: has no level of {name}; "
        "every utterance needs a line `name level`\n"
    )


def test_a_full_disk_is_one_line_and_loses_nothing(make):
    root = make(BIG)
    scratch = root / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    with small_disk(scratch, "8m"):
        done = run_stage(root, "mix_speech")
        assert done.returncode == 1
        (error,) = (line for line in done.stderr.splitlines() if line.startswith("ERROR"))
        assert re.fullmatch(rf"ERROR: {scratch}/mix_speech/.+: {NO_SPACE}", error)
        assert "Traceback" not in done.stderr
        finished = len(finished_files(root))
        assert finished > 0
        assert not (root / MIXTURES).exists()
        grow(scratch, "900m")
        before = {
            p.name: p.stat().st_mtime_ns for p in finished_files(root) if p.parent.name == "mix"
        }
        succeed(root, "mix_speech")  # to another file system
    made = {p.name for p in (root / MIXTURES).rglob("mix/*.wav")}
    assert len(made) == MADE
    assert before.keys() <= made


# --- SPHERE -------------------------------------------------------------------------------


@pytest.mark.parametrize("shortened", [False, True])
def test_sphere_is_decoded(tmp_path, shortened):
    samples = standin.utterance("any", (2, 2.2))
    path = tmp_path / "any.wv1"
    content = standin.sphere(samples, shortened)
    path.write_bytes(content)
    decoded, rate = read_sphere(path)
    np.testing.assert_array_equal(decoded * 2**15, samples)
    assert rate == 16000
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError) as caught:
        read_sphere(path)
    assert re.fullmatch(
        rf"{path}: is cut short: it has \d+ samples and its header says {len(samples)}; "
        f"{ANOTHER_COPY}",
        str(caught.value),
    )


BAD_HEADER = (
    "has a SPHERE header without a valid sample count, sample rate and channel count; "
    f"{ANOTHER_COPY}"
)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"channel_count -i 1", b"channel_count -i 2", "found 2 channels, expected 1 channel"),
        (b"sample_count", b"sample_cuont", BAD_HEADER),
        (b"sample_rate -i 16000", b"sample_rate -i sixtn", BAD_HEADER),
        (b"   1024\n", b"   none\n", BAD_HEADER),
    ],
)
def test_a_bad_sphere_header_is_refused(tmp_path, old, new, message):
    path = tmp_path / "any.wv1"
    path.write_bytes(standin.sphere(standin.utterance("any", (2, 2.2))).replace(old, new))
    with pytest.raises(InputError) as caught:
        read_utterance(path)
    assert str(caught.value) == f"{path}: {message}"


def test_without_ffmpeg_the_error_asks_for_it(tmp_path, monkeypatch):
    path = tmp_path / "any.wv1"
    path.write_bytes(standin.sphere(standin.utterance("any", (2, 2.2))))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError) as caught:
        read_utterance(path)
    assert str(caught.value) == (
        "ffmpeg: is not installed; install it, because it decodes SPHERE files"
    )


# --- the embedded data, and ready-made mixtures ----------------------------------------


def test_the_embedded_mixtures_follow_the_formula():
    recipes = TEST_DATA / RECIPES
    folder = split_folder(TEST_DATA / MIXTURES, 8000, "min", "test")
    levels = read_levels(recipes / "activlev.txt")
    for recipe in read_recipes(recipes / "mix_2_spk_tt.txt", 2):
        sources = [soundfile.read(TEST_DATA / CORPUS / path)[0] for path in recipe.sources]
        check_mixture(recipe, sources, levels, folder)
        mixture, one, two = (soundfile.read(folder / name / recipe.name)[0] for name in FOLDERS)
        np.testing.assert_allclose(mixture, one + two, atol=1.5 * 2**-15)


def test_ready_mixtures_are_linked_to_their_place(tmp_path):
    root = workspace(tmp_path, "speech", "folder", path="somewhere")
    source = TEST_DATA / MIXTURES / "wav8k" / "min"
    shutil.copytree(source, root / CORPUS)
    succeed(root, "mix_speech")
    for path in source.rglob("*.wav"):
        name = path.relative_to(source)
        placed = root / MIXTURES / "wav8k" / "min" / name
        assert placed.read_bytes() == path.read_bytes()
        assert placed.samefile(root / CORPUS / name)


def test_where_files_cannot_be_linked_they_are_copied(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(mixing.os, "link", refuse)
    speech = SpeechFolder(name="folder", speakers=2, sample_rate=8000, mode="min", path="somewhere")
    source = TEST_DATA / MIXTURES / "wav8k" / "min"
    make_mixtures(speech, source, tmp_path / "none", tmp_path / "made")
    made = tmp_path / "made" / "wav8k" / "min"
    for path in source.rglob("*.wav"):
        assert (made / path.relative_to(source)).read_bytes() == path.read_bytes()
