"""Mixing: the published lists over a stand-in corpus, interruptions, workers, bad utterances."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from metrics.errors import InputError
from stages import mix_speech
from stages.corpus import read_utterance, write_index
from stages.layout import CORPUS, MIXTURES, RECIPES
from stages.params import SpeechFolder, load
from stages.recipes import utterances_of
from stages.sphere import read_sphere
from stages.wsj0mix import SPLITS, read_levels, read_recipes, split_folder
from tests.conftest import TEST_DATA
from tests.stages import standin
from tests.stages.workspaces import (
    command,
    environment,
    processes_in,
    run_stage,
    succeed,
    workspace,
)

EXCERPTS = Path(__file__).with_name("wsj0mix")  # lines of the published lists
PUBLISHED = {"tr": 20_000, "cv": 5_000, "tt": 3_000}  # lines in them
PARTS = {  # of WSJ0, and some who speak in each: nobody in two
    "si_tr_s": ("01a", "20b", "40c", "44d", "46e"),
    "si_dt_05": ("050", "22h"),
    "si_et_05": ("440", "443", "447"),
}
SPHERES = 6  # of the utterances; two of them are compressed
SHORT = (2, 2.5)  # seconds
FOLDERS = ("mix", "s1", "s2")


# --- the published lists ------------------------------------------------------------------


def write_lists(
    folder: Path, counts: dict[str, int], speakers: int = 2, of_each: int = 12, first=None
) -> None:
    """Lists in the format of WSJ0-mix's, over `of_each` utterances by everyone; those in the folder
    `first` begin them."""
    generator = np.random.default_rng(0)
    (folder / "activlev").mkdir(parents=True)
    names = {
        part: [f"wsj0/{part}/{name}/{name}{n:05d}.wav" for name in people for n in range(of_each)]
        for part, people in PARTS.items()
    }
    for split, count in counts.items():
        drawn = names["si_dt_05"] + names["si_et_05"] if split == "tt" else names["si_tr_s"]
        path = Path(f"mix_{speakers}_spk_{split}.txt")
        begun = (first / path).read_text().splitlines(keepends=True) if first else []
        lines = dict(enumerate(begun))
        while len(lines) < count:
            chosen = generator.choice(drawn, speakers, replace=False)
            snrs = [f"{generator.uniform(-2.5, 2.5):.5g}" for _ in chosen]
            pairs = zip(chosen, snrs, strict=True)
            lines[tuple(chosen)] = "".join(f"{name} {snr} " for name, snr in pairs) + "\n"
        (folder / path).write_text("".join(lines.values()))
    for part, some in names.items():
        path = Path("activlev", f"activlev_{part}.txt")
        begun = (first / path).read_text() if first else ""
        levels = [f"{Path(name).stem} {generator.uniform(1e-4, 1e-2):.16e}\n" for name in some]
        (folder / path).write_text(begun + "".join(levels))


def write_corpus(root: Path, recipes: list, every=()) -> None:
    """The stand-ins of all utterances that `recipes` name; of `every` other a link to one."""
    named = utterances_of({"all": recipes})
    for number, name in enumerate(named):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < SPHERES:
            short = standin.utterance(str(name), SHORT)
            path.with_suffix(".wv1").write_bytes(standin.sphere(short, shortened=number < 2))
        else:
            path.write_bytes(standin.wav(standin.utterance(str(name))))
    for name in set(every) - set(named):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(root / named[-1], root / name)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Lists as long as WSJ0-2mix's, which begin with lines of these, over a stand-in corpus;
    fetched whole, and the first 500 of each split mixed."""
    root = tmp_path_factory.mktemp("published")
    lists = root / "lists"
    write_lists(lists, PUBLISHED, of_each=40, first=EXCERPTS)
    recipes = {split: read_recipes(lists / f"mix_2_spk_{split}.txt", 2) for split in PUBLISHED}
    mixed = [recipe for some in recipes.values() for recipe in some[:500]]
    write_corpus(root / "corpus", mixed, utterances_of(recipes))
    workspace(root, "speech", "wsj0_2mix", corpus=str(root / "corpus"), lists=str(lists))
    (root / "conf/speech/wsj0mix.sha256").write_text("")
    succeed(root, "fetch_speech")
    fetched = {path.name: path.read_text() for path in (root / RECIPES).iterdir() if path.is_file()}
    for split, some in recipes.items():
        text = "".join(f"{recipe}\n" for recipe in some[:500])
        (root / RECIPES / f"mix_2_spk_{split}.txt").write_text(text)
    succeed(root, "mix_speech")
    yield root, lists, recipes, fetched
    shutil.rmtree(root)


