"""Self-contained HTML pages: about the run of a workspace (`page`), about several experiments
(`comparison`).

One module makes each of the sections; `markup`, `figure`, `series` and `spectrogram` make what they
share. `page.html`, `page.css` and `page.js` are the fixed parts.
"""
