"""Self-contained HTML pages: about the run of a workspace (`page`), and about several experiments
(`comparison`).

Each section of a page has its module; `markup`, `figure`, `series` and `spectrogram` hold what the
sections share. `page.html`, `page.css` and `page.js` are the fixed parts of every page.
"""
