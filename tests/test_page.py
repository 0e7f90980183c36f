"""The page: every number on it is in report.json, it can be read by anyone, it needs nothing else, and a browser is content with it."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from analysis.page import FORMATS, lookup
from analysis.report import main
from tests.browser import CHROMIUM, open_page
from tests.planted import planted, raised
from tests.reporting import found_in, undocumented


class Reader(HTMLParser):
    """What a page says, with the tags that matter to those who do not see it."""

    def __init__(self) -> None:
        super().__init__()
        self.printed: list[tuple[str, str, str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: tuple[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if "data-key" in attributes:
            self._open = (str(attributes["data-key"]), str(attributes["data-form"]))
            self.printed.append((*self._open, ""))

    def handle_data(self, data: str) -> None:
        if self._open:
            self.printed[-1] = (*self._open, data)
            self._open = None


GRID = {"acquisitions": ("random", "softmax_entropy", "entropy", "bald"), "rates": (0.1, 0.5), "passes": (5, 10, 20)}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a planted grid of two rates and three T, whose name wants to be a script."""
    folder = tmp_path_factory.mktemp("grid")
    path = folder / "<script>alert('grid')<!--.parquet"
    planted(raised("entropy", by=0.01), **GRID).to_parquet(path)  # type: ignore[arg-type]
    assert main([str(path), "--out", str(folder / "out")]) == 0
    return folder / "out"


class TestThePage:
    def test_every_printed_number_is_in_the_json(self, grid: Path) -> None:
        reader, report = Reader(), found_in(grid)
        reader.feed((grid / "report.html").read_text())
        assert len(reader.printed) > 500
        for key, form, text in reader.printed:
            assert text == FORMATS[form](lookup(report, key)), key

    def test_a_sample_by_hand(self, grid: Path) -> None:
        """Formats recomputed here: points are hundredths with two digits and a true minus sign."""
        reader, report = Reader(), found_in(grid)
        reader.feed((grid / "report.html").read_text())
        printed = {key: text for key, _, text in reader.printed}
        row = report["q2"]["contrasts"][0]
        assert printed["q2.contrasts.0.estimate"] == f"{row['estimate'] * 100:+.2f}"
        assert printed["q2.contrasts.0.ci_low"] == f"{row['ci_low'] * 100:+.2f}"
        assert printed["q2.contrasts.0.p_value"] == "0.00195"
        assert row["p_value"] == 2 / 1024
        bottom = report["q1"]["ladder"][-1]
        assert printed[f"q1.ladder.{len(report['q1']['ladder']) - 1}.estimate"] == f"\N{MINUS SIGN}{abs(bottom['estimate']) * 100:.2f}"
        assert printed["q1.ladder.0.budget"] == "1,600"

    def test_what_came_from_a_file_is_escaped(self, grid: Path) -> None:
        page = (grid / "report.html").read_text()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(&#39;grid&#39;)&lt;!--" in page

    def test_those_who_do_not_see_it(self, grid: Path) -> None:
        reader = Reader()
        reader.feed((grid / "report.html").read_text())
        levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert levels.count(2) == 9
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert all(len(attributes["alt"] or "") > 40 for tag, attributes in reader.tags if tag == "img")
        assert all("scope" in attributes for tag, attributes in reader.tags if tag == "th")
        assert ("html", {"lang": "en"}) in reader.tags
        assert sum(tag == "main" for tag, _ in reader.tags) == 1
        identifiers = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
        assert len(identifiers) == len(set(identifiers))

    def test_it_needs_nothing_else_and_is_light(self, grid: Path) -> None:
        page = (grid / "report.html").read_text()
        reader = Reader()
        reader.feed(page)
        sources = [value for _, attributes in reader.tags for name, value in attributes.items() if name in ("src", "href")]
        assert all(str(source).startswith(("data:", "#")) for source in sources)
        assert "http" not in re.sub(r"http-equiv|base64,[^\"]*", "", page)
        assert len(page) < 1_500_000

    def test_the_same_results_give_the_same_bytes(self, grid: Path, tmp_path: Path) -> None:
        planted(raised("entropy", by=0.01), **GRID).to_parquet(tmp_path / "<script>alert('grid')<!--.parquet")  # type: ignore[arg-type]
        assert main([str(tmp_path / "<script>alert('grid')<!--.parquet"), "--out", str(tmp_path / "out")]) == 0
        for name in ("figures/q1_curves.svg", "figures/trends.pdf", "tables/cells.csv", "tables/cells.tex"):
            assert (tmp_path / "out" / name).read_bytes() == (grid / name).read_bytes()

    @pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium to open the page in")
    @pytest.mark.parametrize("width", [390, 1200])
    def test_in_a_browser(self, grid: Path, tmp_path: Path, width: int) -> None:
        """No error, no request, every figure there, nothing wider than the window, and the filter of the cells works."""
        seen = open_page(grid / "report.html", tmp_path, width)
        assert seen.console == []
        assert seen.facts["requests"] == []
        assert seen.facts["width"] == width
        assert seen.facts["scrollWidth"] <= width
        assert len(seen.facts["figures"]) == 7
        assert all(figure["natural"] > 300 and figure["width"] > 300 for figure in seen.facts["figures"])
        assert seen.facts["kept"] == 4  # bald at T = 20: two rates, against twin and random

    def test_latex_is_what_latex_reads(self, grid: Path) -> None:
        text = (grid / "tables" / "effects.tex").read_text()
        assert text.startswith("\\begin{tabular}{l")
        assert r"entropy - softmax\_entropy & 10 & " in text
        assert all(line.count("&") == text.splitlines()[2].count("&") for line in text.splitlines() if line.endswith(r"\\"))
        assert "_" not in text.replace(r"\_", "")

    def test_every_name_in_the_json_is_documented(self, grid: Path) -> None:
        assert undocumented(grid) == set()
