"""Descriptors of a song as values of the fields of its file: tempo, key, ReplayGain, energy."""

from collections.abc import Callable, Mapping

from deepgenre.audio.describe import Descriptor
from deepgenre.library.tag_fields import Values

MODES = {"major": "", "minor": "m"}


def values_of(descriptors: Mapping[str, Descriptor]) -> dict[str, Values]:
    """Returns the values by field, () where a descriptor is unknown.

    descriptors: by column of `audio.describe` or `inference.energy`; those without a field are left
    out.

    As the formats define them: tempo in whole BPM, key like 'F#m' or 'Bb' (ID3v2.4, TKEY), gain
    and peak as ReplayGain 2.0 writes them (dB, and a factor of full scale). Energy: 1 to 10.
    """
    fields: dict[str, Values] = {}
    if "tempo_bpm" in descriptors:
        fields["tempo"] = _texts(descriptors["tempo_bpm"], lambda bpm: f"{bpm:.0f}")
    if "key" in descriptors:
        fields["key"] = (_key(str(descriptors["key"])),) if descriptors["key"] else ()
    if "replaygain_db" in descriptors:
        fields["gain"] = _texts(descriptors["replaygain_db"], lambda db: f"{db:.2f} dB")
        peak_dbtp = descriptors["true_peak_dbtp"] if fields["gain"] else None
        fields["peak"] = _texts(peak_dbtp, lambda db: f"{10 ** (db / 20):.6f}")
    if "energy" in descriptors:
        fields["energy"] = _texts(descriptors["energy"], lambda energy: f"{1 + 9 * energy:.0f}")
    return fields


def _texts(value: Descriptor, text: Callable[[float], str]) -> Values:
    return (text(value),) if isinstance(value, float | int) else ()


def _key(name: str) -> str:
    """Returns the key of a name such as 'F# minor' as ID3 writes it."""
    tonic, mode = name.split()
    return f"{tonic}{MODES[mode]}"
