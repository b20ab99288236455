"""What `--help` prints: the modes, or the flags of one mode with examples."""

import re
import textwrap
from typing import Any

from absl import flags as absl_flags

from deepgenre.cli import configs, flags
from deepgenre.cli.modes import MODES

WIDTH = 100
COLUMN = 30  # where the text of a flag begins
# What stands for a flag's value, by its name, else by its type; else PATH.
METAVARS = {
    "config": "NAME",
    "data_dir": "FOLDER",
    "workdir": "FOLDER",
    "taggram": "FOLDER",
    "mode": "MODE",
    "weights": "NAME",
    "eval_split": "PART",
    "source": "NAME",
    "cluster": "dask://HOST:PORT",
    "coordinator_address": "HOST:PORT",
    "target": "CLASS",
    "method": "NAME",
    "start_seconds": "SECONDS",
    "window_seconds": "SECONDS",
    "hop_seconds": "SECONDS",
    "poll_seconds": "SECONDS",
    "settle_seconds": "SECONDS",
    "check": "NAME",
    "mirror": "URL",
    "layer": "NAME",
    "sweep": "FIELD:V,V",
    "channels": "N,N",
    "seconds": "SECONDS",
    "similarity": "TERM:WEIGHT,...",
    "int": "N",
    "float": "SCORE",
}


def overview() -> str:
    """Returns the modes, one line each."""
    width = max(map(len, MODES))
    modes = "\n".join(f"  {name:<{width}}  {mode.summary}" for name, mode in MODES.items())
    return (
        "Usage: deepgenre MODE [FLAGS] [FILES]     (or python -m deepgenre.main --mode=MODE ...)\n"
        f"\n{modes}\n\n"
        "  deepgenre MODE --help      the flags of a mode, with examples\n"
        "  deepgenre --version        the version"
    )


def of_mode(name: str) -> str:
    """Returns the usage, examples and flags of a mode."""
    mode = MODES[name]
    files = f" {mode.arguments}" if mode.files else ""
    parts = [
        f"Usage: deepgenre {name} [FLAGS]{files}\n\n{mode.summary}",
        "Examples:\n" + "\n".join(f"  deepgenre {example}" for example in mode.examples),
        "Flags:\n" + "\n".join(map(_flag, mode.flags)),
        "Flags of all modes:\n" + "\n".join(map(_flag, flags.COMMON)),
    ]
    if mode.flags[0] == "config":
        parts.insert(2, _configs())
    return "\n\n".join(parts)


def _configs() -> str:
    names = textwrap.wrap(", ".join(configs.packaged()), WIDTH - 2)
    return "Configs that --config finds by name:\n" + "\n".join(f"  {line}" for line in names)


def _flag(name: str) -> str:
    """Returns the line, or lines, of a flag."""
    flag = absl_flags.FLAGS[name]
    switch = f"  --{name}" if flag.boolean else f"  --{name}={_metavar(flag)}"
    text = flag.help.split(";\n")[0]  # absl appends how to repeat it
    text = re.sub(r"^<[^>]*>: ", "", text).rstrip(".")
    if isinstance(flag.default, str | int | float) and flag.default and not flag.boolean:
        text += f". Default: {flag.default}"
    lines = textwrap.wrap(f"{text}.", WIDTH - COLUMN)
    head = f"{switch:<{COLUMN}}" if len(switch) < COLUMN - 1 else f"{switch}\n{'':<{COLUMN}}"
    return head + f"\n{'':<{COLUMN}}".join(lines)


def _metavar(flag: Any) -> str:
    if values := getattr(flag.parser, "enum_values", None):
        return "|".join(values)
    return METAVARS.get(flag.name) or METAVARS.get(flag.flag_type(), "PATH")
