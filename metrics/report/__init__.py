"""One self-contained HTML page about the runs of a workspace.

`page` puts the page together, one module makes each of its sections, `markup` and `figure` make
what the sections share. `page.html`, `page.css` and `page.js` are the fixed parts.
"""

from metrics.report.page import build

__all__ = ["build"]
