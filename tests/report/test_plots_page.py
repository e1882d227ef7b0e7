"""The page that DVC fills with plots holds all that it needs."""

import re

from dvc_render.html import HTML

from report.plots_page import page


def test_the_page_has_what_dvc_fills_and_loads_nothing():
    html = page()
    for placeholder in (HTML.PLOTS_PLACEHOLDER, HTML.REFRESH_PLACEHOLDER):
        assert f"{{{placeholder}}}" in html
    outside = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r"(src|href)=", outside)
    assert html.count("</script>") == 1
    assert '<meta charset="utf-8">' in html


def test_dvc_fills_it():
    html = HTML(page())
    html.with_element("<p>a plot</p>")
    filled = html.embed()
    assert "<p>a plot</p>" in filled
    assert "{plot_divs}" not in filled
