// Similar songs of the index.

import * as api from "/static/api.js";
import { element, find } from "/static/dom.js";

export function clear(note) {
  find("similar").replaceChildren();
  find("similar-note").textContent = note;
}

export async function show(song, open, signal) {
  const found = await api.stream("/v1/similar", { song: song.id, count: 10 }, () => {}, signal);
  clear(found.songs.length ? `By the embedding of ${found.weights}.` : "The index has no others.");
  find("similar").replaceChildren(...found.songs.map((neighbour) => {
    const name = neighbour.song.name;
    const play = element("button", { type: "button", textContent: "▶" });
    play.setAttribute("aria-label", `Open and play ${name}`);
    play.addEventListener("click", () => open(neighbour.song, true));
    const show = element("button", { type: "button", className: "open", textContent: name });
    show.addEventListener("click", () => open(neighbour.song, false));
    const score = element("span", { className: "score", textContent: neighbour.cosine.toFixed(2) });
    score.title = "cosine similarity";
    return element("li", {}, play, show, score);
  }));
}
