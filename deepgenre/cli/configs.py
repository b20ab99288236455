"""Config files by name: `--config=gtzan` is the `configs/gtzan.py` that comes with the package."""

from pathlib import Path

import deepgenre
from deepgenre.errors import UserError, unknown_name

PACKAGE = Path(deepgenre.__file__).parent
# In an installed package, and in a checkout, where they are at the top level.
FOLDERS = (PACKAGE / "configs", PACKAGE.parent / "configs")


def packaged() -> dict[str, Path]:
    """Returns the config files that come with the package, by name."""
    folder = next((folder for folder in FOLDERS if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.py"))} if folder else {}


def resolve(value: str) -> str:
    """Returns the value of `--config` with a path where it gives a name; ':ARGUMENT' stays.

    An existing file is taken as it is. `configs/NAME.py` is found from any folder. Raises UserError
    where no such file exists.
    """
    name, colon, argument = value.partition(":")
    path, known = Path(name).expanduser(), packaged()
    if path.is_file():
        return f"{path}{colon}{argument}"
    is_packaged = (path.parent == Path() and not path.suffix) or path.parent.name == "configs"
    if is_packaged and path.suffix in ("", ".py") and path.stem in known:
        return f"{known[path.stem]}{colon}{argument}"
    if path.suffix == ".py":
        raise UserError(
            f"--config: {name!r} does not exist; give a config file, or one of {', '.join(known)}"
        )
    raise unknown_name("--config", name, known)
