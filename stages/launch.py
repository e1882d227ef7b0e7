"""launch: runs a trainer in its own environment, or in its own container.

`python -m stages.launch spleeter train` runs `python -m spleeter_mod.train` there, in the same
working directory, and ends with its exit code.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metrics.arguments import Parser
from metrics.yaml_files import read_yaml
from stages import containers, engine, gpus, images
from stages.environments import PACKAGES, interpreter
from stages.lock import lock
from stages.params import PATH as PARAMS
from stages.params import DockerRuntime, LocalRuntime, load
from stages.run import run
from stages.scratch import scratch_root


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("model", choices=PACKAGES)
    parser.add_argument("verb", choices=("train", "estimate"))
    arguments = parser.parse_args()
    runtime = load().runtime
    module = f"{PACKAGES[arguments.model]}.{arguments.verb}"
    command = ["-m", module, "--params", str(PARAMS)]
    if arguments.verb == "estimate":
        sys.exit(_run(arguments.model, module, command, runtime))
    with _scratch(arguments.model) as folder:
        command += ["--scratch", str(folder)]
        # Beside it, runs share what can be shared.
        sys.exit(_run(arguments.model, module, command, runtime, writable=folder.parent))


def _run(
    model: str,
    module: str,
    command: list[str],
    runtime: LocalRuntime | DockerRuntime,
    writable: Path | None = None,
) -> int:
    """Runs Python with `command` where the runtime says. Returns the exit code."""
    if runtime.name == "local":
        python = interpreter(model)
        with gpus.taken(runtime.gpus) as mine:
            return _beside([python, *command], module, runtime, mine)
    with engine.connected() as client:
        images.image(client, model, runtime)  # no GPU waits for its building
        with gpus.taken(runtime.gpus) as mine:
            # Others may have removed it while this run waited for its turn.
            image = images.image(client, model, runtime)
            command = ["python", *command]
            return containers.run(client, image, command, module, runtime, mine, writable)


def _beside(command: list, module: str, runtime: LocalRuntime, mine: list[str]) -> int:
    """Runs a command to its end; SIGTERM is passed on."""
    environment = dict(os.environ)
    if mine or runtime.gpus == "none":
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
    # close_fds: the trainer holds the locks of its GPUs and of its scratch folder as well.
    with subprocess.Popen(command, env=environment, close_fds=False) as process:
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


def fingerprint(stage: str) -> str:
    """A hash of all that determines a run: the stage's parameters and dependencies (data, lists,
    code, environment), as dvc.yaml names them."""
    definition = read_yaml(Path("dvc.yaml"))["stages"][stage]
    params = read_yaml(PARAMS)
    locked = _locked_folders()
    values = {key: _value(params, key) for key in definition["params"]}
    content = {path: locked.get(path) or _content(Path(path)) for path in definition["deps"]}
    return hashlib.sha256(json.dumps([values, content], sort_keys=True).encode()).hexdigest()[:16]


def _value(params: dict, key: str):
    for part in key.split("."):
        params = params[part]
    return params


def _locked_folders() -> dict[str, str]:
    """Path → md5 of the folders that other stages wrote: DVC has hashed these, which may be large,
    already."""
    lock = Path("dvc.lock")
    stages = read_yaml(lock)["stages"].values() if lock.is_file() else []
    outputs = [out for stage in stages for out in stage.get("outs", [])]
    return {out["path"]: out["md5"] for out in outputs if Path(out["path"]).is_dir()}


def _content(path: Path) -> str:
    digest = hashlib.md5()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(path)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    run(main, own_arguments=True)
