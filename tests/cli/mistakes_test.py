"""One-line messages for mistakes of users; an exception here would be a traceback there."""

from pathlib import Path

import pytest
import tiny

FOLDER = f"--config={tiny.ROOT / 'configs/folder.py'}"
GTZAN = f"--config={tiny.ROOT / 'configs/gtzan.py'}"
MTAT = f"--config={tiny.ROOT / 'configs/mtat.py'}"


@pytest.fixture
def error_line(monkeypatch, capfd, tmp_path):
    """Runs a command that must fail; returns its one-line message."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> str:
        assert tiny.call(monkeypatch, *arguments) == 1
        captured = capfd.readouterr()
        assert captured.out == ""
        assert captured.err.count("deepgenre: ") == 1
        last = captured.err.splitlines()[-1]
        assert last.startswith("deepgenre: ")
        return last

    return run


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--config=configs/gtzn.py"], "'configs/gtzn.py' does not exist"),
        (["--config=."], "--config: '.' is unknown"),
        ([GTZAN, "--config.num_epoch=3"], "has no field 'num_epoch'; Did you mean \"num_epochs\""),
        ([GTZAN, "--config.network.droput=0.1"], "has no field 'droput'; Did you mean \"dropout\""),
        ([GTZAN, "--config.num_epochs=many"], "--config.num_epochs=many: invalid literal"),
        ([GTZAN, "--config.network=5"], "--config.network=5: Failed to parse"),
        ([f"{FOLDER}:genres"], "the task is 'genre' or 'tags'"),
        ([f"{GTZAN}:genres"], "takes 0 positional arguments but 1 was given"),
        ([GTZAN, "--workdr=x"], "'workdr'. Did you mean: workdir"),
        ([GTZAN, "--mode=evaluate"], "did you mean 'eval'?"),
        ([GTZAN, "music"], "mode: 'music' is unknown"),
        ([GTZAN, "--data_dir=nowhere.npz"], "nowhere.npz: no such file"),
        ([MTAT, "--data_dir=nowhere"], "https://mirg.city.ac.uk/datasets/magnatagatune/"),
        ([FOLDER, "--data_dir=nowhere"], "'nowhere' does not exist: put music there as"),
        ([FOLDER, "--config.num_epochs=0"], "config.num_epochs: must be 1 or more, is 0"),
        ([FOLDER, "--config.eval_every_epochs=0"], "config.eval_every_epochs: must be 1 or more"),
        ([FOLDER, "--config.window_seconds=nan"], "config.window_seconds: must be 0 to"),
        ([FOLDER, "--config.network.dropout=1.5"], "config.network.dropout: must be 0 to 1"),
        ([FOLDER, "--config.seed=-1"], "config.seed: must be 0 to"),
        ([FOLDER, "--config.dtype=bfloat"], "did you mean 'bfloat16'?"),
        (["--mode=eval", "--weights=runs/none"], "runs/none: no such weights"),
    ],
)
def test_mistakes_without_data(error_line, arguments, reason):
    assert reason in error_line(*arguments)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("split=as_given", "the data defines no parts"),
        ("frontend.kind=mel", "frontend.kind: 'mel' is unknown; did you mean 'log_mel'?"),
        ("frontend.dynamic_range_db=nan", "frontend.dynamic_range_db: must be above 0"),
        ("optimizer=adamw", "config.optimizer: 'adamw' is unknown; did you mean 'adam'?"),
        ("augment.num_masks=-1", "config.augment.num_masks: must be 0 or more"),
        ("init_from=runs/none", "runs/none: no such weights"),
        ("select_by=acuracy", "config.select_by: 'acuracy' is unknown; did you mean 'accuracy'?"),
    ],
)
def test_mistakes_with_data(error_line, tones, tmp_path, change, reason):
    arguments = tiny.settings(tones, f"--workdir={tmp_path / 'run'}", f"--config.{change}")
    assert reason in error_line(*arguments)
    log = tmp_path / "run" / "metrics.jsonl"
    assert not log.exists() or not log.read_text()  # reported before the first step


def test_tags_for_which_the_metric_is_undefined(error_line, tones, tmp_path):
    clips = sorted(tones.rglob("*.wav"))
    rows = [f"{clip},{'all|one' if clip == clips[0] else 'all'}" for clip in clips]
    (tmp_path / "tags.csv").write_text("\n".join(["path,labels", *rows]))
    _, *settings = tiny.settings(tones, f"--workdir={tmp_path / 'run'}")
    line = error_line(f"{FOLDER}:tags", *settings, f"--data_dir={tmp_path / 'tags.csv'}")
    assert "roc_auc is undefined on these 4 validation clips" in line


def test_workdir_of_another_run(error_line, tones, trained):
    line = error_line(*tiny.settings(tones, f"--workdir={trained}", "--config.seed=4"))
    assert "--workdir holds a run with other settings" in line
    assert "config.seed: 0 -> 4" in line


def test_workdir_that_is_a_file(error_line, tones, tmp_path):
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in error_line(*tiny.settings(tones, f"--workdir={tmp_path}/file"))


def test_weights_of_other_classes(error_line, trained, tmp_path):
    music = tiny.compose(tmp_path / "music", clips_per_genre=1, seconds=0.1)
    (music / "low").rename(music / "deep")
    line = error_line("--mode=eval", f"--weights={trained}", f"--data_dir={music}")
    assert "label 'deep' is not among the classes of these weights: high, low, mid" in line


def test_too_few_clips_to_split(error_line, tmp_path):
    music = tiny.compose(tmp_path / "music", clips_per_genre=1, seconds=0.1)
    (music / "low" / "000.wav").unlink()
    line = error_line(*tiny.settings(music, f"--workdir={tmp_path / 'run'}"))
    assert "'group_random' needs 3 groups" in line


def test_too_many_unreadable_clips(monkeypatch, capfd, tmp_path):
    music = tiny.compose(tmp_path / "music", clips_per_genre=4, seconds=0.1)
    for number in (0, 1):
        (music / "low" / f"00{number}.wav").write_text("no music")
    assert tiny.call(monkeypatch, *tiny.settings(music, f"--workdir={tmp_path / 'run'}")) == 1
    lines = capfd.readouterr().err.splitlines()
    assert sum(line.startswith("skipped: ") for line in lines) == 2
    assert "2 of 12 clips could not be read; repair them" in lines[-1]
