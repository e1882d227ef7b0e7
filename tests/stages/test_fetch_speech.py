"""The utterances and recipes of every choice of speech, from the web or from a local folder."""

import hashlib
import io
import random
import re
import shutil
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile

from contract.errors import InputError
from contract.layout import CORPUS, RECIPES, scratch_root
from contract.params import Mixtures, Voice, load
from contract.sources import speaker
from stages import fetch_speech
from stages.datasets import prompts, recipes
from stages.datasets.audio import ANOTHER_COPY
from stages.datasets.wsj0mix import SPLITS, active_level, read_levels, read_recipes
from tests.conftest import ROOT, TEST_DATA
from tests.stages import standin
from tests.stages.server import Served, Server
from tests.stages.workspaces import run_stage, succeed, workspace
from tests.yaml_files import read_yaml, write_yaml

MINI = load(ROOT / "configuration.yaml").speech
ALL_VOICES = {
    **MINI.voices,
    **{
        name: Voice.model_validate(voice)
        for name, voice in read_yaml(ROOT / "conf/speech/prompts.yaml")["voices"].items()
    },
}


@pytest.fixture
def web():
    with Server() as server:
        yield server


@pytest.fixture
def prepare(tmp_path, monkeypatch):
    """Makes a workspace with a choice of speech, and makes it the working directory."""

    def prepare(choice, **values):
        workspace(tmp_path, "speech", choice, **values)
        monkeypatch.chdir(tmp_path)
        return tmp_path

    return prepare


def fetch():
    fetch_speech.fetch(load().speech, CORPUS, RECIPES)


def error_of_fetch() -> str:
    """The message of a fetch that fails and makes nothing."""
    with pytest.raises(InputError) as caught:
        fetch()
    assert not CORPUS.exists()
    assert not RECIPES.exists()
    assert not list(Path("data/speech").glob(".*"))
    return str(caught.value)


def wrong_checksum(where, checksum, expected):
    remedy = "get another copy, or correct the checksum"
    return f"{where}: has the checksum {checksum}, not {expected}; {remedy}"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def files(folder):
    """The content of every file below a folder, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- mini ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prompts_folder(tmp_path_factory):
    """Empty files with the prompts' names, which is all that drawing recipes needs."""
    root = tmp_path_factory.mktemp("prompts")
    for voice, files_of_voice in prompts.read_prompts(ROOT / prompts.PROMPTS).items():
        (root / voice).mkdir()
        for file in files_of_voice:
            (root / voice / file.replace("/", "-")).touch()
    return root


def draw(folder, **changes):
    """Draws recipes with a changed configuration."""
    return prompts.draw(MINI.model_copy(update=changes), folder)


def test_the_same_seed_draws_the_same_recipes(prompts_folder):
    assert draw(prompts_folder) == draw(prompts_folder)
    assert draw(prompts_folder) != draw(prompts_folder, seed=1)


@pytest.mark.parametrize("speakers", [2, 3, 4])
def test_recipes_mix_different_people_and_share_no_utterance_between_splits(
    prompts_folder, speakers
):
    drawn = draw(prompts_folder, speakers=speakers, voices=ALL_VOICES)
    assert {split: len(in_split) for split, in_split in drawn.items()} == dict(MINI.mixtures)
    used = {}
    for split, in_split in drawn.items():
        assert len({recipe.name for recipe in in_split}) == len(in_split)
        for recipe in in_split:
            people = {ALL_VOICES[path.parent.name].speaker for path in recipe.sources}
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
    drawn = recipes.draw_recipes(pools, people, mixtures, 3, random.Random(0))
    for split, times in (("train", {2, 3}), ("valid", {0, 1})):
        used = [path for recipe in drawn[split] for path in recipe.sources]
        assert {used.count(path) for path in pool["a"]} <= times


VOICE = {"package": "asterisk-core-sounds-en-wav", "speaker": "Somebody else"}


@pytest.mark.parametrize(
    ("voice", "listed", "problem"),
    [
        (
            "de_DE_f_Anna",
            False,
            "conf/speech/prompts.sha256 lists no prompts of this voice; add the checksums of its "
            "prompts to conf/speech/prompts.sha256, or remove this voice",
        ),
        (
            "en_US_m_John",
            True,
            "has the language of en_US_f_Allison; remove one of the two voices",
        ),
    ],
)
def test_a_voice_that_cannot_be_used_is_refused(prepare, voice, listed, problem):
    voices = {name: details.model_dump() for name, details in MINI.voices.items()}
    prepare("mini", voices={**voices, voice: VOICE})
    if listed:
        with prompts.PROMPTS.open("a") as checksums:
            checksums.write(f"{'0' * 64}  {voice}/agent-user.wav\n")
    assert error_of_fetch() == f"speech.voices.{voice}: {problem}"


