"""Mode `export`: writes the weights of a run as one `.safetensors` file."""

from pathlib import Path

from deepgenre import log
from deepgenre.errors import UserError
from deepgenre.files import updating
from deepgenre.weights import weight_file
from deepgenre.weights.spec import Weights


def run(weights: Weights, output: Path | None, dtype: str) -> int:
    """Writes the weights with their spec; returns exit code 0.

    dtype: stored type, 'float32' or 'float16'.
    """
    output = check_output(output)
    with updating(output):
        size_bytes = weight_file.write(output, weights, dtype=dtype)
    log.info(
        "wrote %s: %s, step %d, %d classes, %.1f MB",
        output,
        weights.spec.model,
        weights.step,
        len(weights.spec.classes),
        size_bytes / 1e6,
    )
    return 0


def check_output(output: Path | None) -> Path:
    """Returns the path of the weight file to write; raises UserError for any other name."""
    if output is None or output.suffix != ".safetensors":
        raise UserError(
            "--output: give the name of the file to write, ending in .safetensors, .onnx, "
            ".stablehlo or .mlir"
        )
    return output
