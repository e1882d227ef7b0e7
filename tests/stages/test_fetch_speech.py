"""The utterances and recipes of every choice of speech."""

import hashlib
import io
import random
import shutil
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile

from metrics.errors import InputError
from stages import fetch_speech, prompts, recipes
from stages.layout import CORPUS, RECIPES
from stages.params import Mixtures, load
from stages.scratch import scratch_root
from stages.wsj0mix import SPLITS, active_level, read_levels, read_recipes
from tests.conftest import ROOT, TEST_DATA
from tests.stages import standin
from tests.stages.server import Served, Server
from tests.stages.workspaces import run_stage, succeed, workspace
from tests.yaml_files import read_yaml, write_yaml

MINI = load(ROOT / "params.yaml").speech


@pytest.fixture
def web():
    with Server() as server:
        yield server


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Makes a workspace with a choice of speech, enters it, and returns its folder."""

    def prepare(choice, **values):
        workspace(tmp_path, "speech", choice, **values)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return prepare


def fetch():
    fetch_speech.fetch(load().speech, CORPUS, RECIPES)


def refused(message):
    """Fetching ends in an error with `message`, and nothing is made."""
    with pytest.raises(InputError, match=message):
        fetch()
    assert not CORPUS.exists()
    assert not RECIPES.exists()
    assert not list(Path("data/speech").glob(".*"))


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- mini ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prompts_folder(tmp_path_factory):
    """Files as the prompts are named; drawing needs no more of them."""
    root = tmp_path_factory.mktemp("prompts")
    for voice, some in prompts.read_prompts(ROOT / prompts.PROMPTS).items():
        (root / voice).mkdir()
        for file in some:
            (root / voice / file.replace("/", "-")).touch()
    return root


def drawn(folder, **changes):
    return prompts.draw(MINI.model_copy(update=changes), folder)


def test_the_same_seed_draws_the_same_recipes(prompts_folder):
    assert drawn(prompts_folder) == drawn(prompts_folder)
    assert drawn(prompts_folder) != drawn(prompts_folder, seed=1)


@pytest.mark.parametrize("speakers", [2, 3, 4])
def test_recipes_mix_different_people_and_share_no_utterance_between_splits(
    prompts_folder, speakers
):
    all_ = drawn(prompts_folder, speakers=speakers)
    assert {split: len(some) for split, some in all_.items()} == dict(MINI.mixtures)
    used = {}
    for split, some in all_.items():
        assert len({recipe.name for recipe in some}) == len(some)
        for recipe in some:
            people = {MINI.voices[path.parent.name].speaker for path in recipe.sources}
            assert len(people) == speakers
            assert sum(float(snr) for snr in recipe.snrs) == pytest.approx(0)
            assert all(abs(float(snr)) <= 2.5 for snr in recipe.snrs)
            used.setdefault(split, set()).update(recipe.sources)
    assert not used["train"] & used["valid"]
    assert not used["train"] & used["test"]
    assert not used["valid"] & used["test"]


def test_every_utterance_is_used_once_before_any_twice():
    pool = {voice: [PurePosixPath(voice, f"{n}.wav") for n in range(20)] for voice in "abc"}
    mixtures = Mixtures(train=45, valid=15, test=1)
    people = {voice: voice for voice in pool}
    pools = dict.fromkeys(SPLITS, pool)
    all_ = recipes.draw_recipes(pools, people, mixtures, 3, random.Random(0))
    for split, times in (("train", {2, 3}), ("valid", {0, 1})):
        used = [path for recipe in all_[split] for path in recipe.sources]
        assert {used.count(path) for path in pool["a"]} <= times


def test_a_prompt_that_is_another_is_refused(tmp_path, monkeypatch):
    """An installed package of another release."""
    name = "en_US_f_Allison"
    chosen = {name: {"agent-user.wav": "0" * 64}}
    monkeypatch.setattr(prompts, "INSTALLED", tmp_path / "sounds")
    source = tmp_path / "sounds" / name / "agent-user.wav"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"another recording")
    speech = MINI.model_copy(update={"voices": {name: MINI.voices[name]}})
    with pytest.raises(
        InputError, match=r"en-wav: agent-user.wav: found sha256 .*, expected 0{64}"
    ):
        prompts.collect(speech, chosen, tmp_path / "corpus")


def test_without_apt_one_line_says_what_to_do(prepare, tmp_path, monkeypatch):
    prepare("mini")
    monkeypatch.setattr(prompts, "INSTALLED", tmp_path / "sounds")
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(r"wav: found no apt-get on this machine, expected the pack")


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="no apt on this machine")
def test_a_package_is_had_without_the_systems_lists(tmp_path, monkeypatch):
    """A new machine, before anybody ran `apt-get update`."""
    (tmp_path / "none").mkdir()
    (tmp_path / "apt.conf").write_text(f'Dir::State::Lists "{tmp_path}/none";')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    package = MINI.voices["it_IT_m_Carlo"].package
    unpacked = prompts._unpack(package, tmp_path)
    assert (unpacked / "usr/share/asterisk/sounds/it_IT_m_Carlo").is_dir()
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"^no-such-package: found .* from apt-get, expected the"):
        prompts._unpack("no-such-package", tmp_path / "other")


# --- WSJ0-mix -----------------------------------------------------------------------------

LISTS = {
    "mix_2_spk_tr.txt": "wsj0/si_tr_s/01t/01to030v.wav 0.7 wsj0/si_tr_s/20g/20ga010m.wav -0.7 \n"
    "wsj0/si_tr_s/20g/20ga010m.wav 1.5 wsj0/si_tr_s/01t/01to030v.wav -1.5 \n",
    "mix_2_spk_cv.txt": "wsj0/si_tr_s/40e/40ec020o.wav 1.3 wsj0/si_tr_s/20g/20ga010m.wav -1.3 \n",
    "mix_2_spk_tt.txt": "wsj0/si_et_05/445/445c0206.wav 0.6 wsj0/si_dt_05/22g/22gc0105.wav -0.6 \n",
    "activlev/activlev_si_tr_s.txt": "01to030v 1e-3\n20ga010m 2e-3\n40ec020o 3e-3\n",
    "activlev/activlev_si_dt_05.txt": "22gc0105 4e-4\n",
    "activlev/activlev_si_et_05.txt": "445c0206 5e-4\n",
}
UTTERANCES = (
    "wsj0/si_dt_05/22g/22gc0105.wav",
    "wsj0/si_et_05/445/445c0206.wv1",
    "wsj0/si_tr_s/01t/01to030v.wav",
    "wsj0/si_tr_s/20g/20ga010m.sph",
    "wsj0/si_tr_s/40e/40ec020o.wav",
)


def write_wsj0(root, lists=LISTS):
    """A corpus and lists; the files of a corpus are only looked up."""
    for name in UTTERANCES:
        path = root / "ours" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    for name, text in lists.items():
        path = root / "lists" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sums = [f"{hashlib.sha256(text.encode()).hexdigest()}  {name}" for name, text in lists.items()]
    (root / "conf/speech/wsj0mix.sha256").write_text("\n".join(sums) + "\n")


def check_wsj0():
    assert (CORPUS / "index.csv").read_text().splitlines() == [
        "path,bytes",
        *(f"{name},{len(name)}" for name in UTTERANCES),
    ]
    for split in SPLITS.values():
        name = f"mix_2_spk_{split}.txt"
        assert (RECIPES / name).read_text() == LISTS[name]
    assert read_levels(RECIPES / "activlev.txt") == {
        "01to030v": 1e-3,
        "20ga010m": 2e-3,
        "40ec020o": 3e-3,
        "22gc0105": 4e-4,
        "445c0206": 5e-4,
    }
    sums = dict(
        reversed(line.split()) for line in (RECIPES / "sha256.txt").read_text().splitlines()
    )
    assert sums == {name: hashlib.sha256(t.encode()).hexdigest() for name, t in LISTS.items()}


def test_wsj0_mix_with_lists_that_are_here(prepare):
    root = prepare("wsj0_2mix", corpus="ours", lists="lists")
    write_wsj0(root)
    fetch()
    check_wsj0()


def test_wsj0_mix_with_lists_from_the_web(prepare, web):
    root = prepare("wsj0_2mix", corpus="ours", url=web.url("metadata"))
    write_wsj0(root)
    for name, text in LISTS.items():
        web.files[f"metadata/{name}"] = Served(text.encode())
    succeed(root, "fetch_speech")
    check_wsj0()
    assert not [path for path in (root / "scratch").rglob("*.txt")]


def test_a_list_that_is_not_the_published_one_is_refused(prepare, web):
    root = prepare("wsj0_2mix", corpus="ours", lists="lists")
    write_wsj0(root)
    (root / "lists/mix_2_spk_cv.txt").write_text(LISTS["mix_2_spk_cv.txt"].replace("1.3", "1.4"))
    refused(r"lists/mix_2_spk_cv.txt: found sha256 \w{64}, expected \w{64}$")
    prepare("wsj0_2mix", corpus="ours", url=web.url("metadata"))
    write_wsj0(root)
    for name, text in LISTS.items():
        web.files[f"metadata/{name}"] = Served(text.replace("1.3", "1.4").encode())
    refused(r"/metadata/mix_2_spk_cv.txt: found sha256:\w{64}, expected sha256:\w{64}")


def test_lists_whose_checksum_is_unknown_are_read_line_by_line(prepare):
    root = prepare("wsj0_2mix", corpus="ours", lists="lists")
    name = "mix_2_spk_tt.txt"
    write_wsj0(root, {**LISTS, name: LISTS[name] + "wsj0/si_dt_05/22g/22gc0105.wav 0.6\n"})
    sums = (root / "conf/speech/wsj0mix.sha256").read_text().splitlines()
    kept = [line for line in sums if not line.endswith(name)]
    (root / "conf/speech/wsj0mix.sha256").write_text("\n".join(kept) + "\n")
    refused(r"mix_2_spk_tt.txt:2: found .*, expected 2 × `path snr`")


def test_without_wsj0_one_line_says_what_is_needed(prepare):
    root = prepare("wsj0_2mix", corpus="nowhere", lists="lists")
    write_wsj0(root)
    refused(
        rf"^speech.corpus: found no folder {root}/nowhere, expected your copy of WSJ0 \(LDC93S6A"
    )
    prepare("wsj0_2mix", corpus="lists", lists="lists")
    refused(
        r"^speech.corpus: found nothing like wsj0/si_tr_s in .*lists, expected your copy of WSJ0"
    )
    prepare("wsj0_2mix", lists="lists")
    done = run_stage(root, "fetch_speech")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "ERROR: speech.corpus: found nothing, expected your licensed copy"
    )
    assert done.stderr.count("\n") == 1


def test_utterances_that_are_missing_are_named_up_to_ten(prepare):
    root = prepare("wsj0_2mix", corpus="ours", lists="lists")
    lines = "".join(
        f"wsj0/si_tr_s/01t/01to{n:04d}.wav 1 wsj0/si_tr_s/20g/20ga010m.wav -1\n" for n in range(14)
    )
    write_wsj0(root, {**LISTS, "mix_2_spk_tr.txt": lines})
    done = run_stage(root, "fetch_speech")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    missing = [line for line in done.stderr.splitlines() if "found no such file" in line]
    assert len(missing) == 10
    assert missing[0].startswith(f"ERROR: {root}/ours/wsj0/si_tr_s/01t/01to0000.wav: found no such")
    assert "and 4 more" in done.stderr
    assert not (root / "data/speech/corpus").exists()


def test_a_missing_list_is_named(prepare):
    root = prepare("wsj0_2mix", corpus="ours", lists="lists")
    write_wsj0(root)
    (root / "lists/activlev/activlev_si_dt_05.txt").unlink()
    refused(
        r"lists/activlev/activlev_si_dt_05.txt: found no such file, expected a list of WSJ0-mix"
    )


# --- LibriSpeech --------------------------------------------------------------------------

SUBSETS = {"train": "train-clean-100", "valid": "dev-clean", "test": "test-clean"}
SPEAKERS = {"train": ("103", "1034", "26"), "valid": ("84", "174"), "test": ("61", "121", "237")}
FEW = {"train": 6, "valid": 2, "test": 3}


@pytest.fixture(scope="module")
def librispeech(tmp_path_factory):
    """Real prompts in LibriSpeech's layout, as FLAC at 16 kHz."""
    root = tmp_path_factory.mktemp("librispeech") / "LibriSpeech"
    voices = sorted((TEST_DATA / CORPUS).rglob("*.wav"))
    number = 0
    for split, subset in SUBSETS.items():
        for speaker in SPEAKERS[split]:
            for utterance in range(4):
                samples, rate = soundfile.read(voices[number % len(voices)])
                number += 1
                name = f"{speaker}-1240-{utterance:04d}.flac"
                path = root / subset / speaker / "1240" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, np.repeat(samples, 2), 2 * rate)
    return root


