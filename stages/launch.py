"""launch: runs a trainer in its own environment.

`python -m stages.launch spleeter train` runs `python -m spleeter_mod.train` there, in the same
working directory, and ends with its exit code.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from stages.environments import PACKAGES, interpreter
from stages.lock import lock
from stages.params import PATH as PARAMS
from stages.params import load
from stages.run import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=PACKAGES)
    parser.add_argument("verb", choices=("train", "estimate"))
    arguments = parser.parse_args()
    load()
    python = interpreter(arguments.model)
    module = f"{PACKAGES[arguments.model]}.{arguments.verb}"
    command = [python, "-m", module, "--params", PARAMS]
    if arguments.verb == "estimate":
        sys.exit(_run(command, module))
    with _scratch(arguments.model) as folder:
        sys.exit(_run([*command, "--scratch", folder], module))


def _run(command: list, module: str) -> int:
    """Runs a command to its end; SIGTERM is passed on. Returns the exit code."""
    with subprocess.Popen(command) as process:
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the terminal sent it to the trainer as well
            process.wait()
            raise
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        print(f"ERROR: {module}: killed by {name}{hint}", file=sys.stderr)
        return 128 - code
    return code


@contextmanager
def _scratch(model: str) -> Iterator[Path]:
    """The folder for this run's unfinished training, held by one launcher at a time."""
    folder = scratch_root() / model / fingerprint(f"train_{model}")
    with lock(folder.with_suffix(".lock"), f"the same training of {model}"):
        folder.mkdir(exist_ok=True)
        yield folder


def scratch_root() -> Path:
    """The scratch folder of the repository; DVC's temporary workspaces share it."""
    here = Path.cwd()
    for parent in here.parents:
        if parent.parts[-3:] == (".dvc", "tmp", "exps"):
            return parent.parents[2] / "scratch"
    return here / "scratch"


def fingerprint(stage: str) -> str:
    """A hash of all that determines a run: the stage's parameters and dependencies (data, lists,
    code, environment), as dvc.yaml names them."""
    definition = yaml.safe_load(Path("dvc.yaml").read_text())["stages"][stage]
    params = yaml.safe_load(PARAMS.read_text())
    locked = _locked_outputs()
    values = {key: _value(params, key) for key in definition["params"]}
    content = {path: locked.get(path) or _content(Path(path)) for path in definition["deps"]}
    return hashlib.sha256(json.dumps([values, content], sort_keys=True).encode()).hexdigest()[:16]


def _value(params: dict, key: str):
    for part in key.split("."):
        params = params[part]
    return params


def _locked_outputs() -> dict[str, str]:
    """Path → md5 of what other stages wrote: DVC has hashed the large folders already."""
    lock = Path("dvc.lock")
    stages = yaml.safe_load(lock.read_text())["stages"].values() if lock.is_file() else []
    return {out["path"]: out["md5"] for stage in stages for out in stage.get("outs", [])}


def _content(path: Path) -> str:
    digest = hashlib.md5()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(path)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    run(main)
