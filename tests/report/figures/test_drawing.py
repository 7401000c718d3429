"""Figures on paper: images of a sensible size that show something, in SVG with words for those who can't see."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from gradlab.analysis.figures.figure import Figure, Regions
from gradlab.analysis.figures.report import Report, make_report
from gradlab.report.figures.drawing import drawn
from gradlab.report.figures.files import numbers_csv, write_figures
from gradlab.report.figures.style import power_label, power_ticks, words
from tests.analysis.figures.runs import complete_run
from tests.store.synthetic import FakeTrial, make_run

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return make_report([complete_run(tmp_path_factory.mktemp("runs")).path])


@pytest.fixture(scope="module")
def files(report: Report, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    # One figure of each kind: the others are drawn by the same functions.
    kinds = {type(figure.chart): figure for figure in report.figures}
    some = replace(report, figures=tuple(kinds.values()))
    return {path.name: path for path in write_figures(some, tmp_path_factory.mktemp("figures") / "new" / "folder")}


def one(report: Report, name: str) -> Figure:
    return next(figure for figure in report.figures if figure.name == name)


def test_three_files_of_each_figure(files: dict[str, Path]) -> None:
    assert len(files) == 5 * 3
    assert {Path(name).suffix for name in files} == {".png", ".svg", ".csv"}


def test_images_show_something_on_white(files: dict[str, Path]) -> None:
    for name, path in files.items():
        if path.suffix != ".png":
            continue
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert 600 < width < 2500, name
        assert 300 < height < 2500, name
        pixels = imread(path)[::3, ::3, :3]
        assert (pixels[0, 0] == 1).all(), "light background"
        assert 0.02 < (pixels.min(-1) < 0.99).mean() < 0.95, name
        assert len(np.unique(pixels.reshape(-1, 3)[:: len(pixels) // 50], axis=0)) > 5, "in colours"


def test_svg_tells_what_it_shows(report: Report, files: dict[str, Path]) -> None:
    for figure in report.figures:
        path = files.get(f"{figure.name}.svg")
        if path is None:
            continue
        root = ElementTree.fromstring(path.read_text())  # noqa: S314 (our own file)
        assert root.get("role") == "img"
        assert [child.tag for child in list(root)[:2]] == [f"{SVG}title", f"{SVG}desc"]
        assert root.findtext(f"{SVG}title") == figure.title
        assert figure.sentence in (root.findtext(f"{SVG}desc") or "")
        assert figure.alt in (root.findtext(f"{SVG}desc") or "")


def test_the_same_bytes_every_time(report: Report) -> None:
    figure = one(report, "decay-over-depth-and-width")
    first = drawn(figure, report)
    assert drawn(figure, report) == first
    assert b"matplotlib.org" not in first["png"]


def test_settings_of_the_user_change_nothing(report: Report) -> None:
    import matplotlib

    figure = one(report, "decay-over-depth-and-width")
    first = drawn(figure, report)
    with matplotlib.rc_context({"text.usetex": False, "font.size": 30, "axes.facecolor": "black"}):
        assert drawn(figure, report) == first
        assert matplotlib.rcParams["font.size"] == 30


def test_csv_has_the_numbers_and_the_names(report: Report) -> None:
    figure = one(report, "gradient-by-layer")
    read = pd.read_csv(io.StringIO(numbers_csv(figure, report)))
    pd.testing.assert_frame_equal(read.drop(columns="label"), figure.numbers, check_dtype=False)
    assert read["label"].tolist() == [report.labels[group] for group in figure.numbers["group"]]


def test_csv_of_regions_is_long(report: Report) -> None:
    figure = next(found for found in report.figures if isinstance(found.chart, Regions))
    read = pd.read_csv(io.StringIO(numbers_csv(figure, report)))
    assert read.groupby(["group", "step", "kind"]).size().unique().tolist() == [16, 4]
    cells = read[(read["kind"] == "cell") & (read["step"] == 21)]
    assert ((cells["y"] > 0) == (cells["class"] == 1)).all()
    assert sorted(cells["x"].unique()) == pytest.approx([-0.75, -0.25, 0.25, 0.75])


def test_text_from_tables_stays_text(tmp_path: Path) -> None:
    hostile = "<script>alert('$\\frac{$')</script>&amp;\x1b[31m\ufffe\n\u202e"
    trials = [
        FakeTrial(f"t{depth}{place}", depth=depth, settings={"model.kwargs.</svg>$_{": value})
        for depth in (2, 3)
        for place, value in enumerate((hostile, "\N{GRINNING FACE}" * 500))
    ]
    report = make_report([make_run(tmp_path, [trials]).path])
    for name in ("gradient-by-layer", "decay-over-depth-and-model-kwargs-svg", "gradient-map"):
        content = drawn(one(report, name), report)
        assert content["png"].startswith(b"\x89PNG")
        svg = content["svg"].decode()
        root = ElementTree.fromstring(svg)  # noqa: S314 (our own file)
        assert not list(root.iter(f"{SVG}script"))
        assert "alert" in "".join(root.itertext())
        assert not {"\x1b", "\u202e", "\ufffe"} & set(svg)


def test_a_figure_of_one_number(tmp_path: Path) -> None:
    report = make_report([make_run(tmp_path, [[FakeTrial("a", depth=1, last_step=0)]]).path])
    for name in ("gradient-by-layer", "gradient-map"):
        assert len(drawn(one(report, name), report)["png"]) > 5000


def test_words_and_powers() -> None:
    assert words("a\n b\tc") == "a b c"
    assert len(words("x" * 500)) <= 64
    assert [power_label(one) for one in (-12.0, 0.0, 1.0, 3.0, -0.301)] == ["10⁻¹²", "1", "10", "10³", "0.5"]
    assert power_ticks(-15.2, 0.4) == [-15.0, -12.0, -9.0, -6.0, -3.0, 0.0]
    assert power_ticks(-0.2, 0.3) == pytest.approx([-0.2, -0.075, 0.05, 0.175, 0.3])
    assert power_ticks(2.5, 2.5) == [2.5]