def test_another_prompt_than_the_chosen_one_is_refused(tmp_path, monkeypatch):
    """It comes from another release of the package."""
    name = "en_US_f_Allison"
    chosen_prompts = {name: {"agent-user.wav": "0" * 64}}
    monkeypatch.setattr(prompts, "INSTALLED", tmp_path / "sounds")
    source = tmp_path / "sounds" / name / "agent-user.wav"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"another recording")
    speech = MINI.model_copy(update={"voices": {name: MINI.voices[name]}})
    with pytest.raises(InputError) as caught:
        prompts.collect(speech, chosen_prompts, tmp_path / "corpus")
    assert str(caught.value) == wrong_checksum(
        f"{MINI.voices[name].package}: agent-user.wav",
        sha256(b"another recording"),
        f"sha256:{'0' * 64}",
    )


def test_a_prompt_that_the_package_lacks_is_an_error(tmp_path, monkeypatch):
    name = "en_US_f_Allison"
    monkeypatch.setattr(prompts, "INSTALLED", tmp_path / "sounds")
    (tmp_path / "sounds" / name).mkdir(parents=True)
    speech = MINI.model_copy(update={"voices": {name: MINI.voices[name]}})
    with pytest.raises(InputError) as caught:
        prompts.collect(speech, {name: {"agent-user.wav": "0" * 64}}, tmp_path / "corpus")
    assert str(caught.value) == (
        f"{MINI.voices[name].package}: agent-user.wav: there is no such prompt; "
        "use the release of the package that conf/speech/prompts.sha256 lists"
    )


def test_without_apt_the_error_says_what_to_do(prepare, tmp_path, monkeypatch):
    prepare("mini")
    monkeypatch.setattr(prompts, "INSTALLED", tmp_path / "sounds")
    monkeypatch.setenv("PATH", str(tmp_path))
    package = next(iter(MINI.voices.values())).package
    assert error_of_fetch() == (
        f"{package}: cannot be downloaded: there is no apt-get on this machine; put the package's "
        f"files under {tmp_path}/sounds (any Debian mirror has the package)"
    )


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="needs apt")
def test_a_package_is_downloaded_without_the_systems_lists(tmp_path, monkeypatch):
    """On a new machine nobody has run `apt-get update`."""
    (tmp_path / "none").mkdir()
    (tmp_path / "apt.conf").write_text(f'Dir::State::Lists "{tmp_path}/none";')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    package = MINI.voices["it_IT_m_Carlo"].package
    unpacked = prompts._download_package(package, tmp_path)
    assert (unpacked / "usr/share/asterisk/sounds/it_IT_m_Carlo").is_dir()
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError) as caught:
        prompts._download_package("no-such-package", tmp_path / "other")
    assert re.fullmatch(
        r"no-such-package: cannot be downloaded by apt-get \(.+\); "
        "check the network, or install the package",
        str(caught.value),
    )


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
    """Writes a corpus and lists. The files of the corpus are not read, only their sizes."""
    for name in UTTERANCES:
        path = root / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    for name, text in lists.items():
        path = root / "lists" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    lines = [f"{hashlib.sha256(text.encode()).hexdigest()}  {name}" for name, text in lists.items()]
    (root / "conf/speech/wsj0mix.sha256").write_text("\n".join(lines) + "\n")


def check_wsj0():
    """The index, the lists and their checksums are those of the corpus and the lists above."""
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
    checksums = dict(
        reversed(line.split()) for line in (RECIPES / "sha256.txt").read_text().splitlines()
    )
    assert checksums == {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in LISTS.items()
    }


def test_wsj0_mix_with_lists_from_a_folder(prepare):
    root = prepare("wsj0_2mix", corpus="corpus", lists="lists")
    write_wsj0(root)
    fetch()
    check_wsj0()


def test_wsj0_mix_with_lists_from_the_web(prepare, web):
    root = prepare("wsj0_2mix", corpus="corpus", url=web.url("metadata"))
    write_wsj0(root)
    for name, text in LISTS.items():
        web.files[f"metadata/{name}"] = Served(text.encode())
    succeed(root, "fetch_speech")
    check_wsj0()
    assert not [path for path in (root / "scratch").rglob("*.txt")]