def served_librispeech(web, root):
    sums = ""
    for subset in SUBSETS.values():
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            archive.add(root / subset, f"LibriSpeech/{subset}")
        web.files[f"12/{subset}.tar.gz"] = Served(content.getvalue())
        sums += f"{hashlib.md5(content.getvalue()).hexdigest()}  {subset}.tar.gz\n"
    web.files["12/md5sum.txt"] = Served(sums.encode())


def check_librispeech(root):
    every = {}
    for split, short in SPLITS.items():
        some = read_recipes(RECIPES / f"mix_2_spk_{short}.txt", 2)
        assert len(some) == FEW[split]
        for recipe in some:
            speakers = [path.parts[1] for path in recipe.sources]
            assert len(set(speakers)) == 2
            assert set(speakers) <= set(SPEAKERS[split])
            assert {path.parts[0] for path in recipe.sources} == {SUBSETS[split]}
            assert all(abs(float(snr)) <= 2.5 for snr in recipe.snrs)
            every |= {path: path.stem for path in recipe.sources}
    levels = read_levels(RECIPES / "activlev.txt")
    assert set(levels) == set(every.values())
    for path, stem in every.items():
        assert levels[stem] == active_level(*soundfile.read(root / path))
    lines = (CORPUS / "index.csv").read_text().splitlines()
    assert lines[1:] == [f"{path},{(root / path).stat().st_size}" for path in sorted(every)]


