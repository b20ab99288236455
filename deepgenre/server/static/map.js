// A map of the songs of the index: near songs are similar.

import * as api from "/static/api.js";
import { colour, element, find, say, sized } from "/static/dom.js";

const HEIGHT = 360;
const MARGIN = 10;
const REACH = 20; // pixels between a click and the song that it means, at most
const HINT = "Near songs are similar. Click opens the nearest song.";
// Distinct to colour-blind eyes, on light and dark (P. Tol's bright scheme and orange).
export const COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733"];
const maps = {}; // by method, as far as they were asked for
let found = null; // the map that is shown
let state = { matches: new Set(), groups: new Map(), path: [], current: "" };
const canvas = find("songs-map");
const method = find("method");

export async function load(open, methods) {
  find("map-figure").hidden = false;
  method.replaceChildren(...methods.map((name) => new Option(name.toUpperCase(), name)));
  find("method-line").hidden = methods.length < 2;
  method.addEventListener("change", () => choose(method.value));
  canvas.addEventListener("click", (event) => {
    const nearest = at(event);
    if (nearest >= 0) open({ id: found.songs[nearest], name: found.names[nearest], kind: "library" });
  });
  canvas.addEventListener("pointermove", (event) => {
    const nearest = at(event);
    find("map-caption").textContent = nearest < 0 ? HINT : found.names[nearest];
  });
  canvas.addEventListener("pointerleave", () => (find("map-caption").textContent = HINT));
  await choose(methods.at(-1)); // PCA takes no time
  if (methods.length > 1) choose(methods[0]);
}

export const has = (song) => found?.songs.includes(song);

async function choose(name) {
  method.value = name;
  find("map-caption").textContent = `Computing the map by ${name.toUpperCase()} …`;
  try {
    maps[name] ??= api.get(`/v1/map?method=${name}`);
    const map = await maps[name];
    if (method.value === name) found = map;
  } catch (error) {
    delete maps[name];
    if (found) method.value = found.method;
    say(error.message);
  }
  find("map-caption").textContent = HINT;
  draw();
}

// matches: ids of the songs that the table shows; groups: number of the colour by id, and `names`
// of the colours; path: ids of songs that a line joins; current: id of the opened song.
export function show(change) {
  state = { ...state, ...change };
  draw();
}

export function legend(names, choose) {
  find("legend").replaceChildren(...names.map((name, index) => {
    const button = element("button", { type: "button", textContent: name });
    button.style.setProperty("--swatch", COLOURS[index]);
    button.addEventListener("click", () => choose(name));
    return element("li", {}, button);
  }));
}

function place(index, width) {
  return [MARGIN + found.x[index] * (width - 2 * MARGIN), MARGIN + found.y[index] * (HEIGHT - 2 * MARGIN)];
}

function at(event) {
  const box = canvas.getBoundingClientRect();
  let best = -1;
  let least = REACH ** 2;
  found?.songs.forEach((_, index) => {
    const [x, y] = place(index, box.width);
    const distance = (event.clientX - box.left - x) ** 2 + (event.clientY - box.top - y) ** 2;
    if (distance < least) [least, best] = [distance, index];
  });
  return best;
}

export function draw() {
  if (!found || find("map-figure").hidden) return;
  const { context, width } = sized(canvas, HEIGHT);
  const radius = found.songs.length > 2000 ? 1.5 : found.songs.length > 300 ? 3.5 : 5;
  const dot = (index, fill, size) => {
    const [x, y] = place(index, width);
    context.fillStyle = fill;
    context.beginPath();
    context.arc(x, y, size, 0, 2 * Math.PI);
    context.fill();
  };
  const [grey, soft, ink] = [colour("line"), colour("wave"), colour("ink")];
  found.songs.forEach((id, index) => state.matches.has(id) || dot(index, grey, radius));
  found.songs.forEach((id, index) =>
    state.matches.has(id) && dot(index, COLOURS[state.groups.get(id)] ?? soft, radius));
  const path = state.path.map((id) => found.songs.indexOf(id)).filter((index) => index >= 0);
  context.strokeStyle = ink;
  context.lineWidth = 2;
  context.beginPath();
  path.forEach((index) => context.lineTo(...place(index, width)));
  context.stroke();
  path.forEach((index) => dot(index, ink, radius + 1));
  const current = found.songs.indexOf(state.current);
  if (current >= 0) {
    dot(current, ink, radius + 5);
    dot(current, colour("panel"), radius + 3);
    dot(current, colour("accent"), radius + 1);
  }
}
