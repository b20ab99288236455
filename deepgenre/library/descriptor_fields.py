"""Texts of descriptors for the metadata of audio files.

    field                   ID3                          Vorbis comments        MP4
    bpm                     TBPM                         BPM                    tmpo
    key                     TKEY                         INITIALKEY             ----:initialkey
    replaygain_track_gain   TXXX:REPLAYGAIN_TRACK_GAIN   REPLAYGAIN_TRACK_GAIN  ----:replaygain_..
    replaygain_track_peak   TXXX:REPLAYGAIN_TRACK_PEAK   REPLAYGAIN_TRACK_PEAK  ----:replaygain_..

TBPM and tmpo are integers. A key is written as ID3v2.4 defines it: 'F#m', 'Bb'. Opus files have a
gain of their own kind, R128_TRACK_GAIN (RFC 7845).
"""

from collections.abc import Mapping

from deepgenre.audio.describe import Descriptor


def texts(descriptors: Mapping[str, Descriptor]) -> dict[str, str]:
    """Returns the text of each field whose descriptor, by column, is known."""
    fields = {}
    if (bpm := descriptors.get("tempo_bpm")) is not None:
        fields["bpm"] = str(round(float(bpm)))
    if key := descriptors.get("key"):
        tonic, mode = str(key).split()
        fields["key"] = f"{tonic}m" if mode == "minor" else tonic
    if (gain_db := descriptors.get("replaygain_db")) is not None:
        fields["replaygain_track_gain"] = f"{float(gain_db):.2f} dB"
    if (peak_dbtp := descriptors.get("true_peak_dbtp")) is not None:
        fields["replaygain_track_peak"] = f"{10 ** (float(peak_dbtp) / 20):.6f}"
    return fields
