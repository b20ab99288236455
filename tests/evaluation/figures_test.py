"""Figures: what is drawn, names that are markup, colours of a page."""

import re
from xml.etree import ElementTree

import evaluated
import numpy as np
import pytest
import tiny
from matplotlib.figure import Figure
from matplotlib.text import Text

from deepgenre.audio import frontend as front_end
from deepgenre.audio.frontend import FrontEnd
from deepgenre.audio.mel import band_centres_hz, mel_filters
from deepgenre.audio.overview import Picture
from deepgenre.evaluation.figures import (
    confusion,
    curves,
    explanation,
    network,
    over_time,
    reliability,
    robustness,
    style,
    tags,
    timeline,
)
from deepgenre.models.layer_table import Layer

LINES = [
    {"split": split, "epoch": epoch, "loss": 1 / epoch, "accuracy": 0.3 * epoch}
    for epoch in (1, 2, 3)
    for split in ("train", "valid")
]

FALLING, RISING = np.linspace(1, 0, 17), np.linspace(0, 1, 17)
CURVES = {
    "deletion": FALLING, "random_deletion": FALLING, "insertion": RISING,
    "random_insertion": RISING,
}  # fmt: skip
AREAS = {"deletion": 0.12, "random_deletion": 0.34, "insertion": 0.56, "random_insertion": 0.78}
ROBUST = {
    name: {"family": name, "metric": "accuracy", "low": low, "high": 0.0,
           "metrics": {"accuracy": 0.5 + low, "clips": 40}}
    for name, low in (("unchanged", 0.0), ("noise", -0.2))
}  # fmt: skip