def test_every_list_is_read_whole(published):
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
    for split, some in recipes.items():
        folder = root / MIXTURES / "wav8k" / "min" / split
        assert sorted(path.name for path in folder.iterdir()) == ["mix", "s1", "s2"]
        expected = set()
        for recipe in some[:500]:
            (one, first), (two, second) = zip(recipe.sources, recipe.snrs, strict=True)
            expected.add(f"{one.stem}_{first}_{two.stem}_{second}.wav")
        for name in FOLDERS:
            assert {path.name for path in (folder / name).iterdir()} == expected


def decimated(samples):
    """By two, as Matlab's `resample(x, 8000, 16000)` does with its default filter."""
    taps = np.arange(-20, 21)
    window = np.sinc(taps / 2) * np.kaiser(41, 5)
    return np.convolve(samples, window / window.sum())[20:-20:2]


def assert_as_the_formula_has_it(recipe, sources, levels, folder):
    """The file's samples against the formula of the original scripts, for `min`."""
    scaled = [
        samples / levels[name.stem] ** 0.5 * 10 ** (float(snr) / 20)
        for samples, name, snr in zip(sources, recipe.sources, recipe.snrs, strict=True)
    ]
    shortest = min(map(len, scaled))
    scaled = [samples[:shortest] for samples in scaled]
    every = [sum(scaled), *scaled]
    gain = max(1, *(np.abs(samples).max() for samples in every)) / 0.9
    names = ("mix", *(f"s{n}" for n in range(1, len(sources) + 1)))
    for name, samples in zip(names, every, strict=True):
        found, rate = soundfile.read(folder / name / recipe.name, dtype="int16")
        assert rate == 8000
        assert soundfile.info(folder / name / recipe.name).subtype == "PCM_16"
        assert len(found) == shortest
        # Rounding is to the nearest, but for halves that arithmetic in another order moves.
        assert np.abs(samples / gain * 2**15 - found).max() < 0.5 + 1e-6


def test_an_independent_formula_gives_the_same_samples(published):
    root, _, recipes, _ = published
    levels = read_levels(root / RECIPES / "activlev.txt")
    spheres = set()
    for split, some in recipes.items():
        folder = root / MIXTURES / "wav8k" / "min" / split
        for recipe in some[:500]:
            sources = []
            for name in recipe.sources:
                if (root / "corpus" / name).is_file():
                    samples, _ = soundfile.read(root / "corpus" / name, dtype="int16")
                else:
                    samples = standin.utterance(str(name), SHORT)
                    spheres.add(name)
                sources.append(decimated(samples / 2**15))
            assert_as_the_formula_has_it(recipe, sources, levels, folder)
    assert len(spheres) == SPHERES


# --- smaller ones -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """Workspaces of WSJ0's kind that fetch_speech has been through, by their settings."""
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
    """Makes such a workspace, which may be spoilt."""

    def make(counts, speakers=2, **values):
        root = tmp_path / "workspace"
        shutil.copytree(templates(counts, speakers), root)
        configure(root, speakers, **values)
        return root

    return make


def configure(root, speakers=2, **values):
    values = {"corpus": "corpus", "lists": "lists", **values}
    workspace(root, "speech", f"wsj0_{speakers}mix", **values)
    (root / "conf/speech/wsj0mix.sha256").write_text("")


SMALL = {"tr": 12, "cv": 4, "tt": 4}


