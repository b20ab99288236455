"""Nothing on the command line or in a config is ignored: it is used, or refused in one line."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

from deepgenre.data import prepare
from deepgenre.errors import UserError
from deepgenre.files import updating
from deepgenre.training import train

GTZAN = f"--config={tiny.ROOT / 'configs/gtzan.py'}"
MINE = """
from deepgenre import config as defaults
from deepgenre.config import Config


def get_config() -> Config:
    config = defaults.get_config()
    {line}
    return config
"""


@pytest.fixture
def run(monkeypatch, capfd, tmp_path):
    """Runs a command in an empty folder; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = tiny.call(monkeypatch, *arguments)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def error_line(run):
    """Runs a command that must fail; returns the last line of its errors, its message."""

    def line(*arguments: str | Path) -> str:
        code, _, errors = run(*arguments)
        assert code == 1, errors
        last = errors.splitlines()[-1]
        assert last.startswith("deepgenre: ")
        return last

    return line


@pytest.fixture
def plans(monkeypatch):
    """The plans of the trainings that are started; they stop before the first step."""
    made = []

    def stop(plan, *arguments: object) -> None:
        made.append(plan)
        raise UserError("stopped here")

    monkeypatch.setattr(train, "fit", stop)
    return made


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("config.learning_rte = 1e-3", "mine.py: has no field 'learning_rte'; Did you mean"),
        ("config.augment.gain_bd = 1.0", 'Did you mean "gain_db"'),
        ("config.num_epochs = 'many'", "num_epochs"),
        ("config.unlock(); config.learning_rte = 1.0", "'learning_rte' is unknown; did you mean"),
        ("import ml_collections; config = ml_collections.ConfigDict()", "is missing; begin with"),
    ],
)
def test_mistakes_in_a_config_file(line, reason, error_line, tmp_path):
    (tmp_path / "mine.py").write_text(MINE.format(line=line))
    assert reason in error_line("train", "--config=mine.py", f"--data_dir={tmp_path}")


@pytest.mark.parametrize("mode", ["train", "prepare"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("dataset=gtzn", "config.dataset: 'gtzn' is unknown; did you mean 'gtzan'?"),
        ("split=fault_fltered", "config.split: 'fault_fltered' is unknown; did you mean"),
        ("model=paper1d", "config.model: 'paper1d' is unknown; did you mean 'paper_1d"),
        ("network.hidden_units=(3,)", "config.network of paper_1d: 'hidden_units' is unknown"),
        ("spectrogram_scale=bd", "config.spectrogram_scale: 'bd' is unknown; did you mean 'db'?"),
    ],
)
def test_names_are_checked_before_data_is_read(mode, change, reason, error_line, monkeypatch):
    monkeypatch.setattr(prepare, "read_dataset", lambda *_: pytest.fail("data is read"))
    assert reason in error_line(mode, GTZAN, f"--config.{change}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("schedule=cosin", "config.schedule: 'cosin' is unknown; did you mean 'cosine'?"),
        ("optimizer=adamw", "config.optimizer: 'adamw' is unknown; did you mean 'adam'?"),
        ("select_by=roc_auc", "config.select_by: 'roc_auc' is unknown; "),
        ("loss=focl", "config.loss: 'focl' is unknown; did you mean 'focal'?"),
        ("loss=asymmetric", "config.loss: 'asymmetric' is for tags; use 'focal' for genres"),
        ("asymmetric_gamma_absent=-1", "config.asymmetric_gamma_absent: must be 0 or more"),
        ("class_weights=balancd", "config.class_weights: 'balancd' is unknown; did you mean"),
        ("sampling=balancd", "config.sampling: 'balancd' is unknown; did you mean 'balanced'?"),
        ("init_from=gtzn", "'gtzn' is unknown; did you mean 'gtzan'?"),
    ],
)
def test_names_of_training_are_checked_before_data_is_read(
    change, reason, error_line, monkeypatch, tmp_path
):
    monkeypatch.setattr(prepare, "read_dataset", lambda *_: pytest.fail("data is read"))
    assert reason in error_line("train", GTZAN, f"--config.{change}")
    assert not (tmp_path / "runs").exists()


def test_config_of_a_run_is_a_config(run, trained, tones, tmp_path):
    record = trained / "config.json"
    code, output, errors = run("train", f"--config={record}", f"--data_dir={tones}")
    assert code == 0, errors
    assert "already trained to step 6; raise --config.num_epochs" in errors
    assert json.loads(output)["last_epoch"]["step"] == 6
    assert not (tmp_path / "runs").exists()  # the workdir is that of the run
    changed = ("--config.seed=3", "--config.network.dropout=0.1")
    code, _, errors = run("train", f"--config={record}", f"--data_dir={tones}", *changed)
    assert code == 1
    assert "config.network.dropout: None -> 0.1; config.seed: 0 -> 3" in errors


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "'mine.json' does not exist; give the config.json of a run"),
        ("{", "mine.json: is not the config.json of a run (JSONDecodeError"),
        ("{}", "mine.json: is not the config.json of a run (KeyError"),
        ('{"config": {"learning_rte": 1}}', "'learning_rte' is unknown; did you mean"),
        ('{"config": {"learning_rate": "x"}}', "learning_rate"),
    ],
)
def test_files_that_are_no_config_of_a_run(content, reason, error_line, tmp_path):
    if content is not None:
        (tmp_path / "mine.json").write_text(content)
    assert reason in error_line("train", "--config=mine.json", "--data_dir=x")


