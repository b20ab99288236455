// The songs of the library as a table: search, sort, filter by tag, playlists of a selection.

import * as api from "/static/api.js";
import { element, find, say } from "/static/dom.js";
import * as map from "/static/map.js";
import { save } from "/static/playlist.js";

const ROWS = 300; // shown at most
const REDRAW_MS = 500; // between two drawings while tags arrive
const known = new Map(); // by song: { artist, tags (of the file), predicted }
const NOTHING = { artist: "", tags: [], predicted: [] };
const chosen = new Map(); // songs by id, in the order in which they were chosen
let songs = [];
let order = { key: "folder", sign: 1 };
let open = () => {};
let changed = () => {}; // is called when the choice of songs has changed
let running = null; // the analysis of many songs

export async function load(status, openSong, onChoice) {
  open = openSong;
  changed = onChoice;
  if (!status.library) return;
  songs = (await api.get("/v1/songs")).songs;
  find("library").hidden = false;
  find("find-path").hidden = find("path-length").hidden = !status.index;
  draw();
  readTags();
  if (status.index) await map.load(open, status.maps);
}

// Reads the tags of all songs, which arrive as the server reads the files.
async function readTags() {
  try {
    let drawn = performance.now();
    for (let count = 0, total = songs.length; count < total;) {
      const found = await api.get(`/v1/library/tags?after=${count}`);
      for (const row of found.songs) {
        const predicted = known.get(row.id)?.predicted ?? row.predicted;
        known.set(row.id, { ...row, predicted });
      }
      count += found.songs.length;
      if (count < total && performance.now() - drawn < REDRAW_MS) continue;
      drawn = performance.now();
      draw();
    }
  } catch (error) {
    say(error.message);
  }
}

const about = (song) => known.get(song.id) ?? NOTHING;

// Remembers the proposed tags of a song.
export function know(song, found) {
  const predicted = found.filter((tag) => tag.proposed).map((tag) => tag.name);
  known.set(song, { ...(known.get(song) ?? NOTHING), predicted });
  draw();
}

// Remembers that tags of a song's file were changed.
export function wrote(song, before, after) {
  const now = known.get(song) ?? NOTHING;
  const tags = [...new Set([...now.tags.filter((tag) => !before.includes(tag)), ...after])];
  known.set(song, { ...now, tags });
  draw();
}

export const has = (song) => songs.some((one) => one.id === song);
export const chosenSongs = () => [...chosen.values()];

export function chooseNone() {
  chosen.clear();
  draw();
}

const same = (tag) => tag.toLowerCase();
const tagsOf = (song) => [...about(song).tags, ...about(song).predicted];
const text = (song, key) => (key in NOTHING ? [].concat(about(song)[key]).join(", ") : song[key]);

function matching() {
  const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const tag = find("filter").value;
  return songs
    .filter((song) => {
      const all = [song.name, song.folder, about(song).artist, ...tagsOf(song)].join(" ").toLowerCase();
      return words.every((word) => all.includes(word)) &&
        (!tag || tagsOf(song).some((one) => same(one) === tag));
    })
    .sort((a, b) => order.sign *
      text(a, order.key).localeCompare(text(b, order.key), undefined, { numeric: true }));
}

function choose(song, isChosen) {
  if (isChosen) chosen.set(song.id, song);
  else chosen.delete(song.id);
}

function row(song) {
  const box = element("input", { type: "checkbox", checked: chosen.has(song.id) });
  box.setAttribute("aria-label", `Choose ${song.name}`);
  box.addEventListener("change", () => {
    choose(song, box.checked);
    count();
  });
  const name = element("button", { type: "button", textContent: song.name });
  name.addEventListener("click", () => open(song));
  const artist = element("span", { className: "meta", textContent: about(song).artist });
  const cells = [[box], [name, artist], [song.folder], [text(song, "tags") || "–"],
    [text(song, "predicted") || "–"]];
  return element("tr", {}, ...cells.map((content) => element("td", {}, ...content)));
}

