"""The ten synthetic styles, as data for `composition`.

A pattern is one bar with one character per grid step; '.' is a rest, '-' holds the previous note.

- Drums, chords and melody: a digit 1..9 starts a stroke, chord or note of that loudness.
- Chords also: a letter a, b, c, ... starts only the lowest, second, third, ... voice of the chord.
- Bass: 1, 3, 5, 6 and 8 are degrees of the chord (8: the octave), 'w' is a scale step towards the
  next note's chord, 'a' is a semitone or a tone from that chord's root.

A progression is a sequence of bars separated by spaces; chords within a bar are separated by
commas. Chords are Roman numerals relative to the major scale: upper case is major, lower case
minor, with the suffixes of `harmony.QUALITIES`.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Part:
    """Settings of one pitched part; a piece uses a random instrument and random patterns."""

    patterns: tuple[str, ...]
    instruments: tuple[str, ...]  # keys of instruments.INSTRUMENTS
    low: int  # lowest and highest MIDI note, both included
    high: int
    level_db: float  # RMS of its audible samples, relative to the other parts
    chance: float = 1.0  # probability that a piece has this part
    gate: float = 0.95  # sounding share of a note's written length
    drive: float = 0.0  # overdrive; 0: clean
    echo: float = 0.0  # level of an echo three steps later
    power: bool = False  # chords as root, fifth and octave in parallel, not led voice by voice
    form: str = "AABA"  # bars with the same letter share rhythm and, in a melody, contour


@dataclasses.dataclass(frozen=True)
class Style:
    """One synthetic style; each piece draws uniformly from the ranges."""

    tempo_bpm: tuple[float, float]
    beats: int  # per bar
    steps: int  # grid steps per beat: 2 or 4 straight, 3 shuffled
    progressions: tuple[tuple[str, str], ...]  # (scale in harmony.SCALES, chords)
    grooves: tuple[dict[str, str], ...]  # patterns by key of instruments.DRUMS; (): no drums
    drums_db: float
    drums_chance: float
    bass: Part
    chords: Part
    melody: Part
    wet: tuple[float, float]  # level of the reverberation
    reverb_seconds: tuple[float, float]  # time to decay by 60 dB
    jitter_seconds: float  # standard deviation of note onsets


STYLES: dict[str, Style] = {
    "chorale": Style(
        tempo_bpm=(62, 96), beats=4, steps=2,
        progressions=(
            ("major", "I,vi IV,V I,IV V"), ("major", "I,V vi,iii IV,I ii,V"),
            ("major", "vi,ii V,I IV,ii V,I"), ("minor", "i,iv V,i bVI,iv V"),
            ("minor", "i,bVII bIII,bVI iv,V i"),
        ),
        grooves=(), drums_db=0, drums_chance=0,
        bass=Part(("1-1-3-5-", "1-3-1-w-", "1-w-1-w-"),
                  ("church_organ", "choir", "strings"), 38, 52, -3),
        chords=Part(("6-6-6-6-", "6-6-6-66", "6---6-6-"),
                    ("church_organ", "choir", "strings"), 53, 68, -3),
        melody=Part(("7-7-7-7-", "7-757-7-", "7---7-75", "7-7-7---"),
                    ("church_organ", "choir", "strings", "trumpet"), 67, 81, -2),
        wet=(0.3, 0.7), reverb_seconds=(1.6, 3.0), jitter_seconds=0.012,
    ),
    "waltz": Style(
        tempo_bpm=(138, 198), beats=3, steps=2,
        progressions=(
            ("major", "I I V7 V7 V7 V7 I I"), ("major", "I vi ii V7"), ("major", "I IV V7 I"),
            ("minor", "i i V7 V7 iv i V7 i"), ("minor", "i iv V7 i"),
        ),
        grooves=({"brush": "..4.4.", "kick": "5....."}, {"brush": "..3.3.", "rim": "....2."}),
        drums_db=-9, drums_chance=0.3,
        bass=Part(("1-....", "1---..", "5-...."), ("upright_bass", "piano"), 36, 53, -2,
                  form="ABAB"),
        chords=Part(("..6.6.", "..7-6-", "..5.55"),
                    ("piano", "accordion", "clean_guitar"), 52, 69, -4),
        melody=Part(("8---6-", "8-6-6-", "8-----", "867676", "8--66-"),
                    ("violin", "accordion", "clarinet"), 65, 88, 0),
        wet=(0.1, 0.4), reverb_seconds=(0.6, 1.6), jitter_seconds=0.012,
    ),
    "blues_shuffle": Style(
        tempo_bpm=(80, 134), beats=4, steps=3,
        progressions=(
            ("blues", "I7 IV7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7"),
            ("blues", "I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 I7"),
            ("minor", "i7 i7 i7 i7 iv7 iv7 i7 i7 bVI7 V7 i7 V7"),
        ),
        grooves=(
            {"hat": "7.57.57.57.5", "kick": "8.....8.....", "snare": "...8.....8.."},
            {"hat": "7.57.57.57.5", "kick": "8....57.....", "snare": "...8.....8.."},
            {"hat": "7..7..7..7..", "kick": "8..5..8..5..", "rim": "...7.....7.."},
        ),
        drums_db=-2, drums_chance=0.95,
        bass=Part(("1-.3-.5-.6-.", "1-15-56-65-5", "1--3--5--a--", "1-.1-.5-.5-."),
                  ("electric_bass", "upright_bass"), 30, 52, -3),
        chords=Part(("6-56-56-56-5", "...7.....7..", "7-.......5-.", "6-...56-...."),
                    ("clean_guitar", "piano"), 50, 68, -4,
                    drive=2.0),
        melody=Part(("8-68--......", "..68-68-----", "7--8-67--...", "......8-68-6",
                     "868--6......"),
                    ("steel_guitar", "harmonica"), 60, 82, 1, chance=0.9,
                    drive=4.0),
        wet=(0.05, 0.3), reverb_seconds=(0.4, 1.2), jitter_seconds=0.012,
    ),
    "bebop_swing": Style(
        tempo_bpm=(160, 248), beats=4, steps=3,
        progressions=(
            ("bebop", "ii7 V7 Imaj7 VI7"), ("bebop", "Imaj7,VI7 ii7,V7 iii7,VI7 ii7,V7"),
            ("bebop", "Imaj7 iv7,bVII7 Imaj7 ii7,V7"), ("minor", "iim7b5 V7 i6 i6"),
        ),
        grooves=(
            {"ride": "7..8.57..8.5", "hat": "...5.....5..", "kick": "2..2..2..2.."},
            {"ride": "7..8.57..8.5", "hat": "...5.....5..", "snare": ".....3....4."},
            {"brush": "5.56.55.56.5", "hat": "...5.....5.."},
        ),
        drums_db=-4, drums_chance=0.95,
        bass=Part(("1--w--1--a--", "1--w--w--a--", "1--5--1--a--"), ("upright_bass",), 29, 52, -1),
        chords=Part(("6.....6.....", ".....6---...", "6--.......5.", "..5......6--",
                     "..........6-"),
                    ("piano", "clean_guitar"), 52, 70, -6, form="ABCA"),
        melody=Part(("6.57.56.57.5", "...7.56.56-6", "6.56-67-....", "..57.56.5...",
                     "7--6.57.56.5"),
                    ("saxophone", "trumpet", "vibraphone"), 60, 84, 0,
                    chance=0.9, form="ABCA"),
        wet=(0.05, 0.3), reverb_seconds=(0.4, 1.3), jitter_seconds=0.009,
    ),
    "rock": Style(
        tempo_bpm=(98, 150), beats=4, steps=4,
        progressions=(
            ("mixolydian", "I bVII IV I"), ("major", "I V vi IV"), ("minor", "i bVI bIII bVII"),
            ("major", "I IV V IV"), ("major", "vi IV I V"),
        ),
        grooves=(
            {"hat": "7.5.7.5.7.5.7.5.", "kick": "9.......9.9.....", "snare": "....9.......9..."},
            {"hat": "7.5.7.5.7.5.7.5.", "kick": "9.....9.9.......", "snare": "....9.......9..."},
            {"open_hat": "6...5...6...5...", "kick": "9..9..9...9.....",
             "snare": "....9.......9..."},
            {"ride": "7...7...7...7...", "kick": "9.......9.9...6.", "snare": "....9.......9..2"},
        ),
        drums_db=-1, drums_chance=0.92,
        bass=Part(("1-1-1-1-1-1-1-1-", "1-----1-1-----5-", "1---1---1---1-w-"), ("electric_bass",),
                  28, 47, -2),
        chords=Part(("7-6-7-6-7-6-7-6-", "8-----7-----7---", "8-.78-.78-..8-7-",
                     "8---------------"),
                    ("clean_guitar", "steel_guitar"), 48, 67, -1, drive=4.0),
        melody=Part(("8---6-6-8---....", "..6-6-8-----6-..", "8-----6---8-----",
                     "8-8-6-6-8-6-...."),
                    ("voice", "steel_guitar"), 60, 81, -2, chance=0.75,
                    drive=2.5),
        wet=(0.05, 0.25), reverb_seconds=(0.5, 1.4), jitter_seconds=0.008,
    ),
    "metal": Style(
        tempo_bpm=(118, 196), beats=4, steps=4,
        progressions=(
            ("phrygian", "i i bII i"), ("minor", "i bVI bVII i"), ("phrygian", "i bII i bVII"),
            ("minor", "i i bVI bVII"), ("locrian", "i bV i bII"),
        ),
        grooves=(
            {"tight_kick": "8.888.888.888.88", "tight_snare": "....9.......9...",
             "ride": "7...7...7...7..."},
            {"tight_kick": "8888888888888888", "tight_snare": "....9.......9...",
             "crash": "6.......6......."},
            {"tight_kick": "8.8.8.8.8.8.8.8.", "tight_snare": "..8...8...8...8.",
             "hat": "7.7.7.7.7.7.7.7."},
            {"tight_kick": "8..8..8.8..8..8.", "tight_snare": "........9.......",
             "crash": "6...6...6...6..."},
        ),
        drums_db=-2, drums_chance=0.95,
        bass=Part(("1.111.111.111.11", "1111111111111111", "1-..1-..1-..1-3-"), ("electric_bass",),
                  26, 43, -4, drive=3.0),
        chords=Part(("7.777.777.777.77", "7777777777777777", "8-..8-..8-..8-8-",
                     "8---7.777.777.77"),
                    ("muted_guitar", "steel_guitar"), 38, 61, 0, drive=30.0, power=True),
        melody=Part(("7777666677776666", "8-------6---6---", "7676767676767676",
                     "8---8---8-6-6-8-"),
                    ("steel_guitar", "voice"), 62, 84, -3, chance=0.55, drive=18.0),
        wet=(0.03, 0.2), reverb_seconds=(0.3, 1.2), jitter_seconds=0.004,
    ),
    "reggae": Style(
        tempo_bpm=(66, 94), beats=4, steps=4,
        progressions=(
            ("major", "I IV"), ("minor", "i bVII"), ("major", "I V IV V"), ("minor", "i iv"),
            ("major", "I vi ii V"), ("dorian", "i IV"),
        ),
        grooves=(
            {"hat": "6.5.6.5.6.5.6.5.", "kick": "........9.......", "rim": "........8......."},
            {"hat": "6.546.546.546.54", "kick": "........9.......", "rim": "...5....8.....4."},
            {"hat": "6.5.6.5.6.5.6.5.", "kick": "8...8...8...8...", "snare": "........7......."},
        ),
        drums_db=-5, drums_chance=0.95,
        bass=Part(("1-.1-.3-5---....", "....1-1-..5-3-1-", "1-----5-..1-....", "1-5-8-..1-5-...."),
                  ("electric_bass", "sub_bass"), 29, 50, 3),
        chords=Part(("....8.......8...", "....8.6.....8.6.", "..7...7...7...7."),
                    ("clean_guitar", "tonewheel_organ"), 53, 70, -3, gate=0.5, echo=0.15),
        melody=Part(("8--6--8-....6-6-", "....8-6-6-8-----", "8-----6-........",
                     "..6-8-6-8---...."),
                    ("voice", "tonewheel_organ"), 60, 79, -3, chance=0.7,
                    echo=0.3),
        wet=(0.1, 0.4), reverb_seconds=(0.6, 1.8), jitter_seconds=0.011,
    ),
    "disco": Style(
        tempo_bpm=(106, 130), beats=4, steps=4,
        progressions=(
            ("dorian", "i7 IV7"), ("minor", "i7 bVII bVImaj7 V7"), ("major", "Imaj7 vi7 ii7 V7"),
            ("minor", "i7 iv7 bVII bIIImaj7"), ("major", "ii7 V7 iii7 vi7"),
        ),
        grooves=(
            {"kick": "9...9...9...9...", "open_hat": "..7...7...7...7.",
             "snare": "....8.......8...", "hat": "5.......5......."},
            {"kick": "9...9...9...9...", "hat": "5.6.5.6.5.6.5.6.", "clap": "....8.......8...",
             "open_hat": "..7...7...7...7."},
            {"kick": "9...9...9...9...", "open_hat": "..6...6...6...6.",
             "clap": "....7.......7...", "shaker": "4343434343434343"},
        ),
        drums_db=-1, drums_chance=0.95,
        bass=Part(("1.8.1.8.1.8.1.8.", "1-.18-.1..1-5-8-", "1.181.181.585.a."),
                  ("electric_bass", "synth_bass"), 28, 52, -1, gate=0.8),
        chords=Part(("..7...7...7..77.", "6.676.676.676.67", "7-.7..7-........",
                     "8-------7-------"),
                    ("clean_guitar", "electric_piano", "strings"), 55, 74, -4, gate=0.8),
        melody=Part(("8-6-8-6-8---....", "8-----------6-6-", "..8.8.8-....6-8-",
                     "8686868-....8-6-"),
                    ("strings", "trumpet"), 67, 88, 0, chance=0.9),
        wet=(0.1, 0.35), reverb_seconds=(0.5, 1.5), jitter_seconds=0.006,
    ),
    "techno": Style(
        tempo_bpm=(118, 144), beats=4, steps=4,
        progressions=(
            ("minor", "i"), ("minor", "i i bVI i"), ("dorian", "i7"), ("phrygian", "i i i bII"),
        ),
        grooves=(
            {"electronic_kick": "9...9...9...9...", "open_hat": "..6...6...6...6.",
             "clap": "....7.......7..."},
            {"electronic_kick": "9...9...9...9...", "hat": "4364436443644364",
             "rim": "...5..5....5..4.", "open_hat": "..5...5...5...5."},
            {"electronic_kick": "9...9...9...9..6", "hat": "..7...7...7...7.",
             "shaker": "3.3.3.3.3.3.3.3.", "clap": "....6.......6..."},
        ),
        drums_db=0, drums_chance=0.95,
        bass=Part(("1.118.1.1.181.31", "..11..11..11..11", "1.1.1.8.1.1.1.8.", "11.11.1.11.11.8."),
                  ("acid_bass", "synth_bass"), 28, 52, 0, gate=0.7, form="AAAA"),
        chords=Part(("7..7..7.........", "..7.....7..7....", "acbcacbcacbcacbc",
                     "6-------........"),
                    ("synth_stab",), 52, 72, -5, chance=0.85, gate=0.7,
                    echo=0.35, form="AAAA"),
        melody=Part(("7.5.7..57.5.7..5", "..7...7...7..7..", "7575757575757575"),
                    ("synth_stab", "synth_lead", "acid_bass"), 57, 82, -5, chance=0.6,
                    gate=0.6, echo=0.4, form="AAAA"),
        wet=(0.05, 0.4), reverb_seconds=(0.5, 2.2), jitter_seconds=0.001,
    ),
    "ambient": Style(
        tempo_bpm=(52, 88), beats=4, steps=2,
        progressions=(
            ("major", "Imaj9 IVmaj9"), ("lydian", "Imaj9 II"), ("minor", "i9 bVImaj7"),
            ("dorian", "i9 IV9"), ("minor", "i9 bVImaj7 bIIImaj7 bVII"),
        ),
        grooves=({"shaker": "2.1.2.1."}, {"electronic_kick": "3.......", "shaker": "....2..."}),
        drums_db=-14, drums_chance=0.2,
        bass=Part(("1-------", "1-----5-"), ("sub_bass", "pad"), 31, 50, -5,
                  chance=0.75),
        chords=Part(("6-------", "5---6---", "a-b-c-d-", "acbdacbd"),
                    ("pad", "glass_pad"),
                    50, 74, -1, gate=1.0, echo=0.2),
        melody=Part(("6---....", "..5-6---", "6-------", "5.6.5..."),
                    ("bell", "vibraphone", "glass_pad"), 66, 90, -5, chance=0.7,
                    echo=0.4),
        wet=(0.6, 1.2), reverb_seconds=(2.0, 4.5), jitter_seconds=0.02,
    ),
}  # fmt: skip
