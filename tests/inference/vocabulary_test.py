"""Synonyms: each class has one tag, and the score of a tag is the highest of its classes."""

import collections

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from deepgenre.inference import vocabulary

# The classes of mtt_musicnn and mtt_vgg, then those of msd_musicnn and msd_vgg.
MAGNATAGATUNE = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast",
    "piano", "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male",
    "singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman",
    "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir", "voice",
    "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello", "no voice", "weird",
    "country", "metal", "female voice", "choral",
)  # fmt: skip
MILLION_SONG = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s",
    "alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock",
    "soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental",
    "punk", "oldies", "blues", "hard rock", "ambient", "acoustic", "experimental",
    "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy",
    "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop",
    "sad", "House", "happy",
)  # fmt: skip


def test_no_name_belongs_to_two_tags():
    names = [name for tag, same in vocabulary.SYNONYMS.items() for name in (tag, *same)]
    assert not [name for name, count in collections.Counter(names).items() if count > 1]
    assert all(name == name.lower() for name in names)


def test_tags_of_magnatagatune_have_no_synonyms():
    _, tags = vocabulary.merge(np.zeros(50), MAGNATAGATUNE)
    assert len(MAGNATAGATUNE) == 50
    assert len(tags) == len({*tags}) == 36
    groups = collections.defaultdict(set)
    for name in MAGNATAGATUNE:
        groups[vocabulary.canonical(name)].add(name)
    assert {tag: names for tag, names in groups.items() if names != {tag}} == {
        "classical": {"classical", "classic"},
        "beat": {"beat", "beats"},
        "choir": {"choir", "choral"},
        "vocals": {"vocal", "vocals", "voice", "singing"},
        "instrumental": {"no vocal", "no vocals", "no voice"},
        "female vocals": {"female", "female vocal", "female voice", "woman"},
        "male vocals": {"male", "male vocal", "male voice", "man"},
    }


def test_tags_of_the_million_song_dataset_have_no_synonyms():
    _, tags = vocabulary.merge(np.zeros(50), MILLION_SONG)
    assert {*MILLION_SONG} - {*tags} == {
        "female vocalists", "female vocalist", "male vocalists", "electronica", "electro", "chill",
        "heavy metal", "Hip-Hop", "rnb",
    }  # fmt: skip
    assert {*tags} - {*MILLION_SONG} == {"female vocals", "male vocals", "hip hop", "r&b"}
    assert {"classic rock", "hard rock", "indie rock", "indie pop", "Mellow", "House"} <= {*tags}


@given(hnp.arrays(np.float32, (3, 50), elements=st.floats(0, 1, width=32)))
def test_score_of_a_tag_is_the_highest_of_its_classes(scores):
    merged, tags = vocabulary.merge(scores, MAGNATAGATUNE)
    assert merged.shape == (3, len(tags))
    for column, tag in enumerate(tags):
        names = [name for name in MAGNATAGATUNE if vocabulary.canonical(name) == tag]
        own = scores[:, [MAGNATAGATUNE.index(name) for name in names]]
        np.testing.assert_array_equal(merged[:, column], own.max(axis=1))
    again, same_tags = vocabulary.merge(merged, tags)
    np.testing.assert_array_equal(again, merged)
    assert same_tags == tags


def test_other_classes_keep_name_and_place():
    scores, tags = vocabulary.merge(np.array([0.1, 0.2, 0.3]), ("Polka", "Woman", "FEMALE VOICE"))
    assert tags == ("Polka", "female vocals")
    np.testing.assert_array_equal(scores, [0.1, 0.3])
