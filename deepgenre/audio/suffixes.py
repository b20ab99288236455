"""Suffixes of file names by which folders and patterns select files.

The suffix only selects: decoders detect the format from the content, and a file that is named
explicitly is tried whatever its suffix.
"""

# What libsndfile decodes. Not here: .raw and .vox (no header), .sf of MIDI sound fonts.
_LIBSNDFILE = frozenset({
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".fla", ".ogg", ".oga", ".opus",
    ".mp1", ".mp2", ".mp3", ".mpa", ".mpga", ".m2a", ".aif", ".aiff", ".aifc", ".aff",
    ".au", ".snd", ".caf", ".voc", ".sd2", ".svx", ".8svx", ".paf", ".nist", ".sph", ".ircam",
    ".pvf", ".avr",
})  # fmt: skip
# What ffmpeg decodes: first audio, then the audio track of video. Not here: .ts, which is rather a
# program's text than a transport stream, and formats with copy protection (.m4p, .aax).
_FFMPEG = frozenset({
    ".m4a", ".m4b", ".m4r", ".f4a", ".f4b", ".aac", ".adts", ".wma", ".mka", ".weba",
    ".ac3", ".eac3", ".ec3", ".dts", ".dtshd", ".mlp", ".thd", ".ape", ".wv", ".tta", ".tak",
    ".mpc", ".mp+", ".mpp", ".shn", ".dsf", ".dff", ".spx", ".amr", ".awb", ".ra", ".rm",
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".mj2", ".mkv", ".webm", ".ogv", ".ogx",
    ".ogm", ".wmv", ".asf", ".avi", ".flv", ".f4v", ".mpg", ".mpeg", ".vob", ".mts", ".m2ts",
})  # fmt: skip
AUDIO = _LIBSNDFILE | _FFMPEG
SPECTROGRAMS = frozenset({".npy"})
LISTS = frozenset({".txt", ".m3u", ".m3u8", ".pls", ".xspf"})
# Lists of other formats, whose error says what to do.
OTHER_LISTS = frozenset({".asx", ".b4s", ".cue", ".fpl", ".ram", ".smil", ".wax", ".wpl", ".zpl"})
