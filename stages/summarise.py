"""summarise: what DVC's tables and plots show of a training and its scores.

`python -m stages.summarise spleeter` writes the headline numbers, and curves of few points. That is
not a part of the training or of the scoring, so that neither is repeated because of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contract import files
from contract.arguments import Parser
from contract.layout import CURVES, DETAILS, HEADLINES, STEPS, TRAIN
from contract.menu import SPLEETER, SVOICE
from contract.models import MODELS
from contract.records import STEP_COLUMNS
from metrics.headlines import Headlines, headline_music, headline_speech
from metrics.tables import read_json, read_results
from report.series import thinned
from stages.run import run

MOST_POINTS = 800  # of a curve in the page of `dvc plots`, which holds every point
CURVE_COLUMNS = ("loss", "learning_rate", "gradient_norm")  # what dvc.yaml plots of the steps
HEADLINES_OF: dict[str, Callable[[Any, Any], Headlines]] = {
    SPLEETER: headline_music,
    SVOICE: headline_speech,
}


def main() -> None:
    """Summarises the run of the model that the command line names."""
    parser = Parser(__doc__)
    parser.add_argument("model", choices=MODELS)
    model = MODELS[parser.parse_args().model]
    steps = read_results(model.results / STEPS, STEP_COLUMNS)
    headlines = HEADLINES_OF[model.key](
        read_json(model.results / DETAILS), read_json(model.results / TRAIN)
    )
    files.write_together(
        {
            model.results / CURVES: thinned(steps, CURVE_COLUMNS, MOST_POINTS).to_csv(index=False),
            model.results / HEADLINES: files.json_text(headlines),
        }
    )


if __name__ == "__main__":
    run(main, own_arguments=True)
