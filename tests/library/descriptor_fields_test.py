"""Values of fields of descriptors."""

from deepgenre.audio import describe
from deepgenre.library import descriptor_fields, tag_fields


def test_values_are_written_as_the_formats_define_them() -> None:
    values = descriptor_fields.values_of(
        {
            "tempo_bpm": 127.6,
            "key": "F# minor",
            "loudness_lufs": -11.5,
            "true_peak_dbtp": -6.0206,
            "replaygain_db": -6.5,
            "acoustic_fingerprint": "AAAA",
            "energy": 0.5,
        }
    )
    expected = {"tempo": ("128",), "key": ("F#m",), "gain": ("-6.50 dB",), "peak": ("0.500000",)}
    expected["energy"] = ("6",)
    assert values == expected
    assert set(values) == set(tag_fields.DESCRIPTOR_FIELDS)
    assert descriptor_fields.values_of({"key": "Bb major"}) == {"key": ("Bb",)}


def test_an_unknown_descriptor_has_no_value() -> None:
    unknown = dict.fromkeys([*describe.columns([*describe.COLUMNS]), "energy"])
    assert descriptor_fields.values_of(unknown) == dict.fromkeys(tag_fields.DESCRIPTOR_FIELDS, ())
    assert descriptor_fields.values_of({}) == {}


def test_a_peak_without_a_gain_is_not_written() -> None:
    silent = {"replaygain_db": None, "true_peak_dbtp": -120.0}
    assert descriptor_fields.values_of(silent) == {"gain": (), "peak": ()}