def written(root):
    folder = root / MIXTURES
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_any_number_of_workers_makes_the_same_bytes(make, monkeypatch):
    root = make(SMALL)
    monkeypatch.chdir(root)
    speech, made = load().speech, []
    for workers in (1, 2, 5):
        mix_speech.make(speech, CORPUS, RECIPES, MIXTURES, workers)
        made.append(written(root))
    assert len(made[0]) == 3 * 20
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize(("mode", "sample_rate"), [("max", 8000), ("min", 16000)])
def test_other_modes_and_rates(make, mode, sample_rate):
    root = make(SMALL, mode=mode, sample_rate=sample_rate)
    succeed(root, "mix_speech")
    folder = root / MIXTURES / f"wav{sample_rate // 1000}k" / mode / "tt"
    for recipe in read_recipes(root / RECIPES / "mix_2_spk_tt.txt", 2):
        sources = [find(root / "corpus" / name) for name in recipe.sources]
        lengths = [len(read_utterance(path)[0]) * sample_rate / 16000 for path in sources]
        expected = np.ceil(min(lengths) if mode == "min" else max(lengths))
        parts = [soundfile.read(folder / name / recipe.name) for name in FOLDERS]
        assert {(len(samples), rate) for samples, rate in parts} == {(expected, sample_rate)}
        (mixture, _), *sources = parts
        np.testing.assert_allclose(mixture, sum(s for s, _ in sources), atol=1.5 * 2**-15)


def find(path):
    return path if path.is_file() else path.with_suffix(".wv1")


def test_three_speakers(make):
    root = make({"tr": 4, "cv": 4, "tt": 4}, speakers=3)
    succeed(root, "mix_speech")
    levels = read_levels(root / RECIPES / "activlev.txt")
    for recipe in read_recipes(root / RECIPES / "mix_3_spk_tt.txt", 3):
        paths = [find(root / "corpus" / name) for name in recipe.sources]
        sources = [decimated(read_utterance(path)[0]) for path in paths]
        folder = root / MIXTURES / "wav8k" / "min" / "tt"
        assert_as_the_formula_has_it(recipe, sources, levels, folder)


def started(root):
    """On two cores and after everything else, so that it lasts, and whoever watches is not late."""

    def modest():
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
        os.nice(19)

    return subprocess.Popen(
        command("mix_speech"),
        cwd=root,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=modest,
        start_new_session=True,
    )


def journal(root):
    """The files of the finished mixtures, below the scratch folder."""
    for path in (root / "scratch" / "mix_speech").glob("*/journal.txt"):
        text = path.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()
        folder = path.parent / "mixtures" / "wav8k" / "min"
        names = [line.split()[:2] for line in lines]
        return [folder / split / part / name for split, name in names for part in FOLDERS]
    return []


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def interrupted(root, end, files=60):
    """Starts mixing and has `end` (process → None) end it once `files` are finished. Returns the
    exit code and what was said."""
    process = started(root)
    wait_until(lambda: len(journal(root)) >= files)
    end(process)
    code = process.wait()
    error = process.stderr.read()
    assert not (root / MIXTURES).exists()
    wait_until(lambda: not processes_in(root), seconds=10)
    return code, error


def kill(process):
    process.kill()


BIG = {"tr": 700, "cv": 50, "tt": 50}  # seconds, so that it can be caught half done
MADE = sum(BIG.values())


