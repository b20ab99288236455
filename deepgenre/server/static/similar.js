// Similar songs of the index.

import * as api from "/static/api.js";
import { find } from "/static/dom.js";
import { row } from "/static/playlist.js";

export function clear(note) {
  find("similar").replaceChildren();
  find("similar-note").textContent = note;
}

export async function show(song, open, signal) {
  const found = await api.stream("/v1/similar", { song: song.id, count: 10 }, () => {}, signal);
  clear(found.songs.length ? `By the embedding of ${found.weights}.` : "The index has no others.");
  find("similar").replaceChildren(...found.songs.map((neighbour) =>
    row(neighbour.song, open, neighbour.cosine.toFixed(2), "cosine similarity")));
}
