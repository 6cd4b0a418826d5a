"""The forms of a result: JSON in a published schema, Markdown, CSV, and a page that needs nothing else."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_type_hints

import attrs
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelplug.benchmark import records
from modelplug.benchmark.earlier import EarlierFigure, earlier_figures
from modelplug.benchmark.records import ModelFacts
from modelplug.benchmark.reports import FORMATS, save_report
from modelplug.benchmark.reports.plots import Bar, bars, ticks
from modelplug.benchmark.reports.wording import estimate_error, value_text
from modelplug.benchmark.serialize import SCHEMA_FILE, report_from_dict
from modelplug.errors import UsageError
from modelplug.runtime import Runtime

HOSTILE = '<script>alert(1)</script>|`*_"&\n=cmd'


@pytest.fixture
def rich(reports: Any, steady: Any) -> Any:
    """A report with two candidates, one of which failed, and everything a candidate can have."""
    figures = {"load": steady(0.5), "generate-32": steady(50.0), "generate-128": steady(45.0)}
    figures |= {"first-token-128": steady(0.2), "memory": steady(2e9), "my-workload": steady(9.0)}
    good = reports.candidate(
        figures,
        requested={"threads": 2},
        notes=("threads=4 was asked for; 2 is in force.",),
        skipped={"prompt-512": "it needs 513 tokens of context, and there are 512"},
        estimate={"tokens_per_second": 90.0, "low": 1.0, "high": 99.0, "basis": "predicted", "detail": ""},
        rounds=(reports.round(), reports.round(1, peak_device_bytes=1, gpu_utilization=3.0)),
        requests=(reports.request("generate-32"), reports.request("generate-32", joules=1.0)),
    )
    bad = reports.candidate(
        {},
        label="demo on other",
        backend="other",
        status="failed",
        error={"error": "WorkerCrashedError", "what": "other died", "why": "SIGSEGV", "advice": "try again"},
    )
    return reports.report(good, bad)


# JSON -----------------------------------------------------------------------------------------------------


def test_a_result_follows_the_published_schema(rich: Any) -> None:
    """What is written is valid by the schema that comes with the package."""
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)

    jsonschema.Draft202012Validator(schema).validate(json.loads(json.dumps(rich.to_dict())))


def test_the_schema_names_every_field() -> None:
    """Schema and records have the same fields, so that neither falls behind the other."""
    schema = json.loads(SCHEMA_FILE.read_text("utf-8"))
    names = {field.name for field in attrs.fields(records.BenchmarkReport)}

    assert set(schema["properties"]) == {"schema", "version", *names}
    for name, definition in schema["$defs"].items():
        fields = {field.name for field in attrs.fields(getattr(records, name))}
        assert set(definition["properties"]) == set(definition["required"]) == fields
        assert all(entry.get("description") for entry in definition["properties"].values())
        assert get_type_hints(getattr(records, name))


def test_a_result_is_read_back_whole(rich: Any) -> None:
    """Reading what was written gives the same report."""
    assert report_from_dict(json.loads(json.dumps(rich.to_dict()))) == rich


NUMBERS = st.floats(1e-9, 1e12) | st.just(0.0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rounds=st.lists(st.lists(NUMBERS, min_size=1, max_size=4), min_size=1, max_size=5),
    name=st.text(max_size=20),
)
def test_any_figures_survive_writing_and_reading(reports: Any, rounds: list[list[float]], name: str) -> None:
    """Every sample comes back as it was, to the last digit, and every form can be made of it."""
    from modelplug.benchmark.reports.csv_table import as_csv
    from modelplug.benchmark.reports.markdown import as_markdown
    from modelplug.benchmark.reports.page import as_html

    model = ModelFacts(name=name, path=name)
    report = reports.report(reports.candidate({"generate-128": rounds}, label=name, model=model))

    assert report_from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert as_markdown(report)
    assert as_html(report)
    rows = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert [float(row["value"]) for row in rows] == [value for samples in rounds for value in samples]


# Files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", FORMATS)
def test_every_form_is_written_by_its_ending(rich: Any, tmp_path: Path, ending: str) -> None:
    """The file's ending decides, whatever its case."""
    path = tmp_path / f"result{ending.upper()}"
    save_report(rich, path)

    assert path.stat().st_size > 500


def test_other_endings_are_refused(rich: Any, tmp_path: Path) -> None:
    """A file with another ending is not written, and the error names the known ones."""
    with pytest.raises(UsageError, match=r"result\.pdf") as caught:
        save_report(rich, tmp_path / "result.pdf")
    assert ".html" in caught.value.advice
    assert list(tmp_path.iterdir()) == []