def texts(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def every_figure(names: tuple[str, ...]) -> dict[str, Figure]:
    genres, of_tags = (evaluated.scored(40, names, multi_label=m) for m in (False, True))
    counts = np.arange(len(names) ** 2).reshape(len(names), -1)
    levels = np.arange(200 * 16, dtype=np.uint8).reshape(200, 16)
    layer = Layer("a", names[0], names[1], (3, 4), 12, (-1,))
    frontend = FrontEnd(n_mels=16, n_mfcc=8)
    return {
        "confusion": confusion.confusion_matrix(counts, names),
        "distribution": tags.distribution(dict.fromkeys(names, 7), 40, 2),
        "precision": tags.average_precision(of_tags.scores, of_tags.labels, names),
        "curves": curves.training_curves(LINES, "accuracy"),
        "compared": curves.compared_curves(dict.fromkeys(names, LINES), "accuracy"),
        "spectrogram": over_time.spectrogram(levels, frontend, names[0]),
        "timeline": timeline.timeline(
            Picture(0.5, -np.ones(80), np.ones(80), np.zeros((80, 64)), 11_025.0),
            np.arange(40.0),
            np.ones(40),
            genres.scores,
            np.array([7.5]),
            names,
            names[1],
        ),
        "network": network.network(names[0], [layer], 10, 4),
        "calibration": reliability.reliability_diagram(
            of_tags.scores, of_tags.labels, multi_label=True
        ),
        "robustness": robustness.robustness(ROBUST),
        "explanation": explanation.explanation(
            levels, frontend, 59.0, np.ones((100, 8)), CURVES, AREAS, names[0]
        ),
    }


@pytest.mark.parametrize("names", [evaluated.GENRES, evaluated.HOSTILE])
def test_every_figure_is_png_and_valid_svg(tmp_path, names):
    for name, figure in every_figure(names).items():
        png, svg = style.write_both(figure, tmp_path / f"{name}.v1")
        assert png.name == f"{name}.v1.png"
        assert png.read_bytes().startswith(b"\x89PNG")
        root = ElementTree.parse(svg).getroot()
        tags_used = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert not tags_used & {"script", "img", "a", "foreignObject"}


def test_a_figure_is_the_same_file_each_time(tmp_path):
    for number in (1, 2):
        style.write(every_figure(evaluated.GENRES)["confusion"], tmp_path / f"{number}.svg")
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()


def test_elements_of_one_page_share_no_id_and_follow_its_colours():
    figures = every_figure(evaluated.HOSTILE)
    pages = [style.svg_element(figures["curves"], prefix) for prefix in ("a", "b")]
    ids = [{*re.findall(r'\bid="([^"]*)"', page)} for page in pages]
    assert ids[0]
    assert not ids[0] & ids[1]
    for page, own in zip(pages, ids, strict=True):
        used = re.findall(r'(?:url\(#|href="#)([^)"]*)', page)
        assert used
        assert {*used} <= own
    assert "var(--ink)" in pages[0]
    assert style.INK not in pages[0]
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", pages[0])


def test_class_named_like_a_colour_or_an_id_keeps_its_name():
    names = (f"fill:{style.INK}", 'id="x"', "url(#a)")
    page = style.svg_element(every_figure(names)["confusion"], "p")
    root = ElementTree.fromstring(page)
    shown = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {*names} <= shown


def test_visible_names_have_no_marks_of_direction_or_controls():
    assert style.visible("a\u202eb\x07\udcff\n") == "a\\u202eb\\x07\\udcff\\n"
    assert style.visible("Ænima 星 é") == "Ænima 星 é"
    assert len(style.label("x" * 100)) == 40


def test_confusion_matrix_has_true_classes_in_rows():
    figure = confusion.confusion_matrix(np.array([[5, 2], [0, 3]]), ("a", "b"))
    shown = texts(figure)
    assert "8 of 10 clips correct" in shown
    cells = {(t.get_position(), t.get_text()) for t in figure.axes[0].texts}
    assert cells == {((0, 0), "5"), ((1, 0), "2"), ((1, 1), "3")}  # (column, row)


def test_distribution_is_sorted_and_shows_every_class():
    figure = tags.distribution({"b": 2, "a": 2, "c": 900}, 1000, top=1)
    assert "3 classes of 1,000 clips, the 1 most frequent in blue" in texts(figure)
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["c", "a", "b"]
    assert figure.axes[0].get_xscale() == "log"
    many = tags.distribution({f"tag {n}": n + 1 for n in range(188)}, 9000, top=50)
    assert len(many.axes) == 4
    assert sum(len(axes.get_yticklabels()) for axes in many.axes) == 188


def test_curves_draw_what_is_logged_and_mark_the_best_epoch():
    figure = curves.training_curves(LINES, "accuracy")
    loss, accuracy = figure.axes
    assert [line.get_label() for line in loss.lines] == ["train", "valid"]
    assert [line.get_label() for line in accuracy.lines] == ["train", "valid", "best: 0.900"]
    by_loss = curves.training_curves(LINES, "loss")
    assert [axes.lines[-1].get_label() for axes in by_loss.axes] == ["best: 0.333", "valid"]
    valid_only = [line for line in LINES if line["split"] == "valid"]
    assert len(curves.training_curves(valid_only, "accuracy").axes[0].lines) == 1
    assert curves.training_curves([], "accuracy").axes  # nothing logged yet


def test_curves_of_tags_show_what_training_logs_beside_the_merit():
    """Training logs no ROC-AUC: without its own accuracy, over-fitting would not be seen."""
    lines = [{**line, "argmax_accuracy": line["accuracy"]} for line in LINES]
    lines = [{k: v for k, v in line.items() if k != "accuracy"} for line in lines]
    lines = [{**line, "roc_auc": 0.7} if line["split"] == "valid" else line for line in lines]
    figure = curves.training_curves(lines, "roc_auc")
    drawn = {axes.get_ylabel(): [line.get_label() for line in axes.lines] for axes in figure.axes}
    assert drawn == {
        "loss (cross-entropy, nats)": ["train", "valid"],
        "argmax accuracy": ["train", "valid"],
        "roc auc": ["valid", "best: 0.700"],
    }


def test_levels_of_all_kinds_are_drawn_in_decibels():
    tone = tiny.tone(1000, 1.0, seed=0).astype(np.float32)
    for kind in ("log_mel", "mfcc", "musicnn", "waveform"):
        frontend = FrontEnd(kind=kind, n_mels=64)
        levels = front_end.levels(tone, frontend)
        decibels, shown_as = over_time.decibels_of(levels, frontend)
        assert decibels.max() == pytest.approx(0, abs=0.01)
        seconds = len(decibels) / shown_as.frames_per_second
        assert seconds == pytest.approx(1.0, abs=0.06)
        centres = band_centres_hz(shown_as.n_mels, shown_as.fmin_hz, shown_as.top_hz)
        loudest = centres[decibels.mean(axis=0).argmax()]
        assert loudest == pytest.approx(1000, rel=0.1), kind


def test_band_centres_are_where_the_filters_peak():
    filters = mel_filters(22_050, 1 << 14, 40, 0.0, 11_025)
    peaks_hz = filters.argmax(axis=1) * 22_050 / (1 << 14)
    np.testing.assert_allclose(band_centres_hz(40, 0.0, 11_025), peaks_hz, atol=1.5)


def test_times_and_frequencies_have_the_same_form_in_every_figure():
    """In s before a minute, else in min:s, with tenths in short windows; in kHz."""
    levels, frontend = np.zeros((60, 16), np.uint8), FrontEnd(n_mels=16, n_mfcc=8)
    seconds = 60 / frontend.frames_per_second  # 2.8
    for start, label, first in ((10.0, "time (s)", "10"), (100.0, "time (min:s)", "1:40.0")):
        figure = explanation.explanation(
            levels, frontend, start, np.ones((60, 16)), CURVES, AREAS, "a window"
        )
        by_title = {axes.get_title(loc="left"): axes for axes in figure.axes}
        window, support = (
            by_title["a window"],
            by_title["orange: for the class; purple: against it"],
        )
        figure.draw_without_rendering()
        assert support.get_xlabel() == label
        assert support.get_xlim() == pytest.approx((start, start + seconds), abs=1e-6)
        assert any(tick.get_text().startswith(first) for tick in support.get_xticklabels())
        for axes in (window, support):
            assert axes.get_ylabel() == "frequency (kHz)"
            assert "1" in [tick.get_text() for tick in axes.get_yticklabels()]
    scales = [axes.get_ylabel() for axes in figure.axes]
    assert {"level (dB re maximum)", "relative support"} <= {*scales}


def test_an_explanation_shows_the_areas_that_it_states_and_neutral_values_in_white():
    levels, frontend = np.zeros((60, 16), np.uint8), FrontEnd(n_mels=16, n_mfcc=8)
    figure = explanation.explanation(levels, frontend, 0.0, np.eye(60, 16), CURVES, AREAS, "a")
    legends = [axes.get_legend() for axes in figure.axes]
    shown = {text.get_text() for one in legends if one for text in one.get_texts()}
    assert shown == {
        *("by the map (area 0.12)", "at random (area 0.34)"),
        *("by the map (area 0.56)", "at random (area 0.78)"),
    }
    against, neutral, support = explanation.SUPPORT([0.0, 0.5, 1.0])[:, :3]
    assert neutral.min() > 0.95
    assert support[0] > 0.6 > support[2] and against[2] > against[1]  # orange; purple


def test_reliability_is_on_the_diagonal_of_calibrated_scores_only():
    rng = np.random.default_rng(0)
    true = rng.random((4000, 5))
    labels = (rng.random(true.shape) < true).astype(np.uint8)
    for scores, error in ((true, 0.0), (np.sqrt(true), 0.167)):
        found = reliability.reliability(scores, labels, multi_label=True)
        assert found.counts.sum() == labels.size
        gaps = np.abs(found.share_right - found.mean_score)
        assert np.average(gaps, weights=found.counts) == pytest.approx(error, abs=0.012)
        figure = reliability.reliability_diagram(scores, labels, multi_label=True)
        (title,) = re.findall(r"calibration error (\S+)", figure.axes[0].get_title(loc="left"))
        assert float(title) == pytest.approx(error, abs=0.012)


def test_reliability_of_genres_counts_the_highest_score_of_each_clip():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    found = reliability.reliability(scores, np.array([0, 1, 1, 0]), multi_label=False)
    filled = np.flatnonzero(found.counts)
    assert found.counts[filled].tolist() == [1, 1, 2]
    assert found.mean_score[filled] == pytest.approx([0.7, 0.8, 0.9])
    assert found.share_right[filled] == pytest.approx([1, 1, 0.5])


@pytest.mark.parametrize("multi_label", [False, True])
def test_no_figure_shows_the_source_of_a_formula(multi_label):
    one = evaluated.scored(500, multi_label=multi_label)
    figure = reliability.reliability_diagram(one.scores, one.labels, multi_label=multi_label)
    assert not [text for text in texts(figure) if "$" in text or "\\" in text]