def test_a_list_that_is_not_the_published_one_is_refused(prepare, web):
    root = prepare("wsj0_2mix", corpus="corpus", lists="lists")
    write_wsj0(root)
    path = root / "lists/mix_2_spk_cv.txt"
    published = LISTS["mix_2_spk_cv.txt"]
    changed = published.replace("1.3", "1.4")
    checksums = sha256(changed.encode()), sha256(published.encode())
    path.write_text(changed)
    assert error_of_fetch() == wrong_checksum(path, *checksums)
    prepare("wsj0_2mix", corpus="corpus", url=web.url("metadata"))
    write_wsj0(root)
    for name, text in LISTS.items():
        web.files[f"metadata/{name}"] = Served(text.replace("1.3", "1.4").encode())
    assert error_of_fetch() == wrong_checksum(web.url("metadata/mix_2_spk_cv.txt"), *checksums)


def test_lists_without_a_known_checksum_are_checked_line_by_line(prepare):
    root = prepare("wsj0_2mix", corpus="corpus", lists="lists")
    name = "mix_2_spk_tt.txt"
    write_wsj0(root, {**LISTS, name: LISTS[name] + "wsj0/si_dt_05/22g/22gc0105.wav 0.6\n"})
    lines = (root / "conf/speech/wsj0mix.sha256").read_text().splitlines()
    kept = [line for line in lines if not line.endswith(name)]
    (root / "conf/speech/wsj0mix.sha256").write_text("\n".join(kept) + "\n")
    message = error_of_fetch()
    assert message.endswith(
        f"/{name}:2: 'wsj0/si_dt_05/22g/22gc0105.wav 0.6' is not a recipe; "
        "a line holds `path snr` for each of 2 speakers"
    )


def test_without_wsj0_the_error_says_what_is_needed(prepare):
    root = prepare("wsj0_2mix", corpus="nowhere", lists="lists")
    write_wsj0(root)
    remedy = "set it to your copy of WSJ0 (LDC93S6A), the folder that holds wsj0/si_tr_s"
    assert error_of_fetch() == f"speech.corpus: there is no folder {root}/nowhere; {remedy}"
    prepare("wsj0_2mix", corpus="lists", lists="lists")
    assert error_of_fetch() == f"speech.corpus: there is no wsj0/ in {root}/lists; {remedy}"
    prepare("wsj0_2mix", lists="lists")
    done = run_stage(root, "fetch_speech")
    assert done.returncode == 1
    assert done.stderr == (
        "ERROR: speech.corpus: is not set; set it to your licensed copy of WSJ0 (LDC93S6A), "
        "the folder that holds wsj0/si_tr_s\n"
    )


def test_of_many_missing_utterances_ten_are_named(prepare):
    root = prepare("wsj0_2mix", corpus="corpus", lists="lists")
    lines = "".join(
        f"wsj0/si_tr_s/01t/01to{n:04d}.wav 1 wsj0/si_tr_s/20g/20ga010m.wav -1\n" for n in range(14)
    )
    write_wsj0(root, {**LISTS, "mix_2_spk_tr.txt": lines})
    done = run_stage(root, "fetch_speech")
    assert done.returncode == 1
    paths = [f"{root}/corpus/wsj0/si_tr_s/01t/01to{n:04d}.wav" for n in range(10)]
    assert done.stderr.splitlines() == [
        *(f"ERROR: {path}: there is no such utterance; complete the corpus" for path in paths),
        "ERROR: and 4 more",
    ]
    assert not (root / "data/speech/corpus").exists()


def test_a_missing_list_is_named(prepare):
    root = prepare("wsj0_2mix", corpus="corpus", lists="lists")
    write_wsj0(root)
    path = root / "lists/activlev/activlev_si_dt_05.txt"
    path.unlink()
    assert error_of_fetch() == (
        f"{path}: there is no such file; set speech.lists to the folder that holds "
        "the lists of WSJ0-mix"
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
        for person in SPEAKERS[split]:
            for utterance in range(4):
                samples, rate = soundfile.read(voices[number % len(voices)])
                number += 1
                name = f"{person}-1240-{utterance:04d}.flac"
                path = root / subset / person / "1240" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, np.repeat(samples, 2), 2 * rate)
    return root


def serve_librispeech(web, root):
    """Serves an archive of every subset, and their checksums."""
    checksums = ""
    for subset in SUBSETS.values():
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            archive.add(root / subset, f"LibriSpeech/{subset}")
        web.files[f"12/{subset}.tar.gz"] = Served(content.getvalue())
        checksums += f"{hashlib.md5(content.getvalue()).hexdigest()}  {subset}.tar.gz\n"
    web.files["12/md5sum.txt"] = Served(checksums.encode())


