"""Scores of separated audio.

`python -m separation_scores` is the command `separation-scores`.
"""

from .command import main

if __name__ == "__main__":
    main()
