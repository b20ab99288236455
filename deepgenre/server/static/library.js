// The songs of the library as a table: search, sort, filter by tag, playlists of a selection.

import * as api from "/static/api.js";
import { element, find, say } from "/static/dom.js";
import * as map from "/static/map.js";

const ROWS = 300; // shown at most
const tags = new Map(); // proposed tags by song, as far as they are known
const chosen = new Set();
let songs = [];
let order = { key: "folder", sign: 1 };
let open = () => {};
let running = null; // the analysis of many songs

export async function load(status, openSong) {
  open = openSong;
  if (!status.library) return;
  songs = (await api.get("/v1/songs")).songs;
  find("library").hidden = false;
  draw();
  if (status.index) await map.load(open);
}

// Remembers the proposed tags of a song.
export function know(song, found) {
  tags.set(song, found.filter((tag) => tag.proposed).map((tag) => tag.name));
  draw();
}

const tagsOf = (song) => tags.get(song.id) ?? [];
const text = (song, key) => (key === "tags" ? tagsOf(song).join(", ") : song[key]);

function matching() {
  const words = find("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const tag = find("filter").value;
  return songs
    .filter((song) => {
      const all = `${song.name} ${song.folder} ${tagsOf(song).join(" ")}`.toLowerCase();
      return words.every((word) => all.includes(word)) && (!tag || tagsOf(song).includes(tag));
    })
    .sort((a, b) => order.sign *
      text(a, order.key).localeCompare(text(b, order.key), undefined, { numeric: true }));
}

function row(song) {
  const box = element("input", { type: "checkbox", checked: chosen.has(song.id) });
  box.setAttribute("aria-label", `Choose ${song.name}`);
  box.addEventListener("change", () => {
    if (box.checked) chosen.add(song.id);
    else chosen.delete(song.id);
    count();
  });
  const name = element("button", { type: "button", textContent: song.name });
  name.addEventListener("click", () => open(song));
  const cells = [box, name, song.folder, text(song, "tags") || "–"];
  return element("tr", {}, ...cells.map((content) => element("td", {}, content)));
}

function count(found = matching()) {
  const more = found.length > ROWS ? `; the first ${ROWS} are shown` : "";
  const selected = chosen.size ? `, ${chosen.size} chosen` : "";
  find("count").textContent = `${found.length} of ${songs.length} songs${selected}${more}`;
  find("playlist").disabled = !chosen.size;
}

export function draw() {
  const known = [...new Set([...tags.values()].flat())].sort();
  const filter = find("filter");
  const selected = filter.value;
  filter.replaceChildren(new Option("any", ""), ...known.map((tag) => new Option(tag, tag)));
  filter.value = known.includes(selected) ? selected : "";
  const found = matching();
  find("table").tBodies[0].replaceChildren(...found.slice(0, ROWS).map(row));
  for (const heading of document.querySelectorAll("th[data-key]")) {
    if (heading.dataset.key !== order.key) heading.removeAttribute("aria-sort");
    else heading.setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
  }
  count(found);
  map.show({ matches: new Set(found.map((song) => song.id)) });
}

async function analyseShown() {
  const todo = matching().slice(0, ROWS).filter((song) => !tags.has(song.id));
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

async function save() {
  const name = find("filter").value || find("search").value || "Selection";
  const ids = songs.filter((song) => chosen.has(song.id)).map((song) => song.id);
  try {
    const list = await api.text("/v1/playlist", { songs: ids, name });
    const href = URL.createObjectURL(new Blob([list], { type: "audio/x-mpegurl" }));
    element("a", { href, download: `${name.replace(/[^\p{L}\p{N} _-]/gu, "_")}.m3u8` }).click();
    URL.revokeObjectURL(href);
    say(`Saved a playlist of ${ids.length} songs.`);
  } catch (error) {
    say(error.message);
  }
}

for (const id of ["search", "filter"]) find(id).addEventListener("input", draw);
find("analyse").addEventListener("click", () => (running ? running.abort() : analyseShown()));
find("playlist").addEventListener("click", save);
for (const heading of document.querySelectorAll("th[data-key]")) {
  heading.querySelector("button").addEventListener("click", () => {
    const key = heading.dataset.key;
    order = { key, sign: key === order.key ? -order.sign : 1 };
    draw();
  });
}