def test_flag_files_are_read_as_arguments(error_line, tmp_path):
    lines = "prepare\n# a comment\n--config=gtzan\n--data_dir=nowhere\n"
    (tmp_path / "flags.txt").write_text(lines)
    assert "nowhere: contains no GTZAN genre folder" in error_line("--flagfile=flags.txt")
    (tmp_path / "flags.txt").write_text("--config.num_epochs=0\n")
    line = error_line("prepare", "--flagfile=flags.txt", "--config=gtzan", "--data_dir=nowhere")
    assert "config.num_epochs: must be 1 or more, is 0" in line


@pytest.mark.parametrize("value", ["MISSING", "binary", "."])
def test_flag_files_that_cannot_be_read(value, tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    process = tiny.start("predict", f"--flagfile={value}", cwd=tmp_path)
    code, _, errors = tiny.finish(process)  # a traceback fails there
    assert code == 1
    (line,) = errors.splitlines()
    assert line.startswith("deepgenre: --flagfile: ")


@pytest.mark.parametrize("flag", ["weights", "output", "summary", "taggram", "files"])
@pytest.mark.parametrize("value", ["", " "])
def test_empty_values_are_refused(flag, value, error_line):
    assert f"flag --{flag}={value}: is empty" in error_line("predict", f"--{flag}={value}", "x.wav")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--output=folder.csv"], "--output: folder.csv is a folder; give the name of a file"),
        (["--output=file/x.csv"], "--output: file/x.csv cannot be created, as file is a file"),
        (["--summary=folder.csv"], "--summary: folder.csv is a folder"),
        (["--summary=file/x.json"], "--summary: file/x.json cannot be created, as file is a file"),
        (["--taggram=file"], "--taggram: file is a file; give a folder"),
        (["--window_seconds=0.001"], "--window_seconds: 0.001 s is less than a frame"),
        (["--hop_seconds=0.001"], "--hop_seconds: 0.001 s is less than a frame"),
    ],
)
def test_places_and_numbers_are_refused_before_a_song_is_read(
    arguments, reason, error_line, tones, trained, tmp_path
):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "file").touch()
    song = next(tones.rglob("*.wav"))
    assert reason in error_line("predict", f"--weights={trained}", *arguments, song)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("embed", ".npz"),
        ("export", ".safetensors"),
        ("similar", ".jsonl"),
        ("duplicates", ".jsonl"),
    ],
)
def test_folders_in_place_of_files(mode, suffix, error_line, tones, trained, tmp_path):
    (tmp_path / f"folder{suffix}").mkdir()
    weights = [] if mode == "duplicates" else [f"--weights={trained}"]
    songs = [] if mode == "export" else [next(tones.rglob("*.wav"))]
    library = [f"--library={tones}"] if mode == "similar" else []
    line = error_line(mode, *weights, *library, f"--output=folder{suffix}", *songs)
    assert f"--output: folder{suffix} is a folder; give the name of a file" in line