@pytest.mark.parametrize("level", ["above", "itself"])
def test_librispeech_that_is_here(prepare, librispeech, level):
    given = librispeech.parent if level == "above" else librispeech
    prepare("librispeech_2mix", corpus=str(given), mixtures=FEW)
    fetch()
    check_librispeech(librispeech)
    first = files(RECIPES)
    fetch()
    assert files(RECIPES) == first
    prepare("librispeech_2mix", corpus=str(given), mixtures=FEW, seed=1)
    fetch()
    assert files(RECIPES) != first


def test_librispeech_from_the_web_to_mixtures(prepare, librispeech, web):
    served_librispeech(web, librispeech)
    web.files["12/dev-clean.tar.gz"].cuts = [3000]
    values = {"url": web.url("12"), "mixtures": FEW}
    root = prepare("librispeech_2mix", **values)
    succeed(root, "fetch_speech")
    check_librispeech(librispeech)
    corpus = scratch_root() / "corpora" / "librispeech" / "LibriSpeech"
    assert files(corpus) == files(librispeech)
    assert not list((root / "scratch").rglob("*.tar.gz*"))
    asked = len(web.asked)
    succeed(root, "fetch_speech")
    assert len(web.asked) == asked  # all of it is here
    next(corpus.rglob("dev-clean/*/*/*.flac")).unlink()
    succeed(root, "fetch_speech")
    assert files(corpus) == files(librispeech)
    assert [a.path for a in web.asked[asked:]] == ["/12/md5sum.txt", "/12/dev-clean.tar.gz"]
    succeed(root, "mix_speech")
    made = sorted(path.name for path in (root / "data/speech/mixtures/wav8k/min/tt/mix").iterdir())
    some = read_recipes(RECIPES / "mix_2_spk_tt.txt", 2)
    assert made == sorted(recipe.name for recipe in some)
    shutil.rmtree(corpus)
    done = run_stage(root, "mix_speech")
    assert done.returncode == 1
    assert "found no train-clean-100 in" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_subset_without_a_checksum_is_refused(prepare, librispeech, web):
    served_librispeech(web, librispeech)
    web.files["12/md5sum.txt"] = Served(b"0123  other.tar.gz\n")
    prepare("librispeech_2mix", url=web.url("12"), mixtures=FEW)
    refused(
        r"/12/md5sum.txt: found no train-clean-100.tar.gz, expected the checksum of every subset"
    )