def check_librispeech(root):
    """Recipes, levels and index are made of the corpus's utterances."""
    used = {}
    for split, short in SPLITS.items():
        in_split = read_recipes(RECIPES / f"mix_2_spk_{short}.txt", 2)
        assert len(in_split) == FEW[split]
        for recipe in in_split:
            speakers = [path.parts[1] for path in recipe.sources]
            assert len(set(speakers)) == 2
            assert set(speakers) <= set(SPEAKERS[split])
            assert {path.parts[0] for path in recipe.sources} == {SUBSETS[split]}
            assert all(abs(float(snr)) <= 2.5 for snr in recipe.snrs)
            used |= {path: path.stem for path in recipe.sources}
    levels = read_levels(RECIPES / "activlev.txt")
    assert set(levels) == set(used.values())
    for path, stem in used.items():
        assert levels[stem] == active_level(*soundfile.read(root / path))
    lines = (CORPUS / "index.csv").read_text().splitlines()
    assert lines[1:] == [f"{path},{(root / path).stat().st_size}" for path in sorted(used)]


@pytest.mark.parametrize("level", ["above", "itself"])
def test_librispeech_from_a_folder(prepare, librispeech, level):
    folder = librispeech.parent if level == "above" else librispeech
    prepare("librispeech_2mix", corpus=str(folder), mixtures=FEW)
    fetch()
    check_librispeech(librispeech)
    first = files(RECIPES)
    fetch()
    assert files(RECIPES) == first
    prepare("librispeech_2mix", corpus=str(folder), mixtures=FEW, seed=1)
    fetch()
    assert files(RECIPES) != first


def test_librispeech_from_the_web_to_mixtures(prepare, librispeech, web):
    serve_librispeech(web, librispeech)
    web.files["12/dev-clean.tar.gz"].cuts = [3000]
    values = {"url": web.url("12"), "mixtures": FEW}
    root = prepare("librispeech_2mix", **values)
    succeed(root, "fetch_speech")
    check_librispeech(librispeech)
    corpus = scratch_root() / "corpora" / "librispeech" / "LibriSpeech"
    assert files(corpus) == files(librispeech)
    assert not list((root / "scratch").rglob("*.tar.gz*"))
    count = len(web.requests)
    succeed(root, "fetch_speech")
    assert len(web.requests) == count  # the corpus is complete
    next(corpus.rglob("dev-clean/*/*/*.flac")).unlink()
    succeed(root, "fetch_speech")
    assert files(corpus) == files(librispeech)
    paths = [request.path for request in web.requests[count:]]
    assert paths == ["/12/md5sum.txt", "/12/dev-clean.tar.gz"]
    succeed(root, "mix_speech")
    made = sorted(path.name for path in (root / "data/speech/mixtures/wav8k/min/tt/mix").iterdir())
    test_recipes = read_recipes(RECIPES / "mix_2_spk_tt.txt", 2)
    assert made == sorted(recipe.name for recipe in test_recipes)
    shutil.rmtree(corpus)
    done = run_stage(root, "mix_speech")
    assert done.returncode == 1
    assert done.stderr == (
        f"ERROR: {corpus.parent}/train-clean-100: there is no such folder; "
        "run `dvc repro -f fetch_speech` to download it\n"
    )


def test_a_subset_without_a_checksum_is_refused(prepare, librispeech, web):
    serve_librispeech(web, librispeech)
    web.files["12/md5sum.txt"] = Served(b"0123  other.tar.gz\n")
    prepare("librispeech_2mix", url=web.url("12"), mixtures=FEW)
    assert error_of_fetch() == (
        f"{web.url('12/md5sum.txt')}: has no checksum of train-clean-100.tar.gz; "
        "set speech.url to LibriSpeech's address or a mirror"
    )


def test_a_speaker_in_two_subsets_is_refused(prepare, librispeech, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(librispeech, copy)
    shutil.copytree(copy / "dev-clean" / "84", copy / "test-clean" / "84")
    prepare("librispeech_2mix", corpus=str(copy), mixtures=FEW)
    assert error_of_fetch() == (
        "speech.subsets: speaker 84 is in both valid and test; choose subsets of different speakers"
    )


def test_too_few_speakers_or_utterances_are_refused(prepare, librispeech):
    prepare("librispeech_2mix", corpus=str(librispeech), mixtures=FEW, speakers=3)
    assert error_of_fetch() == (
        "speech.speakers: found 3, expected at most 2, the number of people in a split"
    )
    prepare("librispeech_2mix", corpus=str(librispeech), mixtures={**FEW, "valid": 17})
    assert error_of_fetch() == (
        "speech.mixtures: there are too few utterances for 17 different mixtures in a split; "
        "set a lower number"
    )


def silent(path):
    soundfile.write(path, np.zeros(32000), 16000)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-2000])


