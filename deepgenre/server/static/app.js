// The page: songs are opened, analysed by the server, and shown.

import * as api from "/static/api.js";
import { clock, element, find, say } from "/static/dom.js";
import * as explain from "/static/explain.js";
import * as genres from "/static/genres.js";
import * as library from "/static/library.js";
import * as map from "/static/map.js";
import * as path from "/static/path.js";
import * as player from "/static/player.js";
import * as similar from "/static/similar.js";
import * as taggram from "/static/taggram.js";
import * as tags from "/static/tags.js";

let status = null;
let current = null; // { song, source, found }
let work = new AbortController(); // of the requests about the current song
const uploads = new Set();
let queue = []; // songs to play after the current one

const weights = () => find("weights").value;

// Runs work for the current song; what a later choice made pointless ends without a message.
async function attempt(run) {
  try {
    await run();
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  }
}

function addCard(name) {
  const button = element("button", { type: "button", textContent: name });
  find("opened").append(element("li", {}, button));
  return button;
}

async function openFiles(files) {
  const opened = [...files].map((file) => [file, addCard(file.name)]);
  for (const [number, [file, card]] of opened.entries()) {
    say(`Uploading ${file.name} …`);
    try {
      const song = { ...(await api.upload(file)), name: file.name };
      uploads.add(song.id);
      const source = URL.createObjectURL(file);
      card.addEventListener("click", () => openSong(song, { source, card }));
      if (number === 0) openSong(song, { source, card });
    } catch (error) {
      card.classList.add("failed");
      card.disabled = true;
      card.title = error.message;
      say(`${file.name}: ${error.message}`);
    }
  }
}

// Plays songs one after the other.
function playAll([first, ...rest]) {
  openSong(first, { play: true });
  queue = rest;
}

const openSimilar = (song, play) => openSong(song, { play });

function openSong(song, { source = `/v1/songs/${song.id}/audio`, card = null, play = false } = {}) {
  for (const other of document.querySelectorAll("#opened button")) {
    other.setAttribute("aria-current", String(other === card));
  }
  current = { song, source };
  queue = [];
  find("song").hidden = false;
  find("song-name").textContent = song.name;
  find("song-name").focus({ preventScroll: true });
  find("song").scrollIntoView({ block: "nearest" });
  player.open(source);
  map.show({ current: song.id });
  if (play) player.seek(0, true);
  return analyse();
}

async function analyse() {
  work.abort();
  work = new AbortController();
  const { signal } = work;
  const { song } = current;
  explain.clear();
  similar.clear(status.index ? "" : "Start the server with --index to see similar songs.");
  find("facts").replaceChildren();
  await attempt(async () => {
    const fields = { song: song.id, weights: weights() };
    const found = await api.stream("/v1/predict", fields, (event) => {
      progress(song, event);
      if (event.waveform) player.draw(event.waveform);
    }, signal);
    await show(song, found, fields, signal);
    say(`${song.name}: analysed with ${found.weights}.`);
    if (status.index) await similar.show(song, openSimilar, signal);
  });
}

function progress(song, event) {
  const texts = {
    waiting: event.ahead ? `waiting for ${event.ahead} others` : "starting",
    decoding: `decoded ${clock(event.seconds ?? 0)}`,
    scoring: "scoring",
  };
  say(`${song.name}: ${texts[event.stage]} …`);
}

async function show(song, found, fields, signal) {
  facts(found);
  if (song.kind === "library") library.know(song.id, found.tags);
  tags.draw(song, fields.weights, found.tags, status.can_write);
  const target = find("target");
  target.replaceChildren(...found.tags.map((tag) => new Option(tag.name, tag.name)));
  current.found = found;
  const [waveform, overTime] = await Promise.all([
    api.post("/v1/waveform", fields, signal), api.post("/v1/taggram", fields, signal)]);
  player.draw(waveform, waveform.seconds);
  taggram.draw(overTime, (name) => {
    find("target").value = name;
    explainTag(name);
  });
}

function facts(found) {
  const { tempo_bpm: tempo, key } = found.descriptors;
  const shown = [["Length", clock(found.seconds)], ["Tempo", tempo ? `${Math.round(tempo)} BPM` : "–"],
    ["Key", key ?? "–"], ["Weights", found.weights]];
  find("facts").replaceChildren(...shown.map(([name, value]) => element("div", {},
    element("dt", { textContent: name }), element("dd", { textContent: value }))));
}

function explainTag(name) {
  const tag = current.found.tags.find((one) => one.name === name);
  taggram.show(name);
  return attempt(() => explain.show(current.song.id, current.found.weights, tag, work.signal));
}

find("explain").addEventListener("click", () => current?.found && explainTag(find("target").value));
find("files").addEventListener("change", (event) => {
  openFiles(event.target.files);
  event.target.value = "";
});
find("weights").addEventListener("change", () => current && analyse());

const drop = find("drop");
addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
addEventListener("dragleave", () => drop.classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  openFiles(event.dataTransfer.files);
});
addEventListener("pagehide", () => uploads.forEach(api.forget));

find("audio").addEventListener("ended", () => queue.length && playAll(queue));

let drawing = 0;
function redraw() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(() => {
    taggram.paint();
    map.draw();
  });
}
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  player.recolour();
  redraw();
});

await attempt(async () => {
  status = await api.get("/v1/status");
  find("weights").replaceChildren(...Object.keys(status.weights).map((name) => new Option(name, name)));
  path.load({ one: openSimilar, all: playAll });
  await library.load(status, (song) => openSong(song), genres.choiceChanged);
  await genres.load(status);
});
