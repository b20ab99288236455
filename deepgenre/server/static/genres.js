// A user's own genres: examples, what weights learned from them are worth, and songs to label next.

import * as api from "/static/api.js";
import { bytes, download, element, find, say } from "/static/dom.js";
import * as library from "/static/library.js";
import * as map from "/static/map.js";

const KEPT = "deepgenre own genres"; // in the browser, so that a reload loses nothing
const NEEDED = 2; // songs of a genre, below which it cannot be measured
let genres = new Map(); // songs by genre
let skipped = new Set(); // ids of songs that are of none
let questions = [];
let asked = 0;
let learned = null; // what the server returned last
let running = null;

export async function load(status) {
  find("own").hidden = !status.library;
  if (!status.library) return;
  find("own-index").hidden = Boolean(status.index);
  find("learn").textContent = status.index ? "Learn, then ask me ten songs" : "Learn";
  const given = (await api.get("/v1/fewshot")).genres;
  const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
  const exists = (song) => library.has(song.id) || map.has(song.id);
  for (const [name, songs] of Object.entries(given)) genres.set(name, [...songs]);
  for (const [name, songs] of Object.entries(kept.genres ?? {})) {
    songs.filter(exists).forEach((song) => add(name, song));
  }
  skipped = new Set(kept.skipped ?? []);
  draw();
}

// Adds a song to a genre, and takes it out of others.
function add(name, song) {
  for (const songs of genres.values()) {
    const at = songs.findIndex((one) => one.id === song.id);
    if (at >= 0) songs.splice(at, 1);
  }
  genres.set(name, [...(genres.get(name) ?? []), song]);
}

function keep() {
  const shown = Object.fromEntries([...genres].map(([name, songs]) =>
    [name, songs.map(({ id, name: title }) => ({ id, name: title }))]));
  localStorage.setItem(KEPT, JSON.stringify({ genres: shown, skipped: [...skipped] }));
}

function draw() {
  find("genres").replaceChildren(...[...genres].sort().map(([name, songs]) => {
    const remove = element("button", { type: "button", textContent: "×" });
    remove.setAttribute("aria-label", `Remove ${name}`);
    remove.addEventListener("click", () => {
      genres.delete(name);
      keep();
      draw();
    });
    const count = element("span", { className: "meta", textContent: `${songs.length} songs` });
    count.title = songs.map((song) => song.name).join("\n");
    return element("li", { className: "genre" }, element("strong", { textContent: name }), count, remove);
  }));
  find("genre-names").replaceChildren(...[...genres.keys()].map((name) => new Option(name)));
  const usable = [...genres.values()].filter((songs) => songs.length).length;
  find("learn").disabled = usable < 2 && !running;
  find("own-clear").disabled = !genres.size;
  choiceChanged();
}

export function choiceChanged() {
  const count = library.chosenSongs().length;
  find("add-examples").disabled = !count;
  find("add-examples").textContent = count ? `Add the ${count} chosen songs` : "Add the chosen songs";
}

async function learn() {
  running = new AbortController();
  find("question").hidden = true;
  const label = find("learn").textContent;
  find("learn").textContent = "Stop";
  const used = [...genres].filter(([, songs]) => songs.length);
  const fields = {
    genres: Object.fromEntries(used.map(([name, songs]) => [name, songs.map((song) => song.id)])),
    skipped: [...skipped], ask: 10,
  };
  try {
    learned = await api.stream("/v1/fewshot", fields, progress, running.signal);
    questions = learned.questions;
    asked = 0;
    showWorth();
    say("Learned your genres.");
    ask();
  } catch (error) {
    say(error.name === "AbortError" ? "Stopped." : error.message);
  } finally {
    running = null;
    find("learn").textContent = label;
    draw();
  }
}

function progress(event) {
  if (event.stage === "embedding") say(`Embedding example ${event.song} of ${event.songs} …`);
  else say("Fitting and measuring …");
}

const share = (value) => `${Math.round(100 * value)} %`;

function showWorth() {
  const found = learned;
  const sentences = [];
  if (found.accuracy === null) {
    sentences.push("No song could be tested: give each genre songs of two or more artists.");
  } else {
    const low = share(found.accuracy_low).replace(" %", "");
    sentences.push(`${share(found.accuracy)} of the tested songs right (95 % interval ${low} to ` +
      `${share(found.accuracy_high)}; chance ${share(found.accuracy_chance)}).`);
  }
  sentences.push(`${found.tested} of ${found.songs} songs tested, ${found.how}.`);
  if (found.untested.length) {
    sentences.push(`Not tested, as all their songs are by one artist: ${found.untested.join(", ")}.`);
  }
  for (const one of found.failed) sentences.push(`${one.song.name}: ${one.error}`);
  find("worth").replaceChildren(
    element("p", {}, element("strong", { textContent: sentences[0] })),
    element("p", { className: "meta", textContent: sentences.slice(1).join(" ") }),
    element("ul", { className: "cards" }, ...found.genres.map((genre) => element("li", { className: "genre" },
      element("strong", { textContent: genre.name }),
      element("span", { className: "meta", textContent: genre.songs < NEEDED || genre.recall == null
        ? `${genre.songs} songs, not tested` : `${share(genre.recall)} found` })))));
  find("save-weights").disabled = false;
}

function ask() {
  const question = questions[asked];
  find("question").hidden = !question;
  if (!question) {
    find("question-audio").removeAttribute("src");
    return;
  }
  find("question-title").textContent = `Song ${asked + 1} of ${questions.length}: which genre is it?`;
  find("question-song").textContent = question.song.name;
  find("question-audio").src = `/v1/songs/${question.song.id}/audio`;
  const scores = new Map(question.best.map((one) => [one.name, one.score]));
  const names = [...genres.keys()].sort((a, b) => (scores.get(b) ?? 0) - (scores.get(a) ?? 0));
  const buttons = names.map((name) => {
    const score = scores.has(name) ? ` ${scores.get(name).toFixed(2)}` : "";
    const button = element("button", { type: "button" }, name,
      element("span", { className: "score", textContent: score }));
    button.addEventListener("click", () => answer(() => add(name, question.song)));
    return button;
  });
  const none = element("button", { type: "button", className: "plain", textContent: "None of these" });
  none.addEventListener("click", () => answer(() => skipped.add(question.song.id)));
  find("answers").replaceChildren(...buttons, none);
  find("question-title").focus({ preventScroll: asked > 0 });
}

function answer(record) {
  record();
  keep();
  draw();
  asked += 1;
  if (asked < questions.length) return ask();
  return learn();
}

find("examples").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = find("genre").value.trim();
  if (!name) {
    say("Type the name of the genre.");
    find("genre").focus();
    return;
  }
  const songs = library.chosenSongs();
  songs.forEach((song) => add(name, song));
  say(`${name}: added ${songs.length} songs.`);
  find("genre").value = "";
  library.chooseNone();
  keep();
  draw();
});
find("learn").addEventListener("click", () => (running ? running.abort() : learn()));
find("save-weights").addEventListener("click", () => {
  download(bytes(learned.file), "application/octet-stream", "mine.safetensors");
  say(`Saved. Use it: deepgenre serve --weights=mine.safetensors (it needs ${learned.base}).`);
});
find("own-clear").addEventListener("click", () => {
  genres = new Map();
  skipped = new Set();
  learned = null;
  questions = [];
  find("worth").replaceChildren();
  find("save-weights").disabled = true;
  ask();
  keep();
  draw();
});