function count(found = matching()) {
  const more = found.length > ROWS ? `; the first ${ROWS} are shown` : "";
  const selected = chosen.size ? `, ${chosen.size} chosen` : "";
  find("count").textContent = `${found.length} of ${songs.length} songs${selected}${more}`;
  find("playlist").disabled = find("none").disabled = !chosen.size;
  find("find-path").disabled = chosen.size !== 2;
  const shown = found.filter((song) => chosen.has(song.id)).length;
  find("all").checked = found.length > 0 && shown === found.length;
  find("all").indeterminate = shown > 0 && shown < found.length;
  changed();
}

// Returns the tags that songs have, as [tag in lower case, { tag, songs }], the most frequent first.
function frequent() {
  const counts = new Map();
  for (const song of songs) {
    for (const tag of new Map(tagsOf(song).map((one) => [same(one), one])).values()) {
      const entry = counts.get(same(tag)) ?? { tag, songs: 0 };
      entry.songs += 1;
      counts.set(same(tag), entry);
    }
  }
  return [...counts].sort(([, a], [, b]) => b.songs - a.songs || a.tag.localeCompare(b.tag));
}

export function draw() {
  const tags = frequent();
  const filter = find("filter");
  const selected = filter.value;
  filter.replaceChildren(new Option("any", ""), ...tags.map(([value, entry]) =>
    new Option(`${entry.tag} (${entry.songs})`, value)));
  filter.value = tags.some(([value]) => value === selected) ? selected : "";
  const found = matching();
  find("table").tBodies[0].replaceChildren(...found.slice(0, ROWS).map(row));
  for (const heading of document.querySelectorAll("th[data-key]")) {
    if (heading.dataset.key !== order.key) heading.removeAttribute("aria-sort");
    else heading.setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
  }
  count(found);
  const coloured = tags.slice(0, map.COLOURS.length);
  map.legend(coloured.map(([, entry]) => entry.tag), (tag) => {
    filter.value = filter.value === same(tag) ? "" : same(tag);
    draw();
  });
  const numbers = new Map(coloured.map(([value], number) => [value, number]));
  const groups = new Map(songs.map((song) =>
    [song.id, numbers.get(tagsOf(song).map(same).find((tag) => numbers.has(tag)))]));
  map.show({ matches: new Set(found.map((song) => song.id)), groups });
}

async function analyseShown() {
  const todo = matching().slice(0, ROWS).filter((song) => !about(song).predicted.length);
  running = new AbortController();
  find("analyse").textContent = "Stop";
  let failed = 0;
  try {
    for (const [number, song] of todo.entries()) {
      say(`Analysing ${number + 1} of ${todo.length}: ${song.name}`);
      const fields = { song: song.id, weights: find("weights").value };
      try {
        know(song.id, (await api.post("/v1/predict", fields, running.signal)).tags);
      } catch (error) {
        if (!(error instanceof api.Refused)) throw error;
        failed += 1;
      }
    }
    say(`Analysed ${todo.length - failed} songs${failed ? `; ${failed} failed` : ""}.`);
  } catch (error) {
    say(error.name === "AbortError" ? "Stopped." : `Stopped: ${error.message}`);
  } finally {
    running = null;
    find("analyse").textContent = "Analyse the songs shown";
  }
}

for (const id of ["search", "filter"]) find(id).addEventListener("input", draw);
find("all").addEventListener("change", (event) => {
  for (const song of matching()) choose(song, event.target.checked);
  draw();
});
find("none").addEventListener("click", chooseNone);
find("analyse").addEventListener("click", () => (running ? running.abort() : analyseShown()));
find("playlist").addEventListener("click", () => {
  const name = find("filter").selectedOptions[0].text.replace(/ \(\d+\)$/, "");
  const title = find("filter").value ? name : find("search").value || "Selection";
  save(songs.filter((song) => chosen.has(song.id)).map((song) => song.id), title);
});
for (const heading of document.querySelectorAll("th[data-key]")) {
  heading.querySelector("button").addEventListener("click", () => {
    const key = heading.dataset.key;
    order = { key, sign: key === order.key ? -order.sign : 1 };
    draw();
  });
}