def test_after_a_kill_what_is_finished_stays_and_the_rest_is_made(make):
    root = make(BIG)
    code, _ = interrupted(root, kill)
    assert code == -signal.SIGKILL
    finished = journal(root)
    assert 60 <= len(finished) < 3 * MADE
    spoilt = finished[0], finished[4], finished[8]
    content = spoilt[0].read_bytes()
    spoilt[0].write_bytes(content[:1000])
    spoilt[1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    spoilt[2].unlink()
    (scratch,) = (root / "scratch" / "mix_speech").glob("*/journal.txt")
    scratch.write_text(scratch.read_text() + "tr half-wri")
    before = {
        path.relative_to(scratch.parent / "mixtures"): path.stat().st_mtime_ns
        for path in finished
        if path.name not in {other.name for other in spoilt}
    }
    succeed(root, "mix_speech")
    for path, modified in before.items():
        assert (root / MIXTURES / path).stat().st_mtime_ns == modified
    made = written(root)
    assert len(made) == 3 * MADE
    shutil.rmtree(root / MIXTURES)
    succeed(root, "mix_speech")
    assert written(root) == made
    assert not list((root / "scratch" / "mix_speech").glob("*/"))


def to_the_group(number):
    """As a terminal sends it."""
    return lambda process: os.killpg(process.pid, number)


def to_the_process(number):
    return lambda process: process.send_signal(number)


@pytest.mark.parametrize(
    ("number", "send"), [(signal.SIGTERM, to_the_process), (signal.SIGINT, to_the_group)]
)
def test_a_signal_ends_every_worker(make, number, send):
    root = make(BIG)
    code, error = interrupted(root, send(number))
    assert code == 128 + number
    assert "ERROR" not in error
    assert "Traceback" not in error
    assert journal(root)
    succeed(root, "mix_speech")
    assert len(written(root)) == 3 * MADE


def test_a_worker_that_is_killed_is_one_line(make):
    """By the kernel, for want of memory."""

    def kill_a_worker(process):
        worker = next(each for each in processes_in(root) if each != process.pid)
        os.kill(worker, signal.SIGKILL)

    root = make(BIG)
    code, error = interrupted(root, kill_a_worker)
    assert code == 1
    assert "Traceback" not in error
    found = "found one that was killed (out of memory?), expected all of them to finish"
    assert f"ERROR: worker processes: {found}\n" in error


def test_another_setting_starts_afresh(make):
    root = make(BIG)
    interrupted(root, kill)
    configure(root, mode="max")
    succeed(root, "mix_speech")
    assert not (root / MIXTURES / "wav8k" / "min").exists()
    assert len(written(root)) == 3 * MADE


def every_recipe(root):
    paths = [root / RECIPES / f"mix_2_spk_{split}.txt" for split in SPLITS.values()]
    return [recipe for path in paths for recipe in read_recipes(path, 2)]


def utterance_files(root):
    return [path for path in (root / "corpus").rglob("*") if path.is_file()]


def damaged(path):
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
    ("damage", "message"),
    [
        (damaged, r"found \d+ bytes, expected \d+ as its header says \(cut short\)"),
        (stereo, "found 2 channels, expected mono"),
        (no_audio, "found .*, expected a WAV file"),
        (empty, "found no samples, expected audio"),
        (Path.unlink, "found no such file, expected an utterance of the corpus"),
    ],
)
def test_a_bad_utterance_is_refused(tmp_path, damage, message):
    path = tmp_path / "any.wav"
    path.write_bytes(standin.wav(standin.utterance("any", (2, 2.2))))
    damage(path)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        read_utterance(path)


@pytest.mark.parametrize("damage", [damaged, Path.unlink])
def test_a_bad_utterance_is_named_and_nothing_else_is_lost(make, damage):
    root = make(SMALL)
    recipes = read_recipes(root / RECIPES / "mix_2_spk_tt.txt", 2)
    names = {name for recipe in recipes for name in recipe.sources}
    path = next(root / "corpus" / n for n in sorted(names) if (root / "corpus" / n).is_file())
    content = path.read_bytes()
    damage(path)
    # As if the index had been made of it.
    files = {p.relative_to(root / "corpus"): p.stat().st_size for p in utterance_files(root)}
    write_index(dict(sorted(files.items())), root / CORPUS)
    done = run_stage(root, "mix_speech")
    assert done.returncode == 1
    (error,) = (line for line in done.stderr.splitlines() if line.startswith("ERROR"))
    assert error.startswith(f"ERROR: {path}: found ")
    assert not (root / MIXTURES).exists()
    without = sum(path.relative_to(root / "corpus") not in r.sources for r in every_recipe(root))
    assert len(journal(root)) == 3 * without
    path.write_bytes(content)
    succeed(root, "fetch_speech")
    before = {p.name: p.stat().st_mtime_ns for p in journal(root) if p.parent.name == "mix"}
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
    assert all("bytes, expected" in error and "as listed" in error for error in errors)


