from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import cv2
import numpy as np

from tcae.evaluation.estimates import Estimate
from tcae.report.charts import histogram, line_chart, standalone
from tcae.report.html import RunReport, in_plain_words, render_report

RED = np.full((8, 8, 3), (255, 0, 0), np.uint8)
UNIT = {"unit": "AU12", "prevalence": 0.25, "f1": 0.5, "f1_low": 0.4, "f1_high": 0.6}
UNIT |= {"auc": 0.75, "auc_low": 0.7, "auc_high": float("nan")}


class Texts(HTMLParser):
    """The cells of all tables, row by row, and whether every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "img", "path", "polyline", "circle"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.rows[-1][-1] += data


def test_the_page_shows_what_was_measured_and_needs_nothing_else() -> None:
    measures = {"recon_ratio": Estimate(0.4, 0.3, 0.5), "au_flow_epe_gain": Estimate(-0.125)}
    page = render_report(
        RunReport(
            "run <1>", "about", measures, {"images_per_second": 1234.5},
            pairs=[{"source": RED}], pairs_of="Pairs of <others>", lengths={"AU flow": [0.1, 0.2]},
            units=[UNIT], curves={"loss": {"loss": [(1, 2.0), (2, 1.0)]}}, config="a: <b>",
        )
    )  # fmt: skip
    found = Texts(page)
    assert found.open == []
    rows = {row[0]: row[1:] for row in found.rows if row}
    assert rows["reconstruction L1 / unmoved source L1"] == [
        "0.400", "0.300 to 0.500", "≤ .50", "✓ reached",
    ]  # fmt: skip
    title = "AU flow: end-point error below the zero flow's, in the face"
    assert rows[title] == ["-12%", "–", "≥ 30 %", "✗ missed"]
    assert rows["AU12 lip corner puller"][:-1] == ["0.250", "0.500", "0.400 to 0.600", "0.750", "–"]
    assert "images per second</span><span>1,234.5<" in page
    assert '<p class="verdict">1 of 2 goals is reached.</p>' in page
    assert "<h2>Pairs of &lt;others&gt;</h2>" in page
    assert "<h1>run &lt;1&gt;</h1>" in page and "a: &lt;b&gt;" in page
    assert not re.search(r"https?:|<script|<link|@import|url[(]", page)
    encoded, _ = re.findall(r"base64,([^\"]+)", page)  # the other one is the key to flows
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), 1)
    np.testing.assert_array_equal(picture[..., ::-1], RED)


def test_what_is_not_there_has_no_heading() -> None:
    page = render_report(RunReport("run", "", {}, {"steps": 3}))
    assert re.findall("<h2>(.*?)</h2>", page) == ["The run in numbers"]


def test_pictures_of_a_pair_stand_in_groups() -> None:
    names = ["source", "AU changed", "truth: AU changed", "pose flow", "AU mask"]
    page = render_report(RunReport("run", "", {}, pairs=[dict.fromkeys(names, RED)]))
    groups = re.split("<h3>", page)[1:]
    assert [group.partition("<")[0] for group in groups] == ["the pair", "AU", "pose"]
    captions = [re.findall("<figcaption>(.*?)<", group) for group in groups]
    assert captions == [["source", "key to flows"], ["changed", "truth: changed", "mask"], ["flow"]]


def test_only_what_is_shown_is_explained() -> None:
    pages = [
        render_report(RunReport("run", "", {}, pairs=[dict.fromkeys(names, RED)]))
        for names in (["source", "AU flow"], ["truth: AU flow"], ["pose mask"])
    ]
    assert ["Colours of flows" in page for page in pages] == [True, True, True]
    assert ["and its truth" in page for page in pages] == [False, True, False]
    assert ["White in a mask" in page for page in pages] == [False, False, True]


def test_pairs_after_the_fourth_are_folded() -> None:
    page = render_report(RunReport("run", "", {}, pairs=[{"source": RED}] * 6))
    shown, folded = page.split("<summary>2 more</summary>")
    assert shown.count('class="pair"') == 4 and folded.count('class="pair"') == 2


def test_a_unit_has_its_auc_as_a_bar() -> None:
    page = render_report(RunReport("run", "", {}, units=[UNIT | {"auc_high": 0.85}]))
    assert '<i style="left:40.0%;width:30.0%"></i><b style="left:50.0%"></b>' in page


def test_keys_of_files_become_words() -> None:
    assert in_plain_words("au_image_gain_exact") == "AU image gain exact"
    assert in_plain_words("au_f1_low") == "AU F1 (lower bound)"
    assert in_plain_words("emb_pose_phi") == "AU embedding of the pose-changed face, distance"
    assert in_plain_words("best_val_loss") == "best validation loss"


def test_a_line_goes_through_its_points() -> None:
    chart = line_chart("t", {"a": [(0, 0.0), (5, 1.0), (10, 2.0), (11, float("nan"))]})
    [points] = re.findall('points="(.*?)"', chart)
    places = np.array([point.split(",") for point in points.split()], float)
    assert len(places) == 3
    np.testing.assert_allclose(places[1], (places[0] + places[2]) / 2, atol=0.1)
    assert places[2, 1] < places[0, 1]  # larger is higher
    assert line_chart("t", {"a": []}) == ""


def test_a_single_point_is_a_dot() -> None:
    chart = line_chart("t", {"a": [(60, 1.0)]})
    assert '<circle cx="52.0" cy="44.0"' in chart and chart.count(">60</text>") == 1


def test_axes_are_marked_with_what_logarithms_are_of_and_begin_where_told() -> None:
    chart = line_chart("t", {"a": [(0, 0.6), (2, 0.8)]}, bottom=0.5, log=True)
    assert re.findall("<text[^>]*>([^<]*)</text>", chart)[1:-1] == [
        *("0.5", "1", "0.65", "10", "0.8", "100")
    ]
    lower = line_chart("t", {"a": [(0, 0.4), (2, 0.8)]}, bottom=0.5)
    assert ">0.4</text>" in lower and ">0.5</text>" not in lower


def test_a_histogram_has_all_pairs() -> None:
    chart = histogram("t", {"a": [0.01] * 3 + [0.1], "b": [0.1]}, bins=2)
    first, second = re.findall('path d="(M.*?V.*?)"', chart)
    heights = [float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)H", first)]
    floor, top = 190, 44
    shares = [(floor - height) / (floor - top) for height in heights]
    np.testing.assert_allclose(shares, [0.75, 0.25], atol=1e-3)
    assert f"{top}.0H" in second
    assert histogram("t", {}) == ""


def test_a_chart_on_its_own_is_well_formed_xml_with_its_namespace():
    chart = line_chart("a & b", {"x": [(0.0, 1.0), (1.0, 2.0)]})
    root = ElementTree.fromstring(standalone(chart))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "background" in root.attrib["style"] and root.attrib["viewBox"]
    assert "".join(root.itertext()).count("a & b") == 1
