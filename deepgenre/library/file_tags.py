"""Reads and writes fields of the metadata of audio files; `tag_fields` lists fields and keys.

A file's format has one block of metadata, which is written; `tag_blocks` are others that it may
contain. A field that the format's block lacks is read from those, and updated in those.
"""

import contextlib
import dataclasses
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import mutagen
from mutagen import (
    aiff,
    asf,
    dsf,
    flac,
    id3,
    monkeysaudio,
    mp3,
    mp4,
    oggflac,
    oggopus,
    oggspeex,
    oggvorbis,
    trueaudio,
    wave,
    wavpack,
)

from deepgenre.errors import UserError, one_line
from deepgenre.library import tag_blocks
from deepgenre.library.matroska import Matroska
from deepgenre.library.tag_fields import (
    ARTIST,
    ASF_KEYS,
    FIELDS,
    ID3_KEYS,
    MATROSKA_KEYS,
    MP4_KEYS,
    MP4_TEMPO,
    VORBIS_KEYS,
    Keys,
    Values,
    join,
    split,
)

ID3_FORMATS = (mp3.MP3, wave.WAVE, aiff.AIFF, dsf.DSF, trueaudio.TrueAudio)
VORBIS_FORMATS = (
    flac.FLAC, oggvorbis.OggVorbis, oggopus.OggOpus, oggflac.OggFLAC, oggspeex.OggSpeex,
)  # fmt: skip
APE_FORMATS = (wavpack.WavPack, monkeysaudio.MonkeysAudio)
MATROSKA_SUFFIXES = {".mka", ".mkv", ".webm"}
FORMATS = [*ID3_FORMATS, *VORBIS_FORMATS, *APE_FORMATS, mp4.MP4, asf.ASF]
# What mutagen raises on damaged files, beside its own errors and those of the system.
DAMAGE = (
    mutagen.MutagenError,  # pyright: ignore[reportPrivateImportUsage]
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError,
    RecursionError, TypeError, ValueError, struct.error,
)  # fmt: skip
Combine = Callable[[Values], Values]  # from the values that a field has to those that it gets


@dataclasses.dataclass(frozen=True)
class Change:
    """The values of a field of a file before and after it is written."""

    field: str
    old: Values
    new: Values


def read(path: Path) -> dict[str, Values]:
    """Returns the values of each field, () where it is missing.

    Raises UserError where the format is not supported or the file's tags are damaged.
    """
    return read_with_slashes(path)[0]


def artists(path: Path) -> Values:
    """Returns the artists in a file's tags, () where it names none; raises UserError as `read`."""
    with _user_errors(path):
        return _read_field(path, _open(path), ARTIST)


def read_with_slashes(path: Path) -> tuple[dict[str, Values], bool]:
    """Returns the values of each field, and whether the file's format joins several by '/'.

    Raises UserError as `read` does.
    """
    with _user_errors(path):
        song = _open(path)
        return {field: _read_field(path, song, field) for field in FIELDS}, _has_slashes(song)


def changes(
    found: Mapping[str, Values], requested: Mapping[str, Combine], *, slashes: bool
) -> list[Change]:
    """Returns the changes that give the requested values to the fields, as the format stores them.

    found, slashes: of `read_with_slashes`.
    """
    changed = []
    for field, combine in requested.items():
        old = found[field]
        new = split(field, join(field, combine(old), slashes=slashes), slashes=slashes)
        changed += [Change(field, old, new)] if new != old else []
    return changed


