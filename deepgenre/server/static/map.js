// A map of the songs of the index: near songs are similar.

import * as api from "/static/api.js";
import { colour, find, sized } from "/static/dom.js";

const HEIGHT = 320;
const MARGIN = 8;
const REACH = 20; // pixels between a click and the song that it means, at most
let found = null;
let state = { matches: new Set(), current: "" };
const canvas = find("songs-map");

export async function load(open) {
  found = await api.get("/v1/map");
  find("map-figure").hidden = false;
  canvas.addEventListener("click", (event) => {
    const nearest = at(event);
    if (nearest >= 0) open({ id: found.songs[nearest], name: found.names[nearest], kind: "library" });
  });
  canvas.addEventListener("pointermove", (event) => {
    const nearest = at(event);
    canvas.title = nearest < 0 ? "" : found.names[nearest];
  });
  draw();
}

// matches: ids of the songs that the table shows; current: that of the opened song.
export function show(change) {
  state = { ...state, ...change };
  draw();
}

function place(index, width) {
  return [MARGIN + found.x[index] * (width - 2 * MARGIN), MARGIN + found.y[index] * (HEIGHT - 2 * MARGIN)];
}

function at(event) {
  const box = canvas.getBoundingClientRect();
  let best = -1;
  let least = REACH ** 2;
  found.songs.forEach((_, index) => {
    const [x, y] = place(index, box.width);
    const distance = (event.clientX - box.left - x) ** 2 + (event.clientY - box.top - y) ** 2;
    if (distance < least) [least, best] = [distance, index];
  });
  return best;
}

export function draw() {
  if (!found || find("map-figure").hidden) return;
  const { context, width } = sized(canvas, HEIGHT);
  const radius = found.songs.length > 2000 ? 1.5 : 4;
  const dot = (index, fill, size) => {
    const [x, y] = place(index, width);
    context.fillStyle = fill;
    context.beginPath();
    context.arc(x, y, size, 0, 2 * Math.PI);
    context.fill();
  };
  const [grey, accent, ink] = [colour("line"), colour("accent"), colour("ink")];
  found.songs.forEach((id, index) => state.matches.has(id) || dot(index, grey, radius));
  found.songs.forEach((id, index) => state.matches.has(id) && dot(index, accent, radius));
  const current = found.songs.indexOf(state.current);
  if (current >= 0) {
    dot(current, ink, radius + 4);
    dot(current, accent, radius + 1);
  }
}
