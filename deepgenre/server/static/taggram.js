// Scores over time as a picture: a row per tag, a column per part of the song.

import { clock, colour, element, find, sized } from "/static/dom.js";
import * as player from "/static/player.js";

const ROWS = 12;
const ROW_HEIGHT = 24;

// Returns the indices of the tags with the highest mean score.
function highest(taggram) {
  const means = taggram.tags.map((_, tag) =>
    taggram.scores.reduce((sum, row) => sum + row[tag], 0) / taggram.scores.length);
  return means.map((mean, tag) => [mean, tag]).sort((a, b) => b[0] - a[0]).slice(0, ROWS)
    .map(([, tag]) => tag);
}

let shown = null; // the taggram and its rows

export function draw(taggram, choose) {
  const rows = highest(taggram);
  shown = { taggram, rows };
  const names = rows.map((tag) => taggram.tags[tag]);
  find("rows").replaceChildren(...names.map((name) => {
    const button = element("button", { type: "button", textContent: name, title: name });
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => choose(name));
    return button;
  }));
  paint();
  const summary = taggram.segments
    .map((part) => `${clock(part.start)} ${part.tag}`).join(", ");
  find("taggram").setAttribute("aria-label", `Scores of ${names.join(", ")} over time. ${summary}`);
  find("segments").replaceChildren(...taggram.segments.map((part) => {
    const label = `${clock(part.start)}–${clock(part.end)} ${part.tag}`;
    const button = element("button", { type: "button", textContent: label });
    button.addEventListener("click", () => player.seek(part.start));
    return element("li", {}, button,
      element("span", { className: "score", textContent: part.score.toFixed(2) }));
  }));
}

// Draws the picture, again where the size or the colours of the page have changed.
export function paint() {
  if (!shown) return;
  const { taggram, rows } = shown;
  const { context, width } = sized(find("taggram"), rows.length * ROW_HEIGHT);
  const scale = width / taggram.seconds;
  const heat = colour("heat");
  rows.forEach((tag, row) => {
    const top = Math.max(...taggram.scores.map((scores) => scores[tag]), 0.2);
    taggram.scores.forEach((scores, part) => {
      context.fillStyle = `rgba(${heat}, ${scores[tag] / top * Math.min(1, 0.25 + top)})`;
      const next = taggram.starts[part + 1] ?? taggram.starts[part] + taggram.lengths[part];
      const end = Math.min(next, taggram.seconds);
      const left = taggram.starts[part] * scale;
      context.fillRect(left, row * ROW_HEIGHT + 1, (end * scale) - left, ROW_HEIGHT - 2);
    });
  });
  context.fillStyle = colour("ink");
  for (const part of taggram.segments.slice(1)) {
    context.fillRect(part.start * scale, 0, 1, rows.length * ROW_HEIGHT);
  }
}

export function show(name) {
  for (const button of find("rows").children) {
    button.setAttribute("aria-pressed", String(button.textContent === name));
  }
}

find("plot").addEventListener("click", (event) => {
  const box = find("plot").getBoundingClientRect();
  player.seek((event.clientX - box.left) / box.width * player.length());
});
