"""Config files by name: `--config=gtzan` is the `configs/gtzan.py` that comes with the package.

`--config=runs/x/config.json` is the config of a run, which `run_config` reads.
"""

from pathlib import Path

import deepgenre
from deepgenre.errors import UserError, unknown_name
from deepgenre.files import expand_home

PACKAGE = Path(deepgenre.__file__).parent
RUN_CONFIG = PACKAGE / "cli" / "run_config.py"
# In an installed package, and in a checkout, where they are at the top level.
FOLDERS = (PACKAGE / "configs", PACKAGE.parent / "configs")


def packaged() -> dict[str, Path]:
    """Returns the config files that come with the package, by name."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.py"))} if folder else {}


def resolve(value: str) -> str:
    """Returns the value of `--config` with a path where it gives a name; ':ARGUMENT' stays.

    A path ends in .py or contains a '/', anything else is a name. `configs/NAME.py` is found from
    any folder, unless it exists there. A .json is the argument
    of `RUN_CONFIG`. Raises UserError where no such file exists.
    """
    if value.endswith(".json"):
        record = expand_home(value)
        if not record.is_file():
            raise UserError(f"--config: {value!r} does not exist; give the config.json of a run")
        return f"{RUN_CONFIG}:{record}"
    name, colon, argument = value.partition(":")
    path, known = expand_home(name), packaged()
    is_path = path.suffix == ".py" or "/" in name
    if is_path and path.is_file():
        return f"{path}{colon}{argument}"
    if path.stem in known and (not is_path or path.parent.name == "configs"):
        return f"{known[path.stem]}{colon}{argument}"
    if is_path:
        raise UserError(
            f"--config: {name!r} does not exist; give a config file, or one of {', '.join(known)}"
        )
    raise unknown_name("--config", name, known)


def run_of(config_filename: str) -> Path | None:
    """Returns the folder of the run whose record is the config, or None for another config."""
    file, _, record = config_filename.partition(":")
    return Path(record).parent if Path(file) == RUN_CONFIG else None
