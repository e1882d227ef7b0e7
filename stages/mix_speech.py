"""mix_speech: makes the mixtures by their recipes, on all cores, in WSJ0-mix's layout.

data/speech/mixtures/wav8k/min/{tr,cv,tt}/{mix,s1,s2,…}/<name>.wav, where other toolkits look for
them. Ready-made mixtures are only put into this place. An interrupted run resumes.
"""

from contract.layout import CORPUS, MIXTURES, RECIPES
from contract.params import load
from stages.datasets.mixing import make_mixtures
from stages.run import run


def main() -> None:
    """Makes the mixtures of the speech that configuration.yaml chooses."""
    make_mixtures(load().speech, CORPUS, RECIPES, MIXTURES)


if __name__ == "__main__":
    run(main)
