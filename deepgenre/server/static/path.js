// A path of songs from one chosen song to another.

import * as api from "/static/api.js";
import { find, say } from "/static/dom.js";
import * as library from "/static/library.js";
import * as map from "/static/map.js";
import { row, save } from "/static/playlist.js";

let songs = []; // of the path that is shown
let play = { one: () => {}, all: () => {} };

export function load(playing) {
  play = playing;
}

function draw(found) {
  songs = found.songs.map((step) => step.song);
  find("path-panel").hidden = false;
  find("path").replaceChildren(...found.songs.map((step, index) =>
    row(step.song, play.one, index ? step.cosine.toFixed(2) : "", "cosine to the song before")));
  map.show({ path: songs.map((song) => song.id) });
}

find("find-path").addEventListener("click", async () => {
  const [from, to] = library.chosenSongs();
  say(`Looking for a path from ${from.name} to ${to.name} …`);
  try {
    const count = Number(find("path-count").value);
    draw(await api.stream("/v1/path", { from: from.id, to: to.id, count }, () => {}));
    say(`A path of ${songs.length} songs from ${from.name} to ${to.name}.`);
    find("path-title").focus();
  } catch (error) {
    say(error.message);
  }
});
find("path-play").addEventListener("click", () => play.all(songs));
find("path-save").addEventListener("click", () =>
  save(songs.map((song) => song.id), `From ${songs[0].name} to ${songs.at(-1).name}`));
find("path-close").addEventListener("click", () => {
  find("path-panel").hidden = true;
  map.show({ path: [] });
});
