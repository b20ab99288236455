"""The tagger as a transformer of scikit-learn."""

import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import deepgenre
from deepgenre.errors import UserError

# Checks of scikit-learn that do not call `fit` with numbers, where this estimator takes paths.
CHECKS = (
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
)


@pytest.fixture(scope="module")
def tagger(trained):
    return deepgenre.Tagger(str(trained))


@pytest.fixture(scope="module")
def songs(tones):
    return [str(path) for path in sorted(tones.rglob("*.wav"))]


def genres(songs) -> list[str]:
    return [Path(song).parent.name for song in songs]


def test_rows_are_the_embeddings_and_scores_of_single_calls(tagger, songs, trained):
    rows = tagger.fit_transform(songs[:3])
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows[1], tagger.embed(songs[1]), rtol=1e-4, atol=1e-5)
    scores = deepgenre.Tagger(trained, output="scores")
    row = scores.fit(songs[:1]).transform(songs[:1])[0]
    assert dict(zip(scores.get_feature_names_out(), row, strict=True)) == pytest.approx(
        tagger(songs[0]), abs=1e-5
    )
    assert rows.shape[1] == len(tagger.get_feature_names_out())


def test_pipeline_learns_and_is_searched_and_pickled(tagger, songs, tmp_path):
    pipeline = make_pipeline(tagger, StandardScaler(), LogisticRegression(C=0.1))
    search = GridSearchCV(
        pipeline,
        {"tagger__output": ["scores", "embeddings"]},
        cv=2,
        error_score="raise",  # pyright: ignore[reportArgumentType]
    )
    search.fit(songs, genres(songs))
    assert search.best_score_ > 0.8  # the weights are of these classes
    joblib.dump(search.best_estimator_, tmp_path / "pipeline.joblib")
    loaded = joblib.load(tmp_path / "pipeline.joblib")
    assert list(loaded.predict(songs)) == list(search.predict(songs))


def test_pickle_contains_the_weights(trained, songs, tmp_path):
    moved = tmp_path / "moved"
    moved.symlink_to(trained)
    tagger = deepgenre.Tagger(moved).fit(songs)
    expected = tagger.transform(songs[:1])
    content = pickle.dumps(tagger)
    moved.unlink()
    np.testing.assert_allclose(pickle.loads(content).transform(songs[:1]), expected, atol=1e-6)


@pytest.mark.parametrize("name", CHECKS)
def test_estimator_has_the_interface_of_scikit_learn(name):
    getattr(estimator_checks, name)("Tagger", deepgenre.Tagger())


def test_all_checks_that_apply_to_paths_pass():
    with pytest.warns(match="requires input"):
        estimator_checks.check_estimator(deepgenre.Tagger())


def test_clone_and_parameters(tagger, trained):
    copy = clone(tagger.set_params(on_error="nan"))
    assert isinstance(copy, deepgenre.Tagger)
    assert copy.get_params() == {"weights": str(trained), "output": "embeddings", "on_error": "nan"}
    tagger.set_params(on_error="raise")
    assert tagger.classes == ("high", "low", "mid")
    tagger.set_params(weights="gtzan")  # other weights are loaded where they are used
    assert "blues" in tagger.classes
    tagger.set_params(weights=str(trained))
    assert "blues" not in tagger.classes


def test_columns_of_tables_are_accepted(tagger, songs):
    expected = tagger.transform(songs[:2])
    frame = pandas.DataFrame({"song": songs[:2], "other": [1, 2]})
    for given in (
        np.array(songs[:2]),
        [Path(song) for song in songs[:2]],
        frame.song,
        frame[["song"]],
    ):
        np.testing.assert_array_equal(tagger.transform(given), expected)
    both = ColumnTransformer([("audio", tagger, ["song"])], remainder="passthrough")
    assert both.fit_transform(frame).shape == (2, expected.shape[1] + 1)
    copy: Any = clone(tagger)
    named = copy.set_output(transform="pandas").fit_transform(frame.song)
    assert list(named.columns[:2]) == ["embedding_0", "embedding_1"]
    assert list(named.index) == [0, 1]


def test_files_that_cannot_be_read_are_errors_or_rows_of_nan(tagger, songs, tmp_path, capsys):
    broken = tmp_path / "broken.wav"
    broken.write_text("not music")
    given = [songs[0], str(broken), songs[1]]
    with pytest.raises(UserError, match=r"broken\.wav"):
        tagger.transform(given)
    for output in ("embeddings", "scores"):
        lenient = clone(tagger).set_params(on_error="nan", output=output)
        rows = lenient.transform(given)
        assert list(np.isnan(rows).all(axis=1)) == [False, True, False]
    assert "broken.wav" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("a.wav", "give several paths, e.g. a list, not str"),
        ([], r"has shape \(0,\)"),
        (np.zeros((3, 2)), r"has shape \(3, 2\)"),
        (["a.wav", 3.5], "row 1 is float; give paths"),
    ],
)
def test_what_is_no_list_of_paths_is_named(tagger, given, reason):
    with pytest.raises(UserError, match=reason):
        tagger.fit(given)


def test_wrong_parameters_are_named_by_fit(songs):
    with pytest.raises(UserError, match="output: 'embedding' is unknown; did you mean"):
        deepgenre.Tagger(output="embedding").fit(songs)
    with pytest.raises(UserError, match="gtzn"):
        deepgenre.Tagger("gtzn").fit(songs)