def test_a_speaker_in_two_subsets_is_refused(prepare, librispeech, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(librispeech, copy)
    shutil.copytree(copy / "dev-clean" / "84", copy / "test-clean" / "84")
    prepare("librispeech_2mix", corpus=str(copy), mixtures=FEW)
    refused("^speech.subsets: found speaker 84 in valid and test, expected different speakers")


def test_too_few_speakers_or_utterances_are_refused(prepare, librispeech):
    prepare("librispeech_2mix", corpus=str(librispeech), mixtures=FEW, speakers=3)
    refused("^speech.speakers: found 3, expected at most 2")
    prepare("librispeech_2mix", corpus=str(librispeech), mixtures={**FEW, "valid": 17})
    refused("^speech.mixtures: found 17 in a split, expected fewer")


def silent(path):
    soundfile.write(path, np.zeros(32000), 16000)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-2000])


def text(path):
    path.write_text("no audio")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (silent, "found silence, expected speech"),
        (cut_short, "found .*, expected"),
        (text, "found .*, expected"),
    ],
)
def test_a_bad_utterance_of_librispeech_is_named(prepare, librispeech, tmp_path, damage, message):
    copy = tmp_path / "copy"
    shutil.copytree(librispeech, copy)
    for path in copy.rglob("dev-clean/*/*/*-0002.flac"):
        damage(path)
    prepare("librispeech_2mix", corpus=str(copy), mixtures={**FEW, "valid": 8})
    refused(f"/dev-clean/.*-0002.flac: {message}")


