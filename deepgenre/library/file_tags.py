"""Reads and writes two fields in the metadata of audio files: genre and tags.

    field   ID3 (mp3, wav, aiff)    Vorbis comments (flac, ogg, opus)   MP4 (m4a, mp4)
    genre   TCON                    GENRE                               ©gen
    tags    TXXX:DEEPGENRE_TAGS     DEEPGENRE_TAGS                      ----:deepgenre:tags

Several tags are joined by '; ' into one text. An ID3v1 tag at the end of an mp3 is not changed.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import mutagen
from mutagen import aiff, flac, id3, mp3, mp4, oggflac, oggopus, oggvorbis, wave

from deepgenre.errors import UserError

SEPARATOR = "; "
ID3_FORMATS = (mp3.MP3, wave.WAVE, aiff.AIFF)
VORBIS_FORMATS = (flac.FLAC, oggvorbis.OggVorbis, oggopus.OggOpus, oggflac.OggFLAC)
FORMATS = [*ID3_FORMATS, *VORBIS_FORMATS, mp4.MP4]
ID3_KEYS = {"genre": "TCON", "tags": "TXXX:DEEPGENRE_TAGS"}
VORBIS_KEYS = {"genre": "GENRE", "tags": "DEEPGENRE_TAGS"}
MP4_KEYS = {"genre": "\xa9gen", "tags": "----:deepgenre:tags"}
ID3V1_BYTES = 128


def read(path: Path) -> dict[str, str]:
    """Returns the text of each field, '' where it is missing.

    Raises UserError where the format is not supported or the file's tags are damaged.
    """
    song = _open(path)
    keys, text = _keys(song), _id3_text if isinstance(song, ID3_FORMATS) else _text
    return {field: SEPARATOR.join(text(song.tags, key)) for field, key in keys.items()}


def other_tags(path: Path) -> list[str]:
    """Returns all metadata of a file except the two fields, for comparison."""
    song = _open(path)
    ours = {key.casefold() for key in _keys(song).values()}
    tags: Any = song.tags or {}
    is_vorbis = isinstance(song, VORBIS_FORMATS)
    pairs = list(tags) if is_vorbis else sorted(tags.items())
    kept = [f"{key}={value!r}" for key, value in pairs if key.casefold() not in ours]
    if isinstance(song, flac.FLAC):  # blocks before the audio: cover, cue sheet, ...
        ignored = flac.VCFLACDict | flac.Padding
        blocks = (block for block in song.metadata_blocks if not isinstance(block, ignored))
        kept += [f"{block.code} {block.write()!r}" for block in blocks]
    return kept


def write(path: Path, fields: Mapping[str, str]) -> None:
    """Writes fields, given by name, into a file; raises UserError as `read` does.

    Not atomic: use it on a copy.
    """
    song = _open(path)
    if song.tags is None:
        song.add_tags()
    keys = _keys(song)
    with _user_errors(path):
        if isinstance(song, ID3_FORMATS):
            _write_id3(path, song, fields)
            return
        for field, text in fields.items():
            is_bytes = keys[field].startswith("----")  # custom fields of MP4
            song[keys[field]] = [text.encode() if is_bytes else text]
        song.save()


def _keys(song: Any) -> Mapping[str, str]:
    """Returns the key of each field in the format of a file."""
    if isinstance(song, ID3_FORMATS):
        return ID3_KEYS
    return MP4_KEYS if isinstance(song, mp4.MP4) else VORBIS_KEYS


def _open(path: Path) -> Any:
    """Returns the file opened by mutagen, ID3 frames not converted; raises UserError."""
    with _user_errors(path):
        opened = mutagen.File(path, options=FORMATS)  # pyright: ignore[reportPrivateImportUsage]
        if opened is None:
            raise UserError(
                f"{path}: tags cannot be written into this format, only into mp3, wav, aiff, "
                "flac, ogg, opus and m4a"
            )
        if not isinstance(opened, ID3_FORMATS):
            return opened
        song = type(opened)(path, translate=False, load_v1=False)
        if song.tags is not None and song.tags.version[1] not in (3, 4):
            raise UserError(
                f"{path}: has tags of ID3v2.{song.tags.version[1]}, which cannot be written; "
                "convert them to ID3v2.4"
            )
        return song


@contextlib.contextmanager
def _user_errors(path: Path) -> Iterator[None]:
    """Turns errors of mutagen into UserError that names the file."""
    try:
        yield
    except mutagen.MutagenError as error:  # pyright: ignore[reportPrivateImportUsage]
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: its tags cannot be read or written ({reason})") from error


def _id3_text(tags: Any, key: str) -> list[str]:
    frame = tags.get(key) if tags else None
    if frame is None:
        return []
    return frame.genres if key == "TCON" else [str(text) for text in frame.text]


def _text(tags: Any, key: str) -> list[str]:
    values = tags.get(key, []) if tags else []
    return [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values]


def _write_id3(path: Path, song: Any, fields: Mapping[str, str]) -> None:
    end = _last_bytes(path)
    makers = {
        "genre": lambda text: id3.TCON(encoding=id3.Encoding.UTF8, text=[text]),
        "tags": lambda text: id3.TXXX(
            encoding=id3.Encoding.UTF8, desc="DEEPGENRE_TAGS", text=[text]
        ),
    }
    for field, text in fields.items():
        song.tags.setall(ID3_KEYS[field], [makers[field](text)])
    song.save(v2_version=song.tags.version[1], v23_sep=None)
    if isinstance(song, mp3.MP3) and end.startswith(b"TAG"):  # mutagen overwrites ID3v1 from ID3v2
        with path.open("r+b") as stream:
            stream.seek(-ID3V1_BYTES, os.SEEK_END)
            stream.write(end)


def _last_bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - ID3V1_BYTES))
        return stream.read()