def text(path):
    path.write_text("no audio")


@pytest.mark.parametrize(
    ("damage", "pattern"),
    [
        (silent, "is silent; replace it, or remove it from the corpus"),
        (
            cut_short,
            r"(cannot be read as audio \(.+\)|is cut short: it has \d+ samples and its header says "
            rf"\d+); {ANOTHER_COPY}",
        ),
        (text, rf"cannot be read as audio \(.+\); {ANOTHER_COPY}"),
    ],
)
def test_a_bad_utterance_of_librispeech_is_named(prepare, librispeech, tmp_path, damage, pattern):
    copy = tmp_path / "copy"
    shutil.copytree(librispeech, copy)
    for path in copy.rglob("dev-clean/*/*/*-0002.flac"):
        damage(path)
    prepare("librispeech_2mix", corpus=str(copy), mixtures={**FEW, "valid": 8})
    message = error_of_fetch()
    assert re.fullmatch(f"{copy}/dev-clean/.+-0002\\.flac: {pattern}", message)


@pytest.mark.parametrize("subset", SUBSETS.values())
def test_a_missing_subset_is_named(prepare, librispeech, tmp_path, subset):
    copy = tmp_path / "copy"
    shutil.copytree(librispeech, copy)
    shutil.rmtree(copy / subset)
    prepare("librispeech_2mix", corpus=str(copy), mixtures=FEW)
    assert error_of_fetch() == (
        f"speech.corpus: there is no {subset} in {copy}; "
        "set it to the folder that holds LibriSpeech's subsets"
    )


# --- ready-made mixtures --------------------------------------------------------------


def copy_mixtures(folder):
    """Copies real mixtures to `folder`/{mix,s1,s2}/<name>.wav."""
    source = TEST_DATA / "data/speech/mixtures/wav8k/min/tr"
    shutil.copytree(source, folder)


def list_study_mixtures(root, folder):
    """Makes the files of a folder the study's mixtures of a workspace."""
    lines = [
        f"{hashlib.sha256(content).hexdigest()}  {name}\n"
        for name, content in files(folder).items()
    ]
    (root / "conf/speech/svoice_debug.sha256").write_text("".join(lines))


def check_study_mixtures(folder):
    """The mixtures of a folder are in each split, and there are no recipes."""
    assert files(CORPUS) == {
        f"{split}/{name}": content
        for split in SPLITS.values()
        for name, content in files(folder).items()
    }
    assert RECIPES.is_dir()
    assert not list(RECIPES.iterdir())


def test_the_studys_mixtures_from_a_folder(prepare):
    root = prepare("svoice_debug", path="debug")
    copy_mixtures(root / "debug")
    list_study_mixtures(root, root / "debug")
    fetch()
    check_study_mixtures(root / "debug")


def test_the_studys_mixtures_from_the_web(prepare, web):
    root = prepare("svoice_debug", url=web.url("debug"))
    copy_mixtures(root / "debug")
    list_study_mixtures(root, root / "debug")
    for name, content in files(root / "debug").items():
        web.files[f"debug/{name}"] = Served(content)
    succeed(root, "fetch_speech")
    check_study_mixtures(root / "debug")
    assert not list((root / "scratch").rglob("*.wav"))


def test_the_study_has_eight_different_mixtures_of_known_checksums():
    lines = (ROOT / "conf/speech/svoice_debug.sha256").read_text().splitlines()
    assert [line[64:] for line in lines] == [
        f"  {part}/{name}" for part in ("mix", "s1", "s2") for name in standin.STUDY_MIXTURES
    ]
    assert len({line[:64] for line in lines}) == 24


