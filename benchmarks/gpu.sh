#!/usr/bin/env bash
# What a GPU is asked: training speed and use of its arithmetic, 20 epochs of 13,510 clips, clips
# held in its memory, prediction with the front end on the device. Less than 10 minutes on an H100.
#
#   benchmarks/gpu.sh OUTPUT.json [SONGS]      SONGS: a folder of audio files; default: synthetic
#   PEER_PYTHON=peer/bin/python benchmarks/gpu.sh OUTPUT.json      compared with PyTorch's step
#   DRY_RUN=1 benchmarks/gpu.sh OUTPUT.json    small sizes, to try the script on a CPU
#
# Writes one JSON object, a key per benchmark: what failed has its error, and the others continue.
# Uses the Python of the environment (PYTHON=..., default python3), with deepgenre installed.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
output=$(realpath "${1:?usage: benchmarks/gpu.sh OUTPUT.json [SONGS]}")
songs=${2:-}
export PYTHONPATH=${PYTHONPATH:-$(dirname "$here")}
python=${PYTHON:-python3}
parts=$(mktemp -d)
trap 'rm -rf "$parts"' EXIT
if [ -n "${DRY_RUN:-}" ]; then
    batches=2 frames=298 steps=2 repeats=1 clips=64 epochs=1 batch=16 clips_per_style=1
else
    batches=64,256 frames=628 steps=30 repeats=1 clips=13510 epochs=20 batch=256 clips_per_style=20
fi

# part NAME ARGUMENTS... : runs the command, in a folder of its own, for at most 3 minutes.
part() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name" >&2
    if ! (cd "$parts" && timeout 180 "$python" "$@" >"$name.log" 2>&1); then
        tail -n 3 "$parts/$name.log" >&2
        "$python" -c 'import json, sys; print(json.dumps({"failed": sys.stdin.read()[-500:]}))' \
            <"$parts/$name.log" >"$parts/$name.json"
    fi
    echo "$((SECONDS - start)) s" >&2
}

part steps "$here/train_speed.py" --peer_python="${PEER_PYTHON:-}" --batches=$batches \
    --frames=$frames --steps=$steps --repeats=$repeats --output=steps.json
part epochs "$here/epochs_speed.py" --clips=$clips --epochs=$epochs --batch=$batch \
    --frames=$frames --models=paper_2d,paper_1d --output=epochs.json
part feed "$here/pipeline_speed.py" --num_clips=$((clips / 4)) --seconds=2 --repeats=1 \
    --output=feed.json
if [ -z "$songs" ]; then
    songs=$parts/songs
    part songs -c "from pathlib import Path
from deepgenre.data.datasets.synthetic import compose_corpus
compose_corpus(Path('songs'), clips_per_style=$clips_per_style, seconds=30.0)"
fi
part prediction "$here/engines.py" --files="$songs" --weights=gtzan --engines=jax \
    --output=prediction.json

"$python" - "$parts" "$output" <<'END'
import json
import pathlib
import sys

import jax

folder, output = map(pathlib.Path, sys.argv[1:])
# Dense peak rates of the tensor cores, TFLOP/s (NVIDIA's data sheets, SXM): TF32, bfloat16.
PEAKS = {"H100": (494, 989), "H200": (494, 989), "A100": (156, 312)}
device = jax.devices()[0].device_kind
result = {"device": device, "jax": jax.__version__}
for path in sorted(folder.glob("*.json")):
    if not path.name.endswith(".summary.json"):
        result[path.stem] = json.loads(path.read_text())
peak = next((rates for name, rates in PEAKS.items() if name in device), None)
for row in result["steps"] if isinstance(result.get("steps"), list) else []:
    ours = row["ours"][0]
    seconds = sorted(ours["seconds"])[len(ours["seconds"]) // 2]
    row["tflops"] = row["batch"] * ours["gflop_a_clip"] / seconds / 1000
    if peak:
        row["model_flop_utilisation"] = row["tflops"] / peak[row["dtype"] == "bfloat16"]
output.write_text(json.dumps(result, indent=1) + "\n")
print(f"wrote {output}", file=sys.stderr)
sys.exit(any("failed" in part for part in result.values() if isinstance(part, dict)))
END
