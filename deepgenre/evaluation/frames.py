"""Results as pandas DataFrames, where pandas is installed."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deepgenre.errors import UserError

if TYPE_CHECKING:
    import pandas


def data_frame(columns: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Returns a DataFrame of columns by name, or of rows; raises UserError without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise UserError("to_pandas: pandas is not installed; pip install pandas") from error
    return pandas.DataFrame(columns)
