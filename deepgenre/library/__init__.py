"""Music libraries: playlists, tags in files with undo, similar songs."""
