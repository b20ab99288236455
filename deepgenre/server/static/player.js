// The waveform, playback, and the cursor that follows it.

import WaveSurfer from "/static/vendor/wavesurfer.esm.js";
import Regions from "/static/vendor/regions.esm.js";
import { clock, colour, find } from "/static/dom.js";

const audio = find("audio");
const position = find("position");
let wave = null;
let regions = null;
let seconds = 0;

export function open(source) {
  audio.src = source;
  seconds = 0;
  follow();
  wave?.destroy();
  wave = null;
}

const colours = () => ({
  waveColor: colour("wave"), progressColor: colour("accent"), cursorColor: colour("ink"),
});

// Follows a change of the page's colours.
export function recolour() {
  wave?.setOptions(colours());
}

export function draw(waveform, length) {
  seconds = length || waveform.column_seconds * waveform.highest.length;
  wave?.destroy();
  regions = Regions.create();
  wave = WaveSurfer.create({
    container: find("wave"),
    media: audio,
    peaks: [waveform.highest, waveform.lowest],
    duration: seconds,
    height: 96,
    normalize: true,
    ...colours(),
    cursorWidth: 2,
    dragToSeek: true,
    hideScrollbar: true,
    cspNonce: document.querySelector("meta[name=csp-nonce]").content,
    plugins: [regions],
  });
  follow();
}

// Marks a part of the waveform.
export function mark(start, end) {
  regions?.clearRegions();
  regions?.addRegion({ start, end, color: colour("region"), drag: false, resize: false });
}

export function seek(to, play = false) {
  audio.currentTime = Math.min(Math.max(0, to), length());
  if (play) audio.play();
  follow();
}

export const length = () => seconds || audio.duration || 0;

function follow() {
  const total = length();
  const share = total ? audio.currentTime / total : 0;
  position.max = String(total || 1);
  position.value = String(audio.currentTime);
  position.setAttribute("aria-valuetext", `${clock(audio.currentTime)} of ${clock(total)}`);
  find("time").textContent = `${clock(audio.currentTime)} / ${clock(total)}`;
  find("cursor").style.left = `${100 * Math.min(1, share)}%`;
}

function frame() {
  follow();
  if (!audio.paused) requestAnimationFrame(frame);
}

function showState() {
  find("play").textContent = audio.paused ? "Play" : "Pause";
  find("play").setAttribute("aria-pressed", String(!audio.paused));
  frame();
}

find("play").addEventListener("click", () => (audio.paused ? audio.play() : audio.pause()));
position.addEventListener("input", () => seek(Number(position.value)));
for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, showState);
for (const event of ["seeked", "timeupdate", "loadedmetadata"]) audio.addEventListener(event, follow);
