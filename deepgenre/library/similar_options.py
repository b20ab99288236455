"""Options of mode `similar`, and what is wrong with them."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from deepgenre.audio.discover import Found, expand
from deepgenre.errors import UserError, look_up
from deepgenre.inference import shared_songs
from deepgenre.library import comparison, neighbours, playlists, similarity


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a search; `cli.flags` describes each."""

    library: Sequence[str] = ()
    index: Path | None = None
    top_k: int = 10
    output: Path | None = None
    summary: Path | None = None
    copies: bool = False
    prune: bool = False
    similarity: Sequence[str] = ()  # entries 'term:weight'
    exclude: Sequence[str] = ()
    artist_gap: int = 0
    path_to: Path | None = None
    explain: Path | None = None

    @property
    def weights(self) -> dict[str, float]:
        """Returns the weights of `similarity`; raises UserError where an entry is wrong."""
        return similarity.parse_weights(self.similarity)


def check(arguments: Sequence[str], options: Options) -> Found:
    """Returns the queries; raises UserError where an option is wrong."""
    if options.top_k < 1:
        raise UserError(f"--top_k: must be 1 or more, is {options.top_k}")
    if options.artist_gap < 0:
        raise UserError(f"--artist_gap: must be 0 or more, is {options.artist_gap}")
    if options.prune and not options.library:
        raise UserError("--prune: needs --library; it removes the songs that are not among those")
    if options.output:
        formats = {comparison.SUFFIX: None} if options.explain else neighbours.FORMATS
        look_up(formats, options.output.suffix, "--output suffix")
    is_shared = options.index is not None and options.index.suffix == shared_songs.SUFFIX
    if is_shared and options.library:
        raise UserError(
            f"--library: is not added to {options.index}, which is no index; leave it out"
        )
    if is_shared and options.output and options.output.suffix == playlists.SUFFIX:
        raise UserError(
            f"--output: a playlist contains files, and {options.index} has none; use .jsonl or .csv"
        )
    if is_shared and options.artist_gap:
        raise UserError(
            f"--artist_gap: artists are read from files, and {options.index} has none; leave it out"
        )
    options.weights  # noqa: B018 (raises UserError before anything is computed)
    return _check_queries(expand(arguments), options)


def _check_queries(queries: Found, options: Options) -> Found:
    if not queries.files:
        raise UserError("--query: give songs to find similar ones of")
    for flag, other in (("path_to", options.path_to), ("explain", options.explain)):
        if other and len(queries.files) != 1:
            raise UserError(f"--{flag}: needs one other song, {len(queries.files)} are given")
        if other and os.path.realpath(other) == os.path.realpath(queries.files[0]):
            raise UserError(f"--{flag}: is the other song itself; give another one")
    if options.path_to and options.explain:
        raise UserError("--path_to: is not used with --explain; leave one out")
    if options.path_to and options.top_k < 3:
        raise UserError(
            "--top_k: must be 3 or more with --path_to, as it counts the two ends of the path"
        )
    return queries
