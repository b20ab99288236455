"""Templates to pages: every value is escaped, and nothing outside the page is loaded."""

import base64
import datetime
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

import deepgenre
from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.evaluation.figures.style import visible
from deepgenre.files import replacing


def write(template: str, path: Path, **values: Any) -> None:
    """Writes the page of a template; raises UserError where `path` cannot be written.

    Needs `title`, `subtitle` and `sections`, pairs (anchor, name). Text is escaped; markup that is
    safe, such as a figure, is passed as `Markup`.
    """
    environment = _environment()
    style, script = (_source(environment, name) for name in ("style.css", "script.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = environment.get_template(template).render(
        style=Markup(style),
        script=Markup(script),
        script_hash=f"sha256-{digest}",
        version=deepgenre.__version__,
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **values,
    )
    try:
        with replacing(path) as temporary:
            temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); choose another --output"
        ) from error


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deepgenre.evaluation.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": visible,
        "words": lambda name: str(name).replace("_", " "),
        "number": number,
        "counted": log.counted,
        "interval": interval,
        "signed": lambda value: "–" if _is_undefined(value) else f"{value:+.3f}",
        "p_value": p_value,
        "sort_value": lambda value: "" if _is_undefined(value) else value,
        "clock": lambda seconds: f"{seconds // 60:.0f}:{seconds % 60:02.0f}",
    }
    return environment


def _source(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, name)
    return source


def number(value: Any) -> str:
    """Returns a number for readers: three decimals, or whole with separators; '–' undefined."""
    if _is_undefined(value):
        return "–"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and value > 1):
        return f"{value:,.0f}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def interval(metric: Mapping[str, Any]) -> str:
    """Returns '0.670 to 0.793', '' of a metric without an interval."""
    if metric.get("low") is None:
        return ""
    return f"{number(metric['low'])} to {number(metric['high'])}"


def p_value(value: float | None) -> str:
    """Returns a p-value with two significant digits, '< 0.001' below that."""
    if value is None or math.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def _is_undefined(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
