from deepgenre.library import descriptor_fields


def test_texts_of_all_fields():
    descriptors = {
        "tempo_bpm": 127.6,
        "key": "F# minor",
        "replaygain_db": -7.034,
        "true_peak_dbtp": -6.0206,
        "loudness_lufs": -10.97,
    }
    assert descriptor_fields.texts(descriptors) == {
        "bpm": "128",
        "key": "F#m",
        "replaygain_track_gain": "-7.03 dB",
        "replaygain_track_peak": "0.500000",
    }


def test_unknown_values_have_no_field_and_zero_is_a_value():
    assert descriptor_fields.texts({"tempo_bpm": None, "key": None}) == {}
    fields = descriptor_fields.texts({"replaygain_db": 0.0, "true_peak_dbtp": 0.0})
    assert fields == {"replaygain_track_gain": "0.00 dB", "replaygain_track_peak": "1.000000"}