def other_tags(path: Path, fields: Mapping[str, Values]) -> list[str]:
    """Returns all metadata of a file except the given fields, for comparison."""
    with _user_errors(path):
        song = _open(path)
        if isinstance(song, Matroska):
            return song.others({MATROSKA_KEYS[field][0] for field in fields})
        tags: Any = song.tags or {}
        ours = {key.casefold() for field in fields for key in _keys(song, field)}
        pairs = list(tags) if isinstance(song, VORBIS_FORMATS) else sorted(tags.items())
        kept = [f"{key}={value!r}" for key, value in pairs if key.casefold() not in ours]
        if isinstance(song, flac.FLAC):  # blocks before the audio: cover, cue sheet, ...
            ignored = flac.VCFLACDict | flac.Padding
            blocks = (block for block in song.metadata_blocks if not isinstance(block, ignored))
            kept += [f"{block.code} {block.write()!r}" for block in blocks]
        for block in _further_blocks(path, song):
            kept += block.others(fields)
    return kept


def write(path: Path, fields: Mapping[str, Values]) -> None:
    """Writes fields into a file, no values remove one; raises UserError as `read` does.

    Not atomic: use it on a copy.
    """
    with _user_errors(path):
        song = _open(path)
        if song.tags is None:
            song.add_tags()
        for field, values in fields.items():
            _set_field(song, field, values)
        _save(path, song)
        for block in _further_blocks(path, song):
            block.write(fields)


def _open(path: Path) -> Any:
    """Returns the file opened by mutagen, ID3 frames not converted; raises UserError."""
    if path.suffix.lower() in MATROSKA_SUFFIXES:
        return Matroska(path)
    opened = mutagen.File(path, options=FORMATS)  # pyright: ignore[reportPrivateImportUsage]
    if opened is None:
        raise UserError(
            f"{path}: tags cannot be written into this format, only into mp3, wav, aiff, flac, "
            "ogg, opus, spx, m4a, wma, wv, ape, tta, dsf and mka"
        )
    if not isinstance(opened, ID3_FORMATS):
        return opened
    song: Any = type(opened)(path, translate=False, load_v1=False)
    if song.tags is not None and song.tags.version[1] not in (3, 4):
        raise UserError(
            f"{path}: has tags of ID3v2.{song.tags.version[1]}, which cannot be written; "
            "convert them to ID3v2.4"
        )
    return song


@contextlib.contextmanager
def _user_errors(path: Path) -> Iterator[None]:
    """Turns what mutagen raises on damaged files into UserError that names the file."""
    try:
        yield
    except DAMAGE as error:
        reason = one_line(error)
        raise UserError(f"{path}: its tags cannot be read or written ({reason})") from error


def _further_blocks(path: Path, song: Any) -> list[tag_blocks.Block]:
    """Returns the blocks of metadata beside that of the format, those that players prefer first."""
    found: list[tag_blocks.Block | None] = []
    if isinstance(song, flac.FLAC):
        found.append(_find_id3_prefix(path))
    if isinstance(song, mp3.MP3 | trueaudio.TrueAudio | flac.FLAC):
        found.append(tag_blocks.find_ape(path))
    if isinstance(song, (mp3.MP3, trueaudio.TrueAudio, flac.FLAC, *APE_FORMATS)):
        found.append(tag_blocks.find_id3v1(path))
    if isinstance(song, wave.WAVE):
        found.append(tag_blocks.find_info(path))
    return [block for block in found if block]


def _read_field(path: Path, song: Any, field: str) -> Values:
    """Returns the values of a field in the first block that has it."""
    if values := _values(song, field):
        return values
    blocks = _further_blocks(path, song)
    return next((values for block in blocks if (values := block.read(field))), ())


def _has_slashes(song: Any) -> bool:
    """Returns whether several values are joined by '/': in ID3v2.3."""
    return isinstance(song, _ID3_LIKE) and song.tags is not None and song.tags.version[1] == 3


