"""Which files have stayed as they are, for any sequence of observations."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from deepgenre.library.stability import Sighting, is_settled, observe

PATHS = [Path("/m/a.mp3"), Path("/m/b/c.mp3"), Path("/m/bb.mp3")]
states = st.none() | st.tuples(st.integers(0, 2), st.integers(0, 2))
folders = st.sets(st.sampled_from([Path("/m"), Path("/m/b"), Path("/n")]))
rounds = st.lists(
    st.tuples(st.dictionaries(st.sampled_from(PATHS), states), folders, st.floats(0, 20)),
    min_size=1,
    max_size=12,
)


@given(rounds, st.floats(0, 30))
def test_settled_files_had_the_same_state_in_every_scan_of_the_period(history, settle_seconds):
    sightings, now, scans = {}, 0.0, []
    for found, unreadable, seconds in history:
        now += seconds
        sightings = observe(sightings, found, unreadable, now)
        scans.append((now, found, unreadable))
    for path in PATHS:
        hidden = [any(path.is_relative_to(folder) for folder in away) for _, _, away in scans]
        seen = [(time, found.get(path, "gone")) for time, found, _ in scans]
        # What no scan could see is left out; the rest decides, from the last scan backwards.
        known = [s for s, unseen in zip(seen, hidden, strict=True) if not unseen or s[1] != "gone"]
        if not known or known[-1][1] == "gone":
            assert path not in sightings
            continue
        since = known[-1][0]
        for time, state in reversed(known):
            if state != known[-1][1]:
                break
            since = time
        assert sightings[path] == Sighting(known[-1][1], since)
        assert is_settled(sightings[path], settle_seconds, now) == (now - since >= settle_seconds)


def test_a_file_that_grows_settles_only_after_its_last_change():
    sightings, path = {}, Path("/m/a.mp3")
    settled = []
    for second, size in enumerate([1, 2, 3, 3, 3, 3, 4, 4, 4, 4]):
        sightings = observe(sightings, {path: (size, 0)}, (), second)
        settled.append(is_settled(sightings[path], 3, second))
    assert settled == [*[False] * 5, True, *[False] * 3, True]


def test_files_of_an_unreadable_folder_stay_and_deleted_ones_go():
    sightings = observe({}, dict.fromkeys(PATHS, (1, 1)), (), 0.0)
    after = observe(sightings, {PATHS[0]: (1, 1)}, [Path("/m/b")], 5.0)
    assert after == {path: Sighting((1, 1), 0.0) for path in PATHS[:2]}