@pytest.mark.parametrize("subset", SUBSETS.values())
def test_a_missing_subset_is_named(prepare, librispeech, tmp_path, subset):
    copy = tmp_path / "copy"
    shutil.copytree(librispeech, copy)
    shutil.rmtree(copy / subset)
    prepare("librispeech_2mix", corpus=str(copy), mixtures=FEW)
    refused(f"^speech.corpus: found no {subset} in {copy}, expected the folder of")


# --- mixtures that are ready --------------------------------------------------------------


def ready(folder):
    """Real mixtures, as {mix,s1,s2}/<name>.wav."""
    source = TEST_DATA / "data/speech/mixtures/wav8k/min/tr"
    shutil.copytree(source, folder)
    return folder


def list_ready(root, folder):
    sums = [
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in files(folder).items()
    ]
    (root / "conf/speech/svoice_debug.sha256").write_text("".join(sums))


def check_ready(folder):
    assert files(CORPUS) == {
        f"{split}/{name}": content
        for split in SPLITS.values()
        for name, content in files(folder).items()
    }
    assert RECIPES.is_dir()
    assert not list(RECIPES.iterdir())


def test_the_studys_mixtures_from_a_folder(prepare):
    root = prepare("svoice_debug", path="theirs")
    list_ready(root, ready(root / "theirs"))
    fetch()
    check_ready(root / "theirs")


def test_the_studys_mixtures_from_the_web(prepare, web):
    root = prepare("svoice_debug", url=web.url("debug"))
    list_ready(root, ready(root / "theirs"))
    for name, content in files(root / "theirs").items():
        web.files[f"debug/{name}"] = Served(content)
    succeed(root, "fetch_speech")
    check_ready(root / "theirs")
    assert not list((root / "scratch").rglob("*.wav"))


def test_the_studys_mixtures_are_eight_that_we_know():
    known = (ROOT / "conf/speech/svoice_debug.sha256").read_text().splitlines()
    assert [line[64:] for line in known] == [
        f"  {part}/{name}" for part in ("mix", "s1", "s2") for name in standin.STUDYS
    ]
    assert len({line[:64] for line in known}) == 24


