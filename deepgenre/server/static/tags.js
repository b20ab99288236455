// The tags of a song: accepted, edited, and written into the file of a library song.

import * as api from "/static/api.js";
import { element, find } from "/static/dom.js";
import * as library from "/static/library.js";

const SHOWN = 12;
let current = null; // { song, weights, name }
let change = null; // what `preview` showed
let written = null; // the change that was written last

export function draw(song, weights, tags, canWrite) {
  current = { song, weights };
  const shown = tags.filter((tag, rank) => tag.proposed || rank < SHOWN);
  find("tags").replaceChildren(...shown.map((tag) => row(tag.name, tag.proposed, tag.score)));
  find("edit").hidden = !(canWrite && song.kind === "library");
  reset();
}

function row(name, checked, score) {
  const box = element("input", { type: "checkbox", checked, value: name });
  box.addEventListener("change", reset);
  const line = element("li", {}, element("label", {}, box, name));
  if (score !== undefined) {
    const meter = element("meter", { min: 0, max: 1, value: score });
    meter.setAttribute("aria-label", `score of ${name}`);
    line.append(meter, element("span", { className: "score", textContent: score.toFixed(2) }));
  }
  return line;
}

function reset() {
  change = null;
  find("write").disabled = true;
  find("change").textContent = "";
}

const chosen = () =>
  [...find("tags").querySelectorAll("input:checked")].map((box) => box.value);

function send(write) {
  const fields = { song: current.song.id, weights: current.weights, tags: chosen(), write };
  return api.post("/v1/tags", fields);
}

async function attempt(work) {
  try {
    find("change").textContent = await work();
  } catch (error) {
    find("change").textContent = error.message;
  }
}

const values = (list) => list.join(", ") || "nothing";

find("preview").addEventListener("click", () => attempt(async () => {
  const found = await send(false);
  change = found.change;
  find("write").disabled = !change;
  if (!change) return `The ${found.field} of the file stays as it is.`;
  return `${found.field}: ${values(change.old)} → ${values(change.new)}`;
}));

find("write").addEventListener("click", () => attempt(async () => {
  const found = await send(true);
  find("write").disabled = true;
  if (found.written) {
    written = { song: current.song.id, ...found.change };
    library.wrote(written.song, written.old, written.new);
  }
  return found.written ? `Written: ${found.field}. Undo restores the file.` : "Nothing changed.";
}));

find("undo").addEventListener("click", () => attempt(async () => {
  const found = await api.post("/v1/tags/undo", { song: current.song.id });
  if (written?.song === current.song.id) library.wrote(written.song, written.new, written.old);
  written = null;
  return `The file is restored${found.note ? ` (${found.note})` : ""}.`;
}));

find("edit").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = find("more").value.trim();
  if (!name) return;
  find("tags").append(row(name, true));
  find("more").value = "";
  reset();
});