def test_second_training_in_a_workdir_is_refused(error_line, tones, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    with updating(workdir):
        line = error_line(*tiny.settings(tones, f"--workdir={workdir}"))
    assert (
        f"{workdir}: is being updated by process {os.getpid()} on {socket.gethostname()}; "
        "wait until it ends, or use another --workdir"
    ) in line
    assert list(workdir.iterdir()) == []


def test_killed_training_leaves_no_lock_that_counts(error_line, tones, tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from deepgenre.files import updating\n"
        "with updating(Path(sys.argv[1])):\n"
        "    print('ready', flush=True); time.sleep(60)"
    )
    workdir = tmp_path / "run"
    workdir.mkdir()
    command = [sys.executable, "-c", code, workdir]
    environment = os.environ | {"PYTHONPATH": str(tiny.ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    settings = tiny.settings(tones, f"--workdir={workdir}", "--config.select_by=loss")
    assert f"is being updated by process {process.pid} on " in error_line(*settings)
    process.kill()
    process.wait()
    assert (workdir / ".lock").exists()
    line = error_line(*settings, "--config.split=as_given")
    assert "the data defines no parts" in line  # it began
    assert not workdir.exists()


@pytest.fixture
def spectrogram_folder(tmp_path) -> Path:
    """A folder of *synthetic* .npy clips of 387 frames, 16 bands, three genres."""
    rng = np.random.default_rng(0)
    for genre in ("a", "b", "c"):
        (tmp_path / "mels" / genre).mkdir(parents=True)
        for number in range(8):
            levels = rng.integers(0, 255, (16, 387)).astype(np.uint8)
            np.save(tmp_path / "mels" / genre / f"{number}.npy", levels)
    return tmp_path / "mels"


BANDS = ("--config.frontend.n_mels=16", "--config.frontend.n_mfcc=8")


@pytest.mark.parametrize(
    ("flags", "sidecar", "outcome"),
    [
        ([], None, "is a spectrogram, whose hop is not known; give --config.clip_seconds"),
        (["--config.clip_seconds=30"], None, "hop of 1712 samples at 22050 Hz"),
        (["--config.frontend.hop_length=512"], None, "hop of 512 samples at 22050 Hz"),
        ([], '{"hop_length": 1024}', "hop of 1024 samples at 22050 Hz"),
        ([], '{"hop_length": 300, "sample_rate_hz": 16000}', "hop of 300 samples at 16000 Hz"),
    ],
)
def test_hop_of_spectrograms_is_stated_or_asked_for(
    flags, sidecar, outcome, run, spectrogram_folder, plans
):
    if sidecar:
        (spectrogram_folder / "spectrograms.json").write_text(sidecar)
    where = f"--data_dir={spectrogram_folder}"
    code, _, errors = run("train", "--config=folder", *BANDS, where, *flags)
    assert code == 1
    assert outcome in errors


def test_length_of_clips_is_refused_where_it_cannot_be(error_line, tones, spectrogram_folder):
    line = error_line(*tiny.settings(tones, "--config.clip_seconds=30"))
    assert "config.clip_seconds: is for precomputed spectrograms, and the clips are audio" in line
    np.save(spectrogram_folder / "a" / "0.npy", np.zeros((16, 100), np.uint8))
    where = (f"--data_dir={spectrogram_folder}", "--config.clip_seconds=30")
    line = error_line("train", "--config=folder", *BANDS, *where)
    assert "the clips have 100 to 387 frames, so that no length is that of each" in line


def test_split_column_is_used_and_named(run, tones, tmp_path, plans):
    clips = sorted(tones.rglob("*.wav"))
    parts = ["training", "training", "val", "val", "testing", "testing", "", "training"] * 3
    rows = [f"{c},{c.parent.name},{part}" for c, part in zip(clips, parts, strict=True)]
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join(["path,label,split", *rows]))
    settings = [*tiny.settings(tones), f"--data_dir={manifest}"]
    _, _, errors = run(*settings)
    assert "split: as_given by the data; 3 clips are in no part" in errors
    sizes = {name: len(rows) for name, rows in plans[-1].parts.items()}
    assert sizes == {"train": 9, "valid": 6, "test": 6}
    assert plans[-1].spec.config["split"] == "as_given"
    _, _, errors = run(*settings, "--config.split=group_random")
    assert "split: group_random; the parts that the data states are not used\n" in errors
    assert plans[-1].spec.config["split"] == "group_random"
    manifest.write_text(manifest.read_text().replace(",val", ",train"))
    _, _, errors = run(*settings)
    assert "'as_given' has no part 'valid' on this data, only " in errors
    assert "choose another split or name clips 'valid' in the data" in errors


def test_class_with_one_clip_is_warned_of(run, tmp_path, plans):
    music = tiny.compose(tmp_path / "music", clips_per_genre=4, seconds=0.2)
    (music / "Low").mkdir()
    (music / "low" / "000.wav").rename(music / "Low" / "000.wav")
    code, _, errors = run("prepare", "--config=folder", f"--data_dir={music}")
    assert code == 0
    assert "classes: 4: high 4, mid 4, low 3, Low 1\n" in errors
    assert "classes that differ in case, spaces or hyphens only: 'Low', 'low'; " in errors
    _, _, in_training = run(*tiny.settings(music))
    for told in (errors, in_training):
        assert "part 'test' has fewer than 2 clips of " in told
        assert "'Low' (0)" in told


def test_prepare_says_why_a_split_cannot_be_made(run, tmp_path):
    music = tiny.compose(tmp_path / "music", clips_per_genre=1, seconds=0.2)
    code, _, errors = run("prepare", "--config=folder", "--config.folds=9", "--config.fold=0",
                          f"--data_dir={music}")  # fmt: skip
    assert code == 0
    assert "training with this config is not possible yet: folds: 9 folds need as many" in errors


def test_windows_that_a_network_does_not_accept_are_stated(run, tones, tmp_path, plans):
    _, _, errors = run(*tiny.settings(tones, f"--workdir={tmp_path / 'run'}"))
    assert (
        "config.window_seconds: 1.5 s is less than paper_1d_norm accepts; windows are 1.73 s long"
    ) in errors
