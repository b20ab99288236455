"""The table of modes: a row per name, with what it runs, its flags and examples."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from deepgenre.cli import commands


@dataclasses.dataclass(frozen=True)
class Mode:
    """One mode of the command line."""

    run: Callable[[Sequence[str]], int]
    summary: str  # one line
    flags: tuple[str, ...]  # names, in the order of the help
    examples: tuple[str, ...]  # without the program's name
    files: bool = False  # takes files as arguments
    arguments: str = "FILES"  # what they are called in the help
    default_config: str = ""  # config where none is given

    @property
    def takes_songs(self) -> bool:
        """Returns whether the mode decodes the songs that its flags or arguments name."""
        return not {"files", "query", "examples"}.isdisjoint(self.flags)

    @property
    def is_batch(self) -> bool:
        """Returns whether the mode reads many audio files."""
        return self.files or "summary" in self.flags


_WEIGHTS = ("weights", "workdir", "config")  # a run's weights are found by its workdir or config
_PROCESSES = ("coordinator_address", "num_processes", "process_id", "heartbeat_seconds")
_WINDOWS = ("aggregate", "window_seconds", "hop_seconds")
_TAGGING = ("write", "field", "policy", "mapping")
_PREDICTING = (*_WEIGHTS, "engine")
_EXPERIMENT = ("target", "check", "start_seconds", "seconds", "steps", "seed")
_UNKNOWN = ("unknown_below", "unfamiliar_below")
_TAGS = ("top_k", "threshold", *_UNKNOWN, "consistent", "merge_synonyms")

MODES: Mapping[str, Mode] = {
    "predict": Mode(
        commands.predict,
        "Predicts genres or tags of audio files of any length.",
        (
            *("files", "output", "resume", "describe", "taggram"),
            *(*_TAGS, *_WINDOWS, *_PREDICTING, "cluster", "summary"),
        ),
        (
            "predict song.mp3",
            "predict songs/ --weights=mtt_musicnn --output=tags.csv --resume",
            "predict songs/ --weights=gtzan,mtt_musicnn --output=both.csv --summary=summary.json",
            "predict songs/ --output=songs.csv --describe=tempo,key,loudness",
        ),
        files=True,
    ),
    "similar": Mode(
        commands.similar,
        "Finds the songs of a library that are most similar to given songs.",
        (
            *("query", "library", "index", "prune", "copies", "top_k", "similarity", "explain"),
            *("path_to", "exclude", "artist_gap", "output", *_PREDICTING, "summary"),
        ),
        (
            "similar song.mp3 --library=songs/",
            "similar song.mp3 --index=songs.npz --top_k=20 --output=s.m3u8",
            "similar song.mp3 --library=songs/ --similarity=embedding:1,tempo:0.5,key:0.2",
            "similar song.mp3 --explain=other.mp3",
            "similar song.mp3 --path_to=other.mp3 --library=songs/ --top_k=15 --output=path.m3u8",
        ),
        files=True,
    ),
    "organize": Mode(
        commands.organize,
        "Writes playlists, a report and, with --write, tags into the files of a library.",
        (
            *("files", "output", *_TAGGING, "moods", "describe", "undo"),
            *(*_TAGS, *_WINDOWS, *_PREDICTING, "summary"),
        ),
        (
            "organize songs/ --output=organized/",
            "organize songs/ --output=organized/ --write --describe=tempo,key,loudness",
            "organize --undo --output=organized/",
        ),
        files=True,
    ),
    "watch": Mode(
        commands.watch,
        "Organizes what is added to folders, until stopped; continues after a restart.",
        (
            *("files", "output", *_TAGGING, "moods", "describe"),
            *("poll_seconds", "settle_seconds"),
            *(*_TAGS, *_WINDOWS, *_PREDICTING),
        ),
        (
            "watch music/ --output=organized/",
            "watch music/ --output=organized/ --weights=mtt_musicnn --write",
            "watch music/ --output=organized/ --moods --describe=loudness --write",
        ),
        files=True,
    ),
    "fewshot": Mode(
        commands.fewshot,
        "Makes weights for your own genres or tags from a few labelled songs.",
        ("examples", "output", "library", "ask", "index", *_WEIGHTS, "summary"),
        (
            "fewshot --examples=songs/ --weights=mtt_musicnn --output=mine.safetensors",
            "fewshot --examples=calm.m3u8 --examples=loud.m3u8 --output=mine.safetensors",
            "fewshot --examples=songs/ --library=music/ --ask=10 --output=mine.safetensors",
        ),
        files=True,
        arguments="EXAMPLES",
    ),
    "serve": Mode(
        commands.serve,
        "Serves a local web page and a JSON API: tags over time, similar songs, explanations.",
        (
            *("host", "port", "token", "index", "predictions", "examples", "output", "write"),
            *("field", "policy", "upload_mb", "song_minutes", "job_seconds", *_WEIGHTS),
        ),
        (
            "serve",
            "serve songs/ --weights=gtzan,mtt_musicnn --index=songs.npz",
            "serve songs/ --weights=mtt_musicnn --write --output=organized/",
        ),
        files=True,
        arguments="LIBRARY",
    ),
    "duplicates": Mode(
        commands.duplicates,
        "Finds files that hold the same recording, also in other formats, levels and lengths.",
        ("files", "output", "summary"),
        ("duplicates songs/", "duplicates songs/ --output=copies.jsonl"),
        files=True,
    ),
    "explain": Mode(
        commands.explain,
        "Shows, and lets hear, which parts of a song the score of a class rests on.",
        (
            *("files", "output", "resume", "target", "method", "start_seconds"),
            *("window_seconds", "hop_seconds", *_WEIGHTS, "summary"),
        ),
        (
            "explain song.mp3 --target=jazz --output=explained/",
            "explain songs/ --weights=mtt_musicnn --method=lrp --output=explained/",
        ),
        files=True,
    ),
    "embed": Mode(
        commands.embed,
        "Writes an embedding per audio file.",
        (
            *("files", "output", "prune", "describe", "index", "paths"),
            *(*_PREDICTING, "cluster", "summary"),
        ),
        (
            "embed songs/ --output=songs.npz",
            "embed a.mp3 b.flac --weights=msd_vgg --output=v.npz",
            "embed songs/ --output=songs.npz --describe=tempo,key,loudness,tags",
            "embed --index=songs.npz --output=shared.parquet --describe=fingerprint",
        ),
        files=True,
    ),
    "overlap": Mode(
        commands.overlap,
        "Finds the songs that two libraries share, from embeddings, without their audio.",
        ("output", "top_k", "paths"),
        (
            "overlap mine.npz theirs.parquet",
            "overlap mine.npz theirs.parquet --output=overlap.jsonl",
            "overlap a.parquet b.parquet --output=both.parquet",
        ),
        files=True,
        arguments="LIBRARY LIBRARY",
    ),
    "style": Mode(
        commands.style,
        "Imposes the textures of one song on another, as sound: an experiment.",
        ("files", "style", "output", *_EXPERIMENT, *_WEIGHTS),
        (
            "style song.mp3 --style=other.mp3 --weights=mtt_musicnn --output=FOLDER",
            "style a.mp3 --style=b.mp3 --weights=runs/mine --check=msd_musicnn --output=FOLDER",
        ),
        files=True,
    ),
    "generate": Mode(
        commands.generate,
        "Changes a song, or noise, towards a class, as sound: an experiment.",
        ("files", "output", *_EXPERIMENT, *_WEIGHTS),
        (
            "generate --target=jazz --output=FOLDER --check=msd_musicnn",
            "generate song.mp3 --target=metal --output=FOLDER",
        ),
        files=True,
    ),
    "filters": Mode(
        commands.filters,
        "Shows and plays what the channels of a convolution respond to.",
        (
            *("files", "data_dir", "eval_split", "output", "layer", "channels", "top_k"),
            *(*_WEIGHTS, "summary"),
        ),
        (
            "filters songs/ --weights=runs/mine --output=FOLDER",
            "filters songs/ --weights=mtt_musicnn --layer=front_0 --channels=3,17 --output=FOLDER",
        ),
        files=True,
    ),
    "train": Mode(
        commands.train,
        "Prepares what is missing, trains, and evaluates the best checkpoint.",
        ("config", "data_dir", "workdir", "sweep", *_PROCESSES),
        (
            "train --config=gtzan --data_dir=FOLDER",
            "train --config=folder --data_dir=FOLDER --config.num_epochs=60 --workdir=runs/longer",
            "train --config=folder --data_dir=FOLDER --config.folds=5",
            "train --config=folder --data_dir=FOLDER --config.seeds=5 "
            "--sweep=learning_rate:1e-3,3e-4",
        ),
    ),
    "eval": Mode(
        commands.evaluate_weights,
        "Evaluates weights on a part of their dataset, or of another.",
        (
            *("data_dir", "eval_split", "output", "mapping", "exclude_unknown"),
            *("near_duplicates", *_WEIGHTS),
        ),
        (
            "eval --weights=runs/gtzan --data_dir=FOLDER",
            "eval --data_dir=FILE --eval_split=valid",
            "eval --weights=gtzan --config=folder --data_dir=FOLDER --eval_split=all",
            "eval --weights=runs/seed0,runs/seed1,runs/seed2 --data_dir=FOLDER",
        ),
    ),
    "report": Mode(
        commands.report,
        "Writes one HTML page about a run: scores, figures, clips with audio, reproduction.",
        ("workdir", "config", "data_dir", "output"),
        ("report --workdir=runs/gtzan", "report --workdir=runs/gtzan --output=gtzan.html"),
    ),
    "compare": Mode(
        commands.compare,
        "Compares runs on the same clips, with paired differences; writes one HTML page.",
        ("eval_split", "output"),
        ("compare runs/a runs/b", "compare runs/a runs/b --eval_split=valid --output=ab.html"),
        files=True,
        arguments="RUN RUN...",
    ),
    "figures": Mode(
        commands.figures,
        "Draws a dataset's classes, spectrograms, a network and a run, as .png and .svg.",
        ("config", "data_dir", "workdir", "output"),
        (
            "figures --config=mtat --data_dir=FOLDER --output=figures",
            "figures --workdir=runs/gtzan --data_dir=FOLDER",
            "figures --config=gtzan song.mp3 --output=figures",
        ),
        files=True,
    ),
    "robustness": Mode(
        commands.robustness,
        "Evaluates weights on noise, other pitch, tempo, loudness, bandwidth and bitrate.",
        ("data_dir", "eval_split", *_WEIGHTS),
        (
            "robustness --weights=gtzan --data_dir=FOLDER --eval_split=valid",
            "robustness --weights=mtt_musicnn --data_dir=FOLDER --eval_split=all",
        ),
    ),
    "audit": Mode(
        commands.audit,
        "Looks for what makes scores false: copies, shared artists, effects of order, ...",
        ("config", "data_dir", "workdir", "weights", "files", "output"),
        (
            "audit --config=gtzan --data_dir=FOLDER",
            "audit --workdir=runs/gtzan --data_dir=FOLDER --output=audit.json",
            "audit features.npz others.csv",
        ),
        files=True,
    ),
    "prepare": Mode(
        commands.prepare,
        "Turns the clips of a dataset into stored spectrograms, once.",
        ("config", "data_dir", "cluster", "summary"),
        (
            "prepare --config=mtat --data_dir=FOLDER",
            "prepare --config=gtzan --data_dir=FOLDER --config.prepare_workers=4",
        ),
    ),
    "download": Mode(
        commands.download,
        "Downloads a dataset that is openly hosted, checks it, and unpacks it.",
        ("data_dir", "mirror"),
        (
            "download mtat --data_dir=FOLDER",
            "download fma_small --data_dir=FOLDER",
            "download gtzan --data_dir=FOLDER --mirror=https://example.org/copies",
        ),
        files=True,
        arguments="DATASET",
    ),
    "calibrate": Mode(
        commands.calibrate,
        "Fits a temperature on the validation part and writes the calibrated weights.",
        ("data_dir", "output", "dtype", *_WEIGHTS),
        (
            "calibrate --weights=runs/gtzan --data_dir=FOLDER --output=mine.safetensors",
            "calibrate --weights=a --weights=b --data_dir=FOLDER --output=ensemble.safetensors",
        ),
    ),
    "export": Mode(
        commands.export,
        "Writes the weights of a run as one .safetensors file, or as a graph of other programs.",
        ("output", "dtype", *_WEIGHTS),
        (
            "export --weights=runs/gtzan --output=mine.safetensors",
            "export --workdir=runs/gtzan --output=small.safetensors --dtype=float16",
            "export --weights=mtt_musicnn --output=mtt_musicnn.onnx",
        ),
    ),
    "import": Mode(
        commands.import_weights,
        "Imports weights that others published.",
        ("source", "wheel", "folder"),
        (
            "import --source=musicnn",
            "import --source=yamnet --folder=FOLDER",
            "import --source=musicnn --wheel=musicnn-0.1.0-py3-none-any.whl",
        ),
    ),
    "demo": Mode(
        commands.demo,
        "Composes synthetic music, trains on it and predicts held-out pieces.",
        ("config", "data_dir", "workdir"),
        ("demo", "demo --config.num_epochs=10 --workdir=runs/demo"),
        default_config="synthetic",
    ),
    "doctor": Mode(
        commands.doctor,
        "Checks the machine, weights, a dataset with its store, a workdir; states what to do.",
        ("weights", "config", "data_dir", "workdir"),
        (
            "doctor",
            "doctor --config=gtzan --data_dir=FOLDER --workdir=runs/gtzan",
        ),
    ),
}
