"""A vocabulary without synonyms: one name for the classes of a network that mean the same.

Players of MagnaTagATune and listeners of Last.fm chose their words freely, so that a network has
classes such as 'female', 'female vocal', 'female voice' and 'woman'. The score of a merged tag is
the highest of its classes. Not merged: a kind and its subkinds, such as 'rock' and 'hard rock',
with two exceptions that listeners use as synonyms: 'electro' is 'electronic', 'heavy metal' is
'metal'.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

# Tag -> classes that mean the same, as MagnaTagATune and Last.fm spell them, in lower case.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "female vocals": (
        "female", "female vocal", "female voice", "female voices", "female singer",
        "female singers", "female singing", "female vocalist", "female vocalists", "woman",
        "woman singing", "women", "women singing", "girl", "girl singing",
    ),
    "male vocals": (
        "male", "male vocal", "male voice", "male voices", "male singer", "male singers",
        "male singing", "male vocalist", "male vocalists", "man", "man singing", "men",
        "men singing",
    ),
    "vocals": ("vocal", "voice", "voices", "singer", "singers", "singing"),
    "instrumental": (
        "no vocal", "no vocals", "no voice", "no voices", "no singer", "no singers", "no singing",
    ),
    "choir": ("choral", "chorus"),
    "chant": ("chanting", "chants"),
    "opera": ("operatic",),
    "classical": ("classic", "clasical"),  # 'classic' alone; 'classic rock' is another class
    "orchestra": ("orchestral",),
    "electronic": ("electro", "electronica"),
    "jazz": ("jazzy",),
    "funk": ("funky",),
    "metal": ("heavy metal",),
    "hip hop": ("hip-hop", "hiphop"),
    "r&b": ("rnb", "rhythm and blues"),
    "chillout": ("chill", "chill out"),
    "indian": ("india",),
    "drums": ("drum",),
    "beat": ("beats",),
    "no drums": ("no drum",),
    "no beat": ("no beats",),
    "fast": ("fast beat", "quick"),
    "quiet": ("silence",),
    "weird": ("strange",),
    "guitar": ("guitars",),
    "violin": ("violins",),
    "strings": ("string",),
    "flute": ("flutes",),
    "horn": ("horns",),
    "synth": ("synths", "synthesizer"),
    "harpsichord": ("harpsicord",),
    "sax": ("saxophone",),
    "bells": ("bell",),
}  # fmt: skip
CANONICAL: Mapping[str, str] = {
    synonym: tag for tag, synonyms in SYNONYMS.items() for synonym in (tag, *synonyms)
}


def canonical(name: str) -> str:
    """Returns the tag of the vocabulary that a class means; the class itself where it has none."""
    return CANONICAL.get(name.lower(), name)


@functools.lru_cache
def groups(classes: tuple[str, ...]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Returns each tag with the indices of its classes, in the order of their first class."""
    members: dict[str, list[int]] = {}
    for index, name in enumerate(classes):
        members.setdefault(canonical(name), []).append(index)
    return tuple((tag, tuple(indices)) for tag, indices in members.items())


def merge(scores: np.ndarray, classes: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the scores (..., tags) and names of the tags for the scores (..., classes)."""
    merged = groups(tuple(classes))
    columns = [scores[..., list(indices)].max(axis=-1) for _, indices in merged]
    return np.stack(columns, axis=-1), tuple(tag for tag, _ in merged)