def test_an_utterance_that_was_replaced_is_mixed_anew(make):
    root = make(BIG)
    interrupted(root, kill)
    recipe = read_recipes(root / RECIPES / "mix_2_spk_tr.txt", 2)[0]
    path = next(
        p for p in map(find, map((root / "corpus").joinpath, recipe.sources)) if p.suffix == ".wav"
    )
    path.write_bytes(standin.wav(standin.utterance("another")))
    succeed(root, "fetch_speech")
    succeed(root, "mix_speech")
    levels = read_levels(root / RECIPES / "activlev.txt")
    sources = [decimated(read_utterance(find(root / "corpus" / n))[0]) for n in recipe.sources]
    assert_as_the_formula_has_it(recipe, sources, levels, root / MIXTURES / "wav8k/min/tr")


def test_without_a_level_there_is_no_mixture(make):
    root = make(SMALL)
    path = root / RECIPES / "activlev.txt"
    name = every_recipe(root)[0].sources[0].stem
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith(f"{name} ")))
    done = run_stage(root, "mix_speech")
    assert done.returncode == 1
    assert f"activlev.txt: found no level of {name}, expected one per utterance\n" in done.stderr


def test_a_full_disk_is_one_line_and_loses_nothing(make, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    root = make(BIG)
    scratch = root / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", scratch], check=True)
    try:
        done = run_stage(root, "mix_speech")
        assert done.returncode == 1
        assert "found no space left, expected room for the output" in done.stderr
        assert "Traceback" not in done.stderr
        finished = len(journal(root))
        assert finished > 0
        assert not (root / MIXTURES).exists()
        subprocess.run(["mount", "-o", "remount,size=900m", scratch], check=True)
        before = {p.name: p.stat().st_mtime_ns for p in journal(root) if p.parent.name == "mix"}
        succeed(root, "mix_speech")  # onto another file system
    finally:
        subprocess.run(["umount", scratch], check=True)
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
    found, rate = read_sphere(path)
    np.testing.assert_array_equal(found * 2**15, samples)
    assert rate == 16000
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"any.wv1: found \d+ samples, expected \d+ as its header"):
        read_sphere(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"channel_count -i 1", b"channel_count -i 2", "found 2 channels, expected mono"),
        (b"sample_count", b"sample_cuont", "found a bad SPHERE header"),
        (b"sample_rate -i 16000", b"sample_rate -i sixtn", "found a bad SPHERE header"),
        (b"   1024\n", b"   none\n", "found a bad SPHERE header"),
    ],
)
def test_a_bad_sphere_header_is_one_line(tmp_path, old, new, message):
    path = tmp_path / "any.wv1"
    path.write_bytes(standin.sphere(standin.utterance("any", (2, 2.2))).replace(old, new))
    with pytest.raises(InputError, match=message):
        read_utterance(path)


def test_without_ffmpeg_it_is_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "any.wv1"
    path.write_bytes(standin.sphere(standin.utterance("any", (2, 2.2))))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"^ffmpeg: found no such program, expected it"):
        read_utterance(path)


# --- the embedded data, and mixtures that are ready ----------------------------------------


def test_mixtures_are_the_sum_of_their_sources_at_the_recipes_levels():
    recipes = TEST_DATA / RECIPES
    folder = split_folder(TEST_DATA / MIXTURES, 8000, "min", "test")
    levels = read_levels(recipes / "activlev.txt")
    for recipe in read_recipes(recipes / "mix_2_spk_tt.txt", 2):
        sources = [soundfile.read(TEST_DATA / CORPUS / path)[0] for path in recipe.sources]
        assert_as_the_formula_has_it(recipe, sources, levels, folder)
        mixture, one, two = (soundfile.read(folder / name / recipe.name)[0] for name in FOLDERS)
        np.testing.assert_allclose(mixture, one + two, atol=1.5 * 2**-15)


def test_ready_mixtures_take_their_place(tmp_path, monkeypatch):
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

    monkeypatch.setattr(mix_speech.os, "link", refuse)
    speech = SpeechFolder(name="folder", speakers=2, sample_rate=8000, mode="min", path="somewhere")
    source = TEST_DATA / MIXTURES / "wav8k" / "min"
    mix_speech.make(speech, source, tmp_path / "none", tmp_path / "made")
    made = tmp_path / "made" / "wav8k" / "min"
    for path in source.rglob("*.wav"):
        assert (made / path.relative_to(source)).read_bytes() == path.read_bytes()