def _keys(song: Any, field: str) -> tuple[str, ...]:
    """Returns the keys of a field in the format of a file: the one to write, then its synonyms."""
    tags = song.tags or {}
    if isinstance(song, APE_FORMATS):
        return tag_blocks.APE_KEYS[field]
    if not isinstance(song, _ID3_LIKE):
        return _by_presence(_format_keys(song)[field], tags)
    if field == "comment":
        return (next((key for key in sorted(tags) if key.startswith("COMM::")), "COMM::eng"),)
    keys = ID3_KEYS[field]
    if field == "mood" and _has_slashes(song):  # TMOO came with ID3v2.4
        keys = keys[::-1]
    present = {key.casefold(): key for key in tags}
    return _by_presence(tuple(present.get(key.casefold(), key) for key in keys), tags)


def _by_presence(keys: tuple[str, ...], tags: Any) -> tuple[str, ...]:
    return tuple(sorted(keys, key=lambda key: key not in tags))


def _format_keys(song: Any) -> Keys:
    if isinstance(song, asf.ASF):
        return ASF_KEYS
    return MP4_KEYS if isinstance(song, mp4.MP4) else VORBIS_KEYS


def _values(song: Any, field: str) -> Values:
    """Returns the values of a field in the block of the format."""
    if isinstance(song, Matroska):
        return split(field, song.texts(MATROSKA_KEYS[field][0]), slashes=False)
    if not song.tags:
        return ()
    if isinstance(song, APE_FORMATS):
        return tag_blocks.ape_values(song.tags, field)
    key = _keys(song, field)[0]
    if key not in song.tags:
        return ()
    stored = song.tags[key]
    if isinstance(song, _ID3_LIKE):
        texts = stored.genres if key == "TCON" else map(str, stored.text)
    else:
        texts = [v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in stored]
    return split(field, texts, slashes=_has_slashes(song))


def _set_field(song: Any, field: str, values: Values) -> None:
    """Sets a field in the block of the format; removes synonyms, which would contradict it."""
    if isinstance(song, Matroska):
        song.set(MATROSKA_KEYS[field][0], join(field, values, slashes=False))
        return
    if isinstance(song, APE_FORMATS):
        tag_blocks.set_ape(song.tags, field, values)
        return
    tags: Any = song.tags
    key, *synonyms = _keys(song, field)
    texts = join(field, values, slashes=_has_slashes(song))
    for name in (key, *synonyms):
        if name in tags:
            del tags[name]
    if not texts:
        return
    if isinstance(song, _ID3_LIKE):
        tags.add(tag_blocks.id3_frame(key, texts))
    elif key == MP4_TEMPO:
        tags[key] = [int(text) for text in texts]
    else:  # custom fields of MP4 hold bytes
        tags[key] = [text.encode() for text in texts] if key.startswith("----") else texts


def _save(path: Path, song: Any) -> None:
    """Saves the block of the format; the file's other blocks stay as they are."""
    if isinstance(song, APE_FORMATS):
        tag_blocks.save_ape(path, song.tags)
    elif isinstance(song, ID3_FORMATS):
        tag_blocks.save_id3(path, song.tags, song.save)
    else:
        song.save()


class _Id3Prefix:
    """A `tag_blocks.Block`: the ID3v2 tag before the first byte of a flac."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tags: Any = id3.ID3(path, translate=False, load_v1=False)

    def read(self, field: str) -> Values:
        return _values(self, field)

    def write(self, fields: Mapping[str, Values]) -> None:
        kept = {field: values for field, values in fields.items() if self.read(field)}
        for field, values in kept.items():
            _set_field(self, field, values)
        if kept:
            tag_blocks.save_id3(self.path, self.tags, self.tags.save)

    def others(self, fields: Mapping[str, Values]) -> list[str]:
        ours = {key for field in fields for key in _keys(self, field)}
        return [
            f"ID3 {key}={value!r}" for key, value in sorted(self.tags.items()) if key not in ours
        ]


_ID3_LIKE = (*ID3_FORMATS, _Id3Prefix)


def _find_id3_prefix(path: Path) -> _Id3Prefix | None:
    try:
        prefix = _Id3Prefix(path)
    except id3.ID3NoHeaderError:
        return None
    return prefix if prefix.tags.version[1] in (3, 4) else None