def test_csv_has_a_line_for_every_sample(rich: Any, tmp_path: Path) -> None:
    """Each sample stands with its metric, unit and round."""
    save_report(rich, tmp_path / "r.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text("utf-8"))))

    assert len(rows) == 60
    assert {row["metric"] for row in rows} >= {"load", "generate-128", "memory"}
    assert {row["round"] for row in rows} == {str(number) for number in range(10)}


def test_markdown_says_everything(rich: Any, tmp_path: Path) -> None:
    """Figures, failures, what was left out and the machine are in the document."""
    save_report(rich, tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text("utf-8")

    assert "| generate 128 | 45 tokens/s | 44.9 to 45.2 tokens/s | yes |" in text
    assert "**It failed:** other died. SIGSEGV" in text
    assert "prompt-512 was left out: it needs 513 tokens of context" in text
    assert "The estimate beforehand was 90 tokens/s (predicted): 100 % too high." in text
    assert "A processor" in text


def test_names_are_not_taken_for_markup(reports: Any, steady: Any, tmp_path: Path) -> None:
    """A name with markup in it stays a name, in Markdown and in the page."""
    candidate = reports.candidate(
        {"load": steady(1.0)}, label=HOSTILE, model=ModelFacts(name=HOSTILE, path="x")
    )
    for name in ("r.md", "r.html"):
        save_report(reports.report(candidate), tmp_path / name)
    page = (tmp_path / "r.html").read_text("utf-8")

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in (tmp_path / "r.md").read_text("utf-8").replace("\\<script", "")


# The page -------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its elements are closed."""

    VOID = frozenset({"meta", "link", "br", "rect", "line", "polyline"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note an element that is open now, and what it refers to."""
        if tag not in self.VOID:
            self.open.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        """Make sure that the innermost element is the one that ends."""
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Make sure that only elements without content end at once."""
        assert tag in self.VOID

    def handle_data(self, data: str) -> None:
        """Collect the text."""
        self.text += data


def test_the_page_needs_nothing_else(rich: Any, tmp_path: Path) -> None:
    """The page is well formed, refers to nothing outside itself, and has no script."""
    save_report(rich, tmp_path / "r.html", _earlier())
    text = (tmp_path / "r.html").read_text("utf-8")
    page = Page(text)

    assert page.open == []
    assert page.links == ["data:,"]
    assert "script" not in text
    assert "@import" not in text
    assert "url(" not in text


def _earlier() -> list[EarlierFigure]:
    times = ("2026-10-01T10:00:00.000+00:00", "2026-11-01T10:00:00Z")
    return [EarlierFigure(label="demo on engine", time=time, value=40.0 + n) for n, time in enumerate(times)]


def test_the_page_has_every_plot(rich: Any, tmp_path: Path) -> None:
    """Rates with intervals, memory, time to the first token, loading, other workloads and the history."""
    save_report(rich, tmp_path / "r.html", _earlier())
    text = (tmp_path / "r.html").read_text("utf-8")
    headings = re.findall(r"<h2>(.*?)</h2>", text)

    assert headings == [
        "Generating",
        "Time to the first token",
        "Memory",
        "Loading",
        "Other workloads",
        "History",
        "demo on engine",
        "demo on other",
        "Machine",
    ]
    assert text.count('<g class="interval">') == 6
    assert text.count('class="dot ') == 3
    assert "It failed: other died SIGSEGV" in text


def test_bars_are_drawn_to_scale() -> None:
    """A bar's width, and its interval's ends, are in proportion to the axis."""
    entries = [
        Bar(name="a", value=50.0, low=40.0, high=60.0, text="fifty"),
        Bar(name="b", value=100.0, low=100.0, high=100.0, text="hundred"),
    ]
    drawn = bars("Speed", "tokens/s", entries, "{:g}".format)

    assert 'width="50.000"' in drawn
    assert 'width="100.000"' in drawn
    assert '<line x1="40.000" x2="60.000"' in drawn
    assert drawn.count('<g class="interval">') == 1


@given(st.floats(1e-6, 1e15), st.booleans())
def test_an_axis_has_round_ticks_that_hold_the_values(most: float, binary: bool) -> None:
    """The ticks begin at 0, are evenly apart, few, and reach the largest value."""
    marks = ticks(most, binary=binary)

    assert marks[0] == 0
    assert marks[-1] >= most * (1 - 1e-6)
    assert 2 <= len(marks) <= 7
    assert all(value == pytest.approx(marks[1] * place) for place, value in enumerate(marks))


# Words ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.0123, "s", "12.3 ms"),
        (12.3, "s", "12.3 s"),
        (1234.5, "tokens/s", "1,234 tokens/s"),
        (2 * 2**20, "bytes", "2.0 MiB"),
        (55.5, "%", "56 %"),
        (0.25, "J/token", "0.25 J/token"),
        (float("nan"), "s", "unknown"),
    ],
)
def test_figures_have_the_digits_that_mean_something(value: float, unit: str, words: str) -> None:
    """Each unit is written as people read it."""
    assert value_text(value, unit) == words


def test_without_an_estimate_there_is_no_error_of_it(reports: Any, steady: Any) -> None:
    """A candidate without an estimate, or without a speed, says nothing of its error."""
    estimate = {"tokens_per_second": 5.0, "basis": "measured"}

    assert estimate_error(reports.candidate({"generate-32": steady(5.0)})) == ""
    assert estimate_error(reports.candidate({"load": steady(5.0)}, estimate=estimate)) == ""


# The history ----------------------------------------------------------------------------------------------


def test_earlier_benchmarks_come_from_the_history(reports: Any, steady: Any) -> None:
    """Earlier figures of the same model and backend are found, oldest first, and later ones are not."""
    runtime = Runtime()
    for created, speed in (("2026-11-02T10:00:00+00:00", 20.0), ("2026-11-01T10:00:00+00:00", 10.0)):
        report = reports.report(reports.candidate({"generate-128": steady(speed)}), created=created)
        assert runtime.history.record_benchmark(report.to_dict()) is not None
    other = reports.candidate({"generate-128": steady(99.0)}, backend="other")
    runtime.history.record_benchmark(reports.report(other).to_dict())
    now = reports.report(reports.candidate({"generate-128": steady(30.0)}))
    found = earlier_figures(now, runtime)
    runtime.history.close()

    assert [round(figure.value) for figure in found] == [10, 20]
    assert {figure.label for figure in found} == {"demo on engine"}
