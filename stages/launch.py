"""launch: runs a trainer in its own environment, or in its own container.

`python -m stages.launch spleeter train` runs `python -m spleeter_mod.train` there, in the same
working directory, and ends with its exit code.
"""

import sys

from contract.arguments import Parser
from contract.layout import CONFIGURATION
from contract.models import MODELS
from contract.params import load
from stages.run import run
from stages.runtime.fingerprint import unfinished_training
from stages.runtime.launcher import run_python


def main() -> None:
    """Launches the trainer that the command line names and exits with its exit code."""
    parser = Parser(__doc__)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("verb", choices=("train", "estimate"))
    options = parser.parse_args()
    runtime = load().runtime
    module = f"{MODELS[options.model].package}.{options.verb}"
    arguments = ["-m", module, "--params", str(CONFIGURATION)]
    if options.verb == "estimate":
        sys.exit(run_python(options.model, arguments, module, runtime))
    with unfinished_training(options.model) as folder:
        arguments += ["--scratch", str(folder)]
        # Trainings keep in the folder's parent what they share, such as cached spectrograms.
        shared = folder.parent
        code = run_python(options.model, arguments, module, runtime, writable=shared)
    sys.exit(code)


if __name__ == "__main__":
    run(main, own_arguments=True)
