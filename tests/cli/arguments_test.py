"""Modes, help and hints of the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
import tiny

import deepgenre
from deepgenre.cli import configs
from deepgenre.cli.modes import MODES


def run_cli(monkeypatch, capsys, *arguments: str | Path) -> tuple[int, str, str]:
    """Returns the exit code, standard output and standard error of the command."""
    capsys.readouterr()
    code = tiny.call(monkeypatch, *arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_lists_every_mode_in_one_line(monkeypatch, capsys):
    code, output, _ = run_cli(monkeypatch, capsys, "--help")
    assert code == 0
    for name, mode in MODES.items():
        assert f"  {name} " in output
        assert mode.summary in output
    assert "--top_k" not in output


@pytest.mark.parametrize("name", list(MODES))
@pytest.mark.parametrize("spelling", ["{} --help", "--help {}", "--mode={} --help", "{} -h"])
def test_help_of_a_mode_shows_its_flags_and_examples(name, spelling, monkeypatch, capsys):
    code, output, _ = run_cli(monkeypatch, capsys, *spelling.format(name).split())
    assert code == 0
    assert len(MODES[name].examples) >= 2
    for example in MODES[name].examples:
        assert f"deepgenre {example}" in output
    for flag in (*MODES[name].flags, "quiet"):
        assert f"  --{flag}" in output
    assert ("--eval_split" in output) == ("eval_split" in MODES[name].flags)


def test_version(monkeypatch, capsys):
    assert run_cli(monkeypatch, capsys, "--version")[1] == f"deepgenre {deepgenre.__version__}\n"


def test_no_arguments_print_the_modes(monkeypatch, capsys):
    code, output, _ = run_cli(monkeypatch, capsys)
    assert code == 2
    assert "predict" in output


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["song.mp3"], "no mode is given; to predict its genre: deepgenre predict song.mp3"),
        (["songs/rock"], "deepgenre predict songs/rock"),
        (["predct", "song.mp3"], "did you mean 'predict'?"),
        (["--mode=predct", "song.mp3"], "--mode: 'predct' is unknown; did you mean 'predict'?"),
        (["--output=x.csv"], "no mode is given; e.g. deepgenre predict song.mp3"),
        (["train", "song.mp3"], "'song.mp3': mode train takes no files, only predict, similar"),
        (["predict", "x.wav", "--eval_split=test"], "--eval_split: mode predict does not use it"),
        (["organize", "x.wav", "--taggram=y"], "--taggram: mode organize does not use it"),
        (["--config=gtzn"], "--config: 'gtzn' is unknown; did you mean 'gtzan'?"),
        (["train", "--config", "mine.py"], "--config: 'mine.py' does not exist; give a config"),
        (["train", "--config=runs/gtzan.py"], "--config: 'runs/gtzan.py' does not exist"),
        (["train", "--config.num_epochs=1"], "give the config as well, e.g. --config=gtzan"),
        (["train", "--config=gtzan", "--num_processes=0"], "--num_processes: must be 1 or more"),
        (["train", "--config=syntax.py"], "--config=syntax.py: SyntaxError: "),
        (["train", "--config=raises.py"], "--config=raises.py: ZeroDivisionError: "),
        (["train", "--config=wrong.py"], "--config: its get_config() must return the config"),
    ],
)
def test_wrong_arguments_get_a_hint(arguments, hint, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "syntax.py").write_text("def get_config(:")
    (tmp_path / "raises.py").write_text("1 / 0")
    (tmp_path / "wrong.py").write_text("def get_config():\n    return 3")
    code, _, errors = run_cli(monkeypatch, capsys, *arguments)
    assert code == 1
    (line,) = errors.strip().splitlines()
    assert line.startswith("deepgenre: ")
    assert hint in line


def test_first_argument_equals_mode_flag(monkeypatch, capsys, trained, tones):
    song = next(tones.rglob("*.wav"))
    flag = run_cli(monkeypatch, capsys, "--mode=predict", f"--weights={trained}", song)
    first = run_cli(monkeypatch, capsys, "predict", f"--weights={trained}", song)
    files = run_cli(monkeypatch, capsys, "predict", f"--weights={trained}", f"--files={song}")
    assert flag[0] == first[0] == files[0] == 0
    assert flag[1] == first[1] == files[1] != ""


def test_quiet_leaves_results_and_failures(monkeypatch, capsys, trained, tones, tmp_path):
    song, bad = next(tones.rglob("*.wav")), tmp_path / "bad.wav"
    bad.write_bytes(b"not audio")
    arguments = ("predict", f"--weights={trained}", f"--output={tmp_path / 'o.csv'}", song, bad)
    loud = run_cli(monkeypatch, capsys, *arguments)
    quiet = run_cli(monkeypatch, capsys, *arguments, "--quiet")
    assert loud[0] == quiet[0] == 1
    assert loud[1] == quiet[1] != ""
    assert "wrote" in loud[2]
    assert "wrote" not in quiet[2]
    assert str(bad) in quiet[2]


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("gtzan", "gtzan.py"),
        ("folder:tags", "folder.py:tags"),
        ("configs/gtzan.py", "gtzan.py"),
        ("elsewhere/configs/mtat.py", "mtat.py"),
    ],
)
def test_packaged_configs_are_found_by_name_from_any_folder(value, path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert configs.resolve(value) == str(tiny.ROOT / "configs" / path)


def test_an_existing_config_file_is_taken_before_a_packaged_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "gtzan.py").touch()
    assert configs.resolve("configs/gtzan.py") == "configs/gtzan.py"
    assert configs.resolve("gtzan") == str(tiny.ROOT / "configs" / "gtzan.py")


def test_a_file_named_like_a_config_is_not_executed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gtzan").write_text("raise SystemExit")
    assert configs.resolve("gtzan") == str(tiny.ROOT / "configs" / "gtzan.py")


def test_overrides_may_precede_the_config(monkeypatch, capsys, tmp_path):
    missing = tmp_path / "missing"
    flags = ("--config.num_epochs=1", "--config=gtzan", f"--data_dir={missing}")
    _, _, errors = run_cli(monkeypatch, capsys, "train", *flags)
    assert str(missing) in errors


def test_arguments_after_two_dashes_are_files(monkeypatch, capsys):
    _, output, errors = run_cli(monkeypatch, capsys, "predict", "--", "--help")
    assert not output
    assert "'--help' does not exist" in errors


def test_help_for_a_reader_that_closes_early_is_no_traceback():
    command = f"{sys.executable} -u -m deepgenre.main predict --help | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=tiny.ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("Usage: deepgenre predict")
    assert not done.stderr
