// Lists of songs: rows that open and play them, one after the other, and playlists to save.

import * as api from "/static/api.js";
import { download, element, say } from "/static/dom.js";

// Returns the row of a song: a button that plays it, one that opens it, and a number.
export function row(song, open, score, title) {
  const play = element("button", { type: "button", textContent: "▶" });
  play.setAttribute("aria-label", `Open and play ${song.name}`);
  play.addEventListener("click", () => open(song, true));
  const show = element("button", { type: "button", className: "open", textContent: song.name, title: song.name });
  show.addEventListener("click", () => open(song, false));
  return element("li", {}, play, show,
    element("span", { className: "score", textContent: score, title }));
}

export async function save(ids, name) {
  try {
    const list = await api.text("/v1/playlist", { songs: ids, name });
    download(list, "audio/x-mpegurl", `${name.replace(/[^\p{L}\p{N} _-]/gu, "_")}.m3u8`);
    say(`Saved a playlist of ${ids.length} songs.`);
  } catch (error) {
    say(error.message);
  }
}
