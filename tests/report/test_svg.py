from xml.etree import ElementTree

import pytest

from locust_adaptive.report.result import result
from locust_adaptive.report.svg import COLOURS, svg
from tests.journals.record import live_fold

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def outcome(search):
    return result(live_fold(*search))


def test_it_is_xml_with_every_probe(outcome):
    root = ElementTree.fromstring(svg(outcome))
    said = {group.findtext(f"{SVG}title") for group in root.iter(f"{SVG}g")}
    assert {int(text.split(":")[0].split()[1]) for text in said} == {t["number"] for t in outcome["trials"]}
    assert root.findtext(f"{SVG}title") == next(root.iter(f"{SVG}text")).text


def test_everything_lies_on_the_page(outcome):
    root = ElementTree.fromstring(svg(outcome))
    width, height = float(root.get("width")), float(root.get("height"))
    for line in root.iter(f"{SVG}line"):
        assert all(0 <= float(line.get(f"x{end}")) <= width for end in (1, 2))
        assert all(0 <= float(line.get(f"y{end}")) <= height for end in (1, 2))


def test_a_second_panel_shows_what_is_close_to_the_answer(outcome):
    text = svg(outcome)
    assert ("close to the answer" in text) == (outcome["capacity"]["value"] is not None)
    assert all(colour in text for colour in COLOURS.values())


def test_words_of_others_cannot_break_it(outcome):
    assert "&lt;1%" in svg({**outcome, "slo": "errors<1%"})


def test_a_search_without_probes_has_a_page(outcome):
    bare = {**outcome, "trials": [], "stalls": [], "capacity": {**outcome["capacity"], "value": None}}
    root = ElementTree.fromstring(svg(bare))
    assert "not known" in root.findtext(f"{SVG}title")