def test_other_mixtures_than_the_studys_are_refused(prepare, web):
    root = prepare("svoice_debug", path="debug")
    copy_mixtures(root / "debug")
    list_study_mixtures(root, root / "debug")
    path = sorted((root / "debug/s2").iterdir())[0]
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    assert error_of_fetch() == wrong_checksum(path, sha256(content + b"x"), sha256(content))
    path.unlink()
    assert error_of_fetch() == (
        f"{path}: there is no such file; set speech.path to the folder that holds "
        "the study's mixtures and their sources"
    )
    prepare("svoice_debug", url=web.url("debug"))
    list_study_mixtures(root, root / "debug")
    first = next(iter(files(root / "debug")))
    assert error_of_fetch() == (
        f"{web.url(f'debug/{first}')}: cannot be fetched: HTTP 404 Not Found; "
        "check the address and the network"
    )


def test_the_users_own_mixtures_are_copied(prepare):
    root = prepare("folder", path="own")
    for split in SPLITS.values():
        copy_mixtures(root / "own" / split)
    expected = files(root / "own")
    (root / "own" / "tr" / "notes.txt").write_text("not a mixture")
    fetch()
    assert files(CORPUS) == expected
    assert RECIPES.is_dir()
    assert not list(RECIPES.iterdir())


def test_the_users_own_mixtures_need_every_split_and_source(prepare):
    root = prepare("folder", path="own")
    assert error_of_fetch() == (
        f"speech.path: there is no folder {root}/own; "
        "set it to the folder that holds tr/, cv/ and tt/"
    )
    for split in SPLITS.values():
        copy_mixtures(root / "own" / split)
    path = sorted((root / "own/tt/s2").iterdir())[0]
    path.unlink()
    assert error_of_fetch() == (
        f"{path}: there is no such file; every mixture needs all its sources"
    )
    shutil.rmtree(root / "own/cv/mix")
    assert error_of_fetch() == (f"{root}/own/cv/mix: has no WAV files; put the mixtures there")
    params = read_yaml(Path("configuration.yaml"))
    params["speech"]["path"] = None
    write_yaml(Path("configuration.yaml"), params)
    done = run_stage(root, "fetch_speech")
    assert done.returncode == 1
    assert done.stderr == (
        "ERROR: speech.path: is not set; set it to the folder that holds tr/, cv/ and tt/\n"
    )


def copy_mixtures_of(speakers, folder):
    """Copies mixtures to every split, with the sources of that many speakers."""
    for split in SPLITS.values():
        copy_mixtures(folder / split)
        for number in range(1, 13):
            source = folder / split / speaker(number)
            if number > speakers:
                shutil.rmtree(source, ignore_errors=True)
            elif not source.exists():
                shutil.copytree(folder / split / "s1", source)


@pytest.mark.parametrize(("count", "setting"), [(5, 2), (10, 2), (2, 3), (3, 5)])
def test_a_wrong_number_of_speakers_is_an_error_that_names_the_right_one(prepare, count, setting):
    root = prepare("folder", path="own", speakers=setting)
    copy_mixtures_of(count, root / "own")
    names = ", ".join(speaker(number) for number in range(1, count + 1))
    assert error_of_fetch() == (
        f"speech.speakers: is {setting}, and {root}/own/tr holds the sources of {count} ({names}); "
        f"set it with -S speech.speakers={count}"
    )
    prepare("folder", path="own", speakers=count)
    fetch()
    assert files(CORPUS) == files(root / "own")


def test_two_to_ten_speakers_need_consecutive_folders(prepare):
    root = prepare("folder", path="own")
    twelve = [speaker(number) for number in range(1, 13)]
    remedy = "it needs s1, s2, … for 2 to 10 speakers"
    for count, problem in (
        (1, "holds the source folders s1"),
        (0, "holds no source folders s1, s2, …"),
        (12, f"holds the source folders {', '.join(twelve)}"),
    ):
        shutil.rmtree(root / "own", ignore_errors=True)
        copy_mixtures_of(count, root / "own")
        assert error_of_fetch() == f"{root}/own/tr: {problem}; {remedy}"
    for split in SPLITS.values():
        shutil.rmtree(root / "own" / split / "s2")
    names = ", ".join(name for name in twelve if name != "s2")
    assert error_of_fetch() == f"{root}/own/tr: holds the source folders {names}; {remedy}"


def test_a_configured_path_starts_at_the_repository(tmp_path, monkeypatch):
    """In DVC's temporary workspaces, too."""
    experiment = tmp_path / ".dvc" / "tmp" / "exps" / "abc"
    experiment.mkdir(parents=True)
    workspace(experiment, "speech", "folder", path="own")
    for split in SPLITS.values():
        copy_mixtures(tmp_path / "own" / split)
    monkeypatch.chdir(experiment)
    fetch()
    assert files(experiment / CORPUS) == files(tmp_path / "own")
