"""The fields that tags are written to, their keys in each format, and values as stored texts.

    field      ID3                  Vorbis comments   MP4                           APEv2, ASF
    genre      TCON                 GENRE             ©gen                          Genre, WM/Genre
    grouping   TIT1 (or GRP1)       GROUPING          ©grp                          Grouping, ...
    mood       TMOO                 MOOD              ----:com.apple.iTunes:MOOD    Mood, WM/Mood
    comment    COMM, no description COMMENT           ©cmt                          Comment, ...
    tags       TXXX:DEEPGENRE_TAGS  DEEPGENRE_TAGS    ----:deepgenre:tags           DEEPGENRE_TAGS
    tempo      TBPM                 BPM               tmpo (a whole number)         BPM, ...
    key        TKEY                 INITIALKEY        ----:...:initialkey           INITIALKEY, ...
    artist     TPE1                 ARTIST            ©ART                          Artist, Author
    gain, peak TXXX:REPLAYGAIN_TRACK_GAIN and ..._PEAK, the same names in all formats
    energy     TXXX:ENERGYLEVEL     ENERGYLEVEL       ----:com.apple.iTunes:ENERGYLEVEL, ...

Matroska has names like those of Vorbis comments. These are the keys of Picard and of most players
(https://picard-docs.musicbrainz.org, appendix "Tag Mapping"). Several values are stored as several:
separated by a null in ID3v2.4 and APEv2, repeated elsewhere. ID3v2.3, which knows one value only,
gets them joined by '/', as its specification does for other lists. A comment is one text
everywhere.
"""

import re
from collections.abc import Iterable, Mapping

Values = tuple[str, ...]

SEPARATOR = "; "  # in texts that hold several values, on the terminal and in comments
LABEL_FIELDS = ("genre", "grouping", "mood", "comment", "tags")
DESCRIPTOR_FIELDS = ("tempo", "key", "gain", "peak", "energy")  # see `descriptor_fields`
FIELDS = (*LABEL_FIELDS, *DESCRIPTOR_FIELDS)
ARTIST = "artist"  # is read only
MP4_TEMPO = "tmpo"  # holds numbers, all other keys texts
Keys = Mapping[str, tuple[str, ...]]  # by field: the key to write, then others that mean the same

ID3_KEYS: Keys = {
    "genre": ("TCON",),
    "grouping": ("TIT1", "GRP1"),
    "mood": ("TMOO", "TXXX:MOOD"),
    "comment": ("COMM::eng",),  # or of another language
    "tags": ("TXXX:DEEPGENRE_TAGS",),
    "tempo": ("TBPM",),
    "key": ("TKEY",),
    "gain": ("TXXX:REPLAYGAIN_TRACK_GAIN",),
    "peak": ("TXXX:REPLAYGAIN_TRACK_PEAK",),
    "energy": ("TXXX:ENERGYLEVEL",),
    "artist": ("TPE1",),
}
VORBIS_KEYS: Keys = {
    "genre": ("GENRE",),
    "grouping": ("GROUPING",),
    "mood": ("MOOD",),
    "comment": ("COMMENT", "DESCRIPTION"),
    "tags": ("DEEPGENRE_TAGS",),
    "tempo": ("BPM", "TEMPO"),
    "key": ("INITIALKEY", "KEY"),
    "gain": ("REPLAYGAIN_TRACK_GAIN",),
    "peak": ("REPLAYGAIN_TRACK_PEAK",),
    "energy": ("ENERGYLEVEL",),
    "artist": ("ARTIST",),
}
MP4_KEYS: Keys = {
    "genre": ("\xa9gen",),
    "grouping": ("\xa9grp",),
    "mood": ("----:com.apple.iTunes:MOOD",),
    "comment": ("\xa9cmt",),
    "tags": ("----:deepgenre:tags",),
    "tempo": (MP4_TEMPO,),
    "key": ("----:com.apple.iTunes:initialkey", "----:com.apple.iTunes:KEY"),
    "gain": ("----:com.apple.iTunes:replaygain_track_gain",),
    "peak": ("----:com.apple.iTunes:replaygain_track_peak",),
    "energy": ("----:com.apple.iTunes:ENERGYLEVEL",),
    "artist": ("\xa9ART",),
}
APE_KEYS: Keys = {
    "genre": ("Genre",),
    "grouping": ("Grouping",),
    "mood": ("Mood",),
    "comment": ("Comment",),
    "tags": ("DEEPGENRE_TAGS",),
    "tempo": ("BPM",),
    "key": ("INITIALKEY",),
    "gain": ("REPLAYGAIN_TRACK_GAIN",),
    "peak": ("REPLAYGAIN_TRACK_PEAK",),
    "energy": ("ENERGYLEVEL",),
    "artist": ("Artist",),
}
ASF_KEYS: Keys = {
    "genre": ("WM/Genre",),
    "grouping": ("WM/ContentGroupDescription",),
    "mood": ("WM/Mood",),
    "comment": ("Description",),
    "tags": ("DEEPGENRE_TAGS",),
    "tempo": ("WM/BeatsPerMinute",),
    "key": ("WM/InitialKey",),
    "gain": ("REPLAYGAIN_TRACK_GAIN",),
    "peak": ("REPLAYGAIN_TRACK_PEAK",),
    "energy": ("ENERGYLEVEL",),
    "artist": ("Author",),
}
MATROSKA_KEYS: Keys = {
    "genre": ("GENRE",),
    "grouping": ("GROUPING",),
    "mood": ("MOOD",),
    "comment": ("COMMENT",),
    "tags": ("DEEPGENRE_TAGS",),
    "tempo": ("BPM",),
    "key": ("INITIAL_KEY",),
    "gain": ("REPLAYGAIN_GAIN",),
    "peak": ("REPLAYGAIN_PEAK",),
    "energy": ("ENERGYLEVEL",),
    "artist": ("ARTIST",),
}


def split(field: str, texts: Iterable[str], *, slashes: bool) -> Values:
    """Returns the values that the texts of a field hold; slashes: as in ID3v2.3.

    The field of deepgenre's own tags held one text in earlier versions.
    """
    separators = [SEPARATOR] if field in ("comment", "tags") else []
    separators += ["/"] if slashes and field != "comment" else []
    pattern = "|".join(separators)
    values = [part for text in texts for part in (re.split(pattern, text) if pattern else [text])]
    return tuple(value for value in values if value.strip())


def join(field: str, values: Values, *, slashes: bool) -> list[str]:
    """Returns the texts to store, none where there are no values; the reverse of `split`."""
    if field == "comment":
        return [SEPARATOR.join(values)] if values else []
    if slashes:
        return ["/".join(values)] if values else []
    return list(values)
