"""The notebook of the Python interface runs, and its outputs are of its present cells."""

import ast
import contextlib
import io
import json
from typing import Any

import pytest
import tiny

from deepgenre import log

NOTEBOOK = tiny.ROOT / "docs" / "python.ipynb"


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """Returns the cells with code; the folder is empty, and messages are on again afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(log, "_quiet", False)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def execute(source: str, names: dict[str, Any]) -> tuple[Any, str]:
    """Runs a cell; returns the value of its last expression, None without one, and its output."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(compile(ast.Module(body, []), str(NOTEBOOK), "exec"), names)
        value = None
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), str(NOTEBOOK), "eval"), names)
    return value, output.getvalue()


def recorded(cell: dict[str, Any], kind: str) -> str:
    texts = [
        out.get("text") or out["data"]["text/plain"]
        for out in cell["outputs"]
        if out["output_type"] == kind
    ]
    return "".join(line for lines in texts for line in lines)


def test_notebook_runs_with_the_outputs_that_it_shows(cells):
    names: dict[str, Any] = {"__name__": "notebook"}
    for number, cell in enumerate(cells, 1):
        assert cell["execution_count"] == number  # made in one go, from top to bottom
        value, output = execute("".join(cell["source"]), names)
        shown = recorded(cell, "execute_result")
        assert (value is None) == (not shown or "None" in shown)
        assert output.split() == recorded(cell, "stream").split()
        if not type(value).__module__.startswith("pandas"):  # these have trained numbers
            assert shown == ("" if value is None else repr(value))
        else:
            assert str(value.columns[-1]) in shown
    assert names["sweep"].best.settings == {"learning_rate": 1e-3}
    assert names["run"].metrics["test"]["accuracy"] > 0.8  # three pitches, far apart
