"""The style of all figures: colours, fonts, and how a figure becomes a file or part of a page.

No other module outside this package needs to import matplotlib.
"""

import bisect
import io
import itertools
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

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

SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
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
    root = ElementTree.fromstring(text.getvalue())
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        for name, value in element.attrib.items():
            element.set(name, _for_page(name, value, prefix))
    return ElementTree.tostring(root, encoding="unicode")


def _for_page(name: str, value: str, prefix: str) -> str:
    """Returns an attribute with ids made unique, and colours that are variables of the page."""
    if name == "id":
        return f"{prefix}-{value}"
    if name.endswith("href") and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    value = value.replace("url(#", f"url(#{prefix}-")
    for colour, variable in PAGE_COLOURS.items() if name in ("style", "fill", "stroke") else ():
        value = value.replace(colour, variable)
    return value


def label(name: str, length: int = 40) -> str:
    """Returns a name as one line that can be drawn: visible escapes, cut at `length` columns.

    A letter of East Asian scripts takes two columns.
    """
    shown = visible(name)
    ends = list(itertools.accumulate(map(_columns, shown)))
    if not ends or ends[-1] <= length:
        return shown
    return f"{shown[: bisect.bisect_right(ends, length - 1)]}…"


def _columns(letter: str) -> int:
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


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
