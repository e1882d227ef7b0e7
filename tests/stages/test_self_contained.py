"""No file of the project refers to anything outside it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Where systems keep things, and people their files.
PLACES = (
    "bin|boot|build|dev|etc|home|lib|lib64|media|mnt|opt|private|proc|root|run|sbin|srv|sys|tmp|"
    "usr|var|volumes?|work|workspace|Users|Volumes"
)
# A path from the root: not the end of another, of an address, of a tag, or of `{folder}/…`.
ABSOLUTE = re.compile(
    r"(?<![\w.~<>})\]$*/-])/(?:%s)(?:/[\w.*-]*)*(?![\w-])|[A-Z]:\\\\?Users" % PLACES  # noqa: UP031
)
# What every Linux has, what the images are made with, what podman reads, where TensorFlow looks for
# CUDA, and a Debian package's own folder.
KNOWN = re.compile(
    r"/dev(/(null|full|zero)?)?|/proc(/.*)?|/sys(/class/net)?|/tmp(/x/?)?|/bin/(ba)?sh"
    r"|/usr(/bin/env|/sbin|/local/cuda(-11\.8)?)?|/sbin"
    r"|/etc(/(resolv\.conf|hostname|hosts|passwd|subuid|cdi/nvidia\.yaml))?|/opt(/trainer(/bin|/cuda(/lib|/bin)?)?)?"
    r"|/run/(cdi|\.containerenv)|/var/lib/apt/lists/\*"
    r"|/var/run/docker\.sock|/usr/share/asterisk/sounds(/en_US_f_Allison/)?"
)
UPWARDS = re.compile(r"(?<![\w.…])\.\.(?=/)(?:/[\w.-]+)*")
# Names that tests hand over, each of which stays in the test's own folder or is refused; and the
# link that a page in results/ or reports/ has to a page beside these folders.
HANDED_OVER = {
    ".dvc/config": {"../.venv/pipeline/share/plots.html"},  # DVC begins in .dvc
    "report/against.py": {"../docs/study.md"},
    "docs/results/README.md": {"../studies.md", "../study.md"},
    "tests/stages/runtime/test_containers.py": {"../../elsewhere/step"},
    "tests/stages/test_fetch_music.py": {
        *("../outside.wav", "../../outside.wav", "../songs", "../songs.zip", "../7s", "../7s.zip"),
    },
    "tests/studies/test_definition.py": {"../songs"},
    "tests/stages/fetching/test_unpack.py": {"../x", "../../x"},
    "tests/stages/datasets/test_wsj0mix.py": {"../a.wav"},
}
OWN_PARENTS = re.compile(r"__file__\)(?:\.resolve\(\))?\.parents\[(\d+)\]")
ABOVE = re.compile(r"\b(?:ROOT|REPOSITORY)\.parent\b|\bpardir\b|\bshared/(?:data|DESIGN)\b")


def files():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in listed.stdout.split("\0") if name and os.path.lexists(ROOT / name)]
    assert len(names) > 200
    return names


def outside(name: str, text: str) -> list[str]:
    """What the text of the file `name` refers to outside of the project."""
    found = [part for part in ABSOLUTE.findall(text) if not KNOWN.fullmatch(part)]
    found += [part for part in UPWARDS.findall(text) if part not in HANDED_OVER.get(name, ())]
    levels = len(Path(name).parts) - 1
    found += [m.group() for m in OWN_PARENTS.finditer(text) if int(m.group(1)) > levels]
    return found + ABOVE.findall(text)


def test_no_file_refers_to_anything_outside():
    found = {}
    for name in files():
        path = ROOT / name
        if path.is_symlink():
            target = os.readlink(path)
            if not path.resolve().is_relative_to(ROOT):
                found[name] = [target]
        elif name != str(Path(__file__).relative_to(ROOT)):
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
            if parts := outside(name, text):
                found[name] = parts
    assert found == {}


DEPTH = 2  # of the folder of tests/stages/test_any.py, from the project's


@pytest.mark.parametrize(
    "text",
    [
        'DATA = ROOT.parent / "data"',
        f"DATA = Path(__file__).resolve().parents[{DEPTH + 1}]",
        "open('/home/me/data.csv')",
        "path: /srv/data",
        'PATH="/Users/me/bin"',
        "see ../notes/plan.md",
        "cp ../../data .",
        'open("shared/data/list.csv")',
        "C:\\Users\\me",
        "/etc/shadow",
        "cache: /mnt/disk/cache",
    ],
)
def test_such_a_reference_is_found(text):
    assert outside("tests/stages/test_any.py", text)


@pytest.mark.parametrize(
    "text",
    [
        f"ROOT = Path(__file__).resolve().parents[{DEPTH}]",
        "https://zenodo.org/record/srv/data",
        "f'{root}/home/x'",
        "printf >/dev/null",
        "#!/usr/bin/env bash",
        "</var><p>",
        "mixtures{tr,cv,tt}/mix, s1/, s2/",
        "a shared folder; shared_memory",
    ],
)
def test_what_stays_inside_is_let_through(text):
    assert outside("tests/stages/test_any.py", text) == []
