"""The table of suffixes against what the decoders support."""

import soundfile

from deepgenre.audio import ffmpeg, suffixes

# Names of libsndfile's formats that are also suffixes; the others have no header or no own suffix.
LIBSNDFILE = {name for name in soundfile.available_formats() if name not in (
    "RAW", "WAVEX", "MAT4", "MAT5", "HTK", "SDS", "WVE", "XI", "MPC2K", "SVX",
)}  # fmt: skip
# ffmpeg's names of formats that are not suffixes.
FFMPEG_NAMES = {"matroska": "mka", "mpc8": "mpc", "mpegts": "m2ts"}


def test_suffixes_are_lower_case_and_in_one_set():
    sets = [suffixes.AUDIO, suffixes.SPECTROGRAMS, suffixes.LISTS, suffixes.OTHER_LISTS]
    every = [suffix for one in sets for suffix in one]
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in every)
    assert len(set(every)) == len(every)


def test_every_format_of_libsndfile_is_found():
    names = {"MP3": ".mp3", "IRCAM": ".ircam"}
    missing = {names.get(name, f".{name.lower()}") for name in LIBSNDFILE} - suffixes.AUDIO
    assert not missing


def test_every_format_of_ffmpeg_is_found():
    missing = {f".{FFMPEG_NAMES.get(name, name)}" for name in ffmpeg.FORMATS} - suffixes.AUDIO
    assert not missing


def test_suffixes_of_owners_files_are_found():
    named = (
        ".mp4 .webm .mov .dts .spx .mp2 .mpga .oga .mka .ape .wv .tta .dsf .w64 .caf .au .aifc "
        ".3gp .amr"
    )
    assert set(named.split()) <= suffixes.AUDIO
