"""Write the page that `dvc plots` fills: `python -m report.plots_page FILE`.

DVC's own page loads Vega from the internet. This one holds it, so that it also works without
network. Set-up writes it, and .dvc/config names it.
"""

from __future__ import annotations

from pathlib import Path

import vl_convert
from packaging.version import Version

from contract.arguments import Parser
from contract.errors import one_line
from contract.files import write

TEMPLATE = Path(__file__).with_name("plots_page.html")


def page() -> str:
    """Returns the page, with the placeholders that DVC fills."""
    # The version of Vega-Lite that DVC's templates are written in is the fifth.
    versions = [Version(text) for text in vl_convert.get_vegalite_versions()]
    version = str(max(version for version in versions if version.major == 5))
    script = vl_convert.javascript_bundle(vl_version=version)
    return TEMPLATE.read_text(encoding="utf-8").replace(
        "{vega}", script.replace("</script", "<\\/script")
    )


@one_line
def main() -> None:
    """Writes the page."""
    parser = Parser(__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="the file to write")
    write(parser.parse_args().file, page())


if __name__ == "__main__":
    main()
