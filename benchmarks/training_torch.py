"""Times PyTorch's training steps on a batch in memory, for `train_speed.py`, in its own Python.

    training_torch.py JSON

JSON says what `train_speed.Case` holds, and 'compiled'. The networks are the paper's two, layer by
layer those of deepgenre, channels last, trained by Adam. Prints one JSON object like
`training_ours.py`. Knows nothing of deepgenre.
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
    """(batch, 128, frames) to logits (batch, classes)."""

    def __init__(self, classes: int, frames: int) -> None:
        """Makes the layers; the dense one depends on the number of frames."""
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
    """(batch, 1, frames, 128) to logits (batch, classes)."""

    POOLS = ((4, 3), (5, 4), (6, 5))

    def __init__(self, classes: int, frames: int) -> None:
        """Makes the layers; the dense one depends on the number of frames."""
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
    """Returns the most memory taken so far, of the GPU or else of the process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(case: dict[str, Any]) -> None:
    """Measures the case and prints what came of it."""
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
    narrow = case["dtype"] == "bfloat16"

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16) if narrow else contextlib.nullcontext():
            loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    before = peak_bytes(device)
    for _ in range(3):  # compile, and choose algorithms
        step()
    seconds = []
    for _ in range(case["steps"]):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    name = torch.cuda.get_device_name() if device == "cuda" else device
    found = {"seconds": seconds, "bytes": peak_bytes(device) - before, "device": name}
    print(json.dumps({**found, "version": torch.__version__}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
