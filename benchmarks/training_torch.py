"""Times PyTorch training steps on a batch in memory; `train_speed.py` runs it in PyTorch's Python.

    training_torch.py JSON

JSON has the fields of `train_speed.Case` and 'compiled'. The networks are the paper's two, with the
same layers as in deepgenre, channels last, trained with Adam. Prints one JSON object like
`training_ours.py`. Does not import deepgenre.
"""

import contextlib
import json
import resource
import sys
import time
from typing import Any

import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional  # pyright: ignore[reportMissingImports]

BANDS = 128


class Paper1D(nn.Module):
    """Maps (batch, 128, frames) to logits (batch, classes)."""

    def __init__(self, classes: int, frames: int) -> None:
        """Creates the layers; the size of the dense one depends on the number of frames."""
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, 256, 4, stride=2) for channels in (BANDS, 256, 256)
        )
        for _ in self.convolutions:
            frames = ((frames - 4) // 2 + 1) // 2
        self.dense = nn.Linear(512 * (frames // 4), 2048)
        self.logits = nn.Linear(2048, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the logits."""
        for convolution in self.convolutions:
            x = functional.max_pool1d(functional.relu(convolution(x)), 2)
        x = torch.cat([functional.max_pool1d(x, 4), functional.avg_pool1d(x, 4)], dim=1)
        x = functional.relu(self.dense(x.flatten(1)))
        return self.logits(functional.dropout(x, 0.5, self.training))


class Paper2D(nn.Module):
    """Maps (batch, 1, frames, 128) to logits (batch, classes)."""

    POOLS = ((4, 3), (5, 4), (6, 5))

    def __init__(self, classes: int, frames: int) -> None:
        """Creates the layers; the size of the dense one depends on the number of frames."""
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, features, 3, padding=1)
            for channels, features in ((1, 128), (128, 256), (256, 512))
        )
        bands = BANDS
        for over_frames, over_bands in self.POOLS:
            frames, bands = frames // over_frames, bands // over_bands
        self.logits = nn.Linear(512 * frames * bands, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the logits."""
        for convolution, pool in zip(self.convolutions, self.POOLS, strict=True):
            x = functional.max_pool2d(functional.relu(convolution(x)), pool)
        return self.logits(x.flatten(1))


def peak_bytes(device: str) -> int:
    """Returns the peak memory so far, of the GPU or otherwise of the process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(case: dict[str, Any]) -> None:
    """Measures the case and prints the results."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(0)
    classes, frames, batch = case["classes"], case["frames"], case["batch"]
    if case["network"] == "paper_2d":
        network = Paper2D(classes, frames).to(device, memory_format=torch.channels_last)
        x = torch.randn(batch, 1, frames, BANDS).to(device, memory_format=torch.channels_last)
    else:
        network = Paper1D(classes, frames).to(device)
        x = torch.randn(batch, BANDS, frames).to(device)
    if case["multi_label"]:
        loss_of = nn.BCEWithLogitsLoss()
        labels = (torch.rand(batch, classes) < 0.06).float().to(device)
    else:
        loss_of = nn.CrossEntropyLoss()
        labels = torch.randint(0, classes, (batch,)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, fused=device == "cuda")
    model = torch.compile(network) if case["compiled"] else network
    use_bfloat16 = case["dtype"] == "bfloat16"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16) if use_bfloat16 else contextlib.nullcontext():
            loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    before = peak_bytes(device)
    for _ in range(3):  # compilation and selection of algorithms
        step()
    seconds = []
    for _ in range(case["steps"]):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    name = torch.cuda.get_device_name() if device == "cuda" else device
    results = {"seconds": seconds, "bytes": peak_bytes(device) - before, "device": name}
    print(json.dumps({**results, "version": torch.__version__}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
