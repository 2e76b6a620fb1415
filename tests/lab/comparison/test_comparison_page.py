import base64
import html.parser
import re

import pytest

from keras_convinit.lab.comparison.page import comparison_page
from keras_convinit.lab.comparison.ranking import ranked

pytestmark = pytest.mark.once

WITHOUT_END = {"meta", "img", "br"}


class Checked(html.parser.HTMLParser):
    """Fails where an element is not closed, and keeps what is in the page."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.found = []
        self.text = []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)


@pytest.fixture
def page(make_plan, make_run):
    plan = make_plan(
        schemes=("auto", "fixup", "zeros"), learning_rates=(0.1, 0.01), seeds=1
    )
    runs = [
        make_run("auto", accuracy=0.5, report="<kernel> & gain"),
        make_run("auto", 0.01, accuracy=0.25),
        make_run("fixup", refusal="no <branches>"),
        make_run("fixup", 0.01, refusal="no <branches>"),
    ]
    return comparison_page(
        plan,
        ranked(plan, runs),
        runs,
        figure=b"\x89PNG picture",
        threshold=0.25,
        command="compare --model '<own>'",
        settings={**plan.settings(), "versions": {"keras": "3.12"}},
    )


def test_it_is_well_formed(page):
    checked = Checked()
    checked.feed(page)
    checked.close()
    assert not checked.open
    assert page.startswith("<!DOCTYPE html>\n<html lang=")
    assert [tag for tag, _ in checked.found].count("details") == 2


def test_it_refers_to_nothing_outside(page):
    checked = Checked()
    checked.feed(page)
    for tag, attributes in checked.found:
        assert tag not in {"script", "link", "iframe"}
        assert "href" not in attributes
        source = attributes.get("src", "data:")
        assert source.startswith("data:")
    assert not re.search(r"https?:|url\(|@import", page)


def test_the_figure_is_inside(page):
    (encoded,) = re.findall(r"data:image/png;base64,([^\"]*)", page)
    assert base64.b64decode(encoded) == b"\x89PNG picture"


def test_what_it_tells(page):
    checked = Checked()
    checked.feed(page)
    text = " ".join(" ".join(checked.text).split())
    assert "4 of 6 runs on digits, 1 epoch each. The best: auto" in text
    assert "1 auto 0.1 50.0 (50.0 to 50.0) never 0 of 1" in text
    assert "auto 0.01 25.0 (25.0 to 25.0)" in text
    assert "fixup refused the model: no <branches>" in text
    assert "zeros 0.1 no run yet" in text
    assert "<kernel> & gain" in text
    assert "compare --model '<own>'" in text
    assert "was at 25 %" in text
    assert "batch size 8" in text
    assert "keras 3.12" in text


def test_light_and_dark(page):
    assert "color-scheme: light dark" in page
    assert "prefers-color-scheme: dark" in page