def test_other_mixtures_than_the_studys_are_refused(prepare, web):
    root = prepare("svoice_debug", path="theirs")
    list_ready(root, ready(root / "theirs"))
    path = sorted((root / "theirs/s2").iterdir())[0]
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    refused(rf"{path}: found sha256 \w{{64}}, expected {hashlib.sha256(content).hexdigest()}")
    path.unlink()
    refused(f"{path}: found no such file, expected a mixture or source")
    prepare("svoice_debug", url=web.url("debug"))
    refused(r"/debug/.*.wav: found HTTP 404")


def test_ones_own_mixtures(prepare):
    root = prepare("folder", path="ours")
    for split in SPLITS.values():
        ready(root / "ours" / split)
    expected = files(root / "ours")
    (root / "ours" / "tr" / "notes.txt").write_text("mine")
    fetch()
    assert files(CORPUS) == expected
    assert RECIPES.is_dir()
    assert not list(RECIPES.iterdir())


def test_ones_own_mixtures_need_every_split_and_source(prepare):
    root = prepare("folder", path="ours")
    refused(
        f"^speech.path: found no folder {root}/ours, expected the one that holds tr/, cv/ and tt/"
    )
    for split in SPLITS.values():
        ready(root / "ours" / split)
    path = sorted((root / "ours/tt/s2").iterdir())[0]
    path.unlink()
    refused(f"^{path}: found no such file, expected the source of a mixture$")
    shutil.rmtree(root / "ours/cv/mix")
    refused(f"^{root}/ours/cv/mix: found no WAV files, expected mixtures$")
    params = read_yaml(Path("params.yaml"))
    params["speech"]["path"] = None
    write_yaml(Path("params.yaml"), params)
    done = run_stage(root, "fetch_speech")
    assert done.stderr.startswith("ERROR: speech.path: found nothing, expected the folder that")


def several(folder, speakers):
    """Has the sources of as many speakers beside every mixture."""
    for split in SPLITS.values():
        ready(folder / split)
        for number in range(1, 13):
            source = folder / split / f"s{number}"
            if number > speakers:
                shutil.rmtree(source, ignore_errors=True)
            elif not source.exists():
                shutil.copytree(folder / split / "s1", source)


@pytest.mark.parametrize(("there", "wanted"), [(5, 2), (10, 2), (2, 3), (3, 5)])
def test_another_number_of_speakers_than_there_are_is_told_with_the_setting(prepare, there, wanted):
    root = prepare("folder", path="ours", speakers=wanted)
    several(root / "ours", there)
    names = ", ".join(f"s{number}" for number in range(1, there + 1))
    refused(
        rf"^speech.speakers: found {wanted}, expected {there} for {names} in {root}/ours/tr: "
        rf"-S speech.speakers={there}$"
    )
    prepare("folder", path="ours", speakers=there)
    fetch()
    assert files(CORPUS) == files(root / "ours")


def test_speakers_folders_must_be_of_two_to_ten_in_a_row(prepare):
    root = prepare("folder", path="ours")
    for there, names in ((1, "s1"), (0, "no s1, s2, …"), (12, "s1, .*, s12")):
        shutil.rmtree(root / "ours", ignore_errors=True)
        several(root / "ours", there)
        refused(f"^{root}/ours/tr: found {names}, expected the sources of two to ten speakers, in ")
    for split in SPLITS.values():
        shutil.rmtree(root / "ours" / split / "s2")
    refused(
        f"^{root}/ours/tr: found s1, s3, .*, s12, expected the sources of two to ten speakers, in "
    )


def test_a_given_path_starts_at_the_repository(tmp_path, monkeypatch):
    """In DVC's temporary workspaces too."""
    experiment = tmp_path / ".dvc" / "tmp" / "exps" / "abc"
    experiment.mkdir(parents=True)
    workspace(experiment, "speech", "folder", path="ours")
    for split in SPLITS.values():
        ready(tmp_path / "ours" / split)
    monkeypatch.chdir(experiment)
    fetch()
    assert files(experiment / CORPUS) == files(tmp_path / "ours")
