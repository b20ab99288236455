"""The style of all figures: colours, fonts, and how a figure becomes a file or part of a page.

No other module outside this package needs to import matplotlib.
"""

import io
import re
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from cycler import cycler
from matplotlib.figure import Figure

from deepgenre.files import replacing
from deepgenre.log import escape_controls

# M. Okabe and K. Ito, "Color Universal Design", 2008: distinguishable for colour-blind readers.
BLUE, ORANGE, GREEN = "#0072b2", "#e69f00", "#009e73"
VERMILION, PURPLE, SKY = "#d55e00", "#cc79a7", "#56b4e9"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
INK, MUTED = "#1f2a36", "#68778a"  # text and lines; grid and bars in the background
# Colour maps whose lightness increases or decreases throughout.
SHARES, SCORES, DECIBELS = "Blues", "viridis", "magma"
# Variables of a page's style sheet that replace colours, so that a figure follows its scheme.
PAGE_COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    GREEN: "var(--green)",
}

warnings.filterwarnings("ignore", "Glyph .* missing from font")  # drawn as a box
matplotlib.rcParams.update(
    {
        "axes.axisbelow": True,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.prop_cycle": cycler(color=SERIES),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "font.family": "sans-serif",
        "font.size": 9,
        "grid.alpha": 0.3,
        "grid.color": MUTED,
        "legend.frameon": False,
        "svg.fonttype": "none",  # text stays text: small files, and the reader's own fonts
        "svg.hashsalt": "deepgenre",  # the same figure is the same file
        "text.color": INK,
        "text.parse_math": False,  # a class name may contain dollar signs, e.g. "$uicideboy$"
        "xtick.color": INK,
        "ytick.color": INK,
    }
)


def new(width_inches: float, height_inches: float) -> Figure:
    """Returns an empty figure, which no other part of the program keeps in memory."""
    return Figure(figsize=(width_inches, height_inches))


def write(figure: Figure, path: Path) -> None:
    """Writes the figure atomically, in the format of the suffix."""
    kind = path.suffix[1:]
    metadata = {"Date": None} if kind == "svg" else {}
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=metadata)


def write_both(figure: Figure, stem: Path) -> list[Path]:
    """Writes <stem>.png and <stem>.svg; returns their paths."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    for path in paths:
        write(figure, path)
    return paths


def svg_element(figure: Figure, prefix: str) -> str:
    """Returns the figure as an <svg> element for a page: transparent, in the page's colours.

    prefix: of its ids, unique in the page. The page defines the variables of `PAGE_COLOURS`.
    """
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    # Only within attributes: a class may be named like a colour.
    for colour, variable in PAGE_COLOURS.items():
        svg = re.sub(rf"((?:fill|stroke): ){colour}\b", rf"\g<1>{variable}", svg)
    return svg


def label(name: str, length: int = 40) -> str:
    """Returns a name as one line that can be drawn: visible escapes, cut at `length` characters."""
    shown = visible(name)
    return shown if len(shown) <= length else f"{shown[: length - 1]}…"


def labels(names: Sequence[str]) -> list[str]:
    """Returns `label` of each name."""
    return [label(name) for name in names]


def visible(text: object) -> str:
    """Returns one line in which controls, surrogates and marks of direction are escapes.

    Unescaped, marks of direction (category Cf) make a name look like another.
    """
    return "".join(
        repr(letter)[1:-1] if unicodedata.category(letter) in ("Cf", "Cs") else letter
        for letter in escape_controls(text)
    )
