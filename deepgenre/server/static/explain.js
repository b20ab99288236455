// Which parts of a window a score rests on: a picture over the spectrogram, and a sound.

import * as api from "/static/api.js";
import { bytes, clock, colour, find, say } from "/static/dom.js";
import * as player from "/static/player.js";

const HEIGHT = 160;
let sound = "";

export function clear() {
  find("explanation").hidden = true;
  find("parts").removeAttribute("src");
  if (sound) URL.revokeObjectURL(sound);
  sound = "";
}

export async function show(song, weights, tag, signal) {
  say(`Explaining ${tag.name} …`);
  const fields = { song, weights, class: tag.class };
  const found = await api.stream("/v1/explain", fields, () => {}, signal);
  clear();
  find("explanation").hidden = false;
  paint(found);
  sound = URL.createObjectURL(new Blob([bytes(found.sound)], { type: "audio/flac" }));
  find("parts").src = sound;
  const end = found.start_seconds + found.window_seconds;
  const where = `${clock(found.start_seconds)}–${clock(end)}`;
  const parts = found.parts.map((part) =>
    `${clock(part.start_seconds)}, ${Math.round(part.low_hz)}–${Math.round(part.high_hz)} Hz`);
  const most = parts.length ? `Most support: ${parts.join("; ")}.` : "Nothing in it supports the tag.";
  const text = `${found.target}, score ${found.score.toFixed(2)} at ${where}. ${most}`;
  find("explain-text").textContent = `${text} Orange: support; purple: evidence against it.`;
  find("map").setAttribute("aria-label", `Spectrogram with support. ${text}`);
  player.mark(found.start_seconds, end);
  say(`Explained ${tag.name}.`);
}

// Draws the spectrogram in grey, and on it the support; the lowest band is at the bottom.
function paint(found) {
  const canvas = find("map");
  canvas.style.height = `${HEIGHT}px`;
  canvas.width = found.frames;
  canvas.height = found.bands;
  const plane = bytes(found.plane);
  const map = bytes(found.map);
  const support = colour("support").split(",").map(Number);
  const against = colour("against").split(",").map(Number);
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const context = canvas.getContext("2d");
  const image = context.createImageData(found.frames, found.bands);
  for (let frame = 0; frame < found.frames; frame++) {
    for (let band = 0; band < found.bands; band++) {
      const from = frame * found.bands + band;
      const to = 4 * ((found.bands - 1 - band) * found.frames + frame);
      const grey = isDark ? plane[from] * 0.8 : 255 - plane[from] * 0.8;
      const strength = (map[from] - 128) / 127;
      const tint = strength > 0 ? support : against;
      const share = Math.min(1, 1.5 * Math.abs(strength) ** 0.75);
      for (let part = 0; part < 3; part++) {
        image.data[to + part] = grey * (1 - share) + tint[part] * share;
      }
      image.data[to + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
}
