// Requests to the server: JSON, and streams of events for what takes longer.

export class Refused extends Error {}

async function checked(response) {
  if (response.ok) return response;
  let sentence = `The server answered ${response.status}.`;
  try {
    sentence = (await response.json()).error || sentence;
  } catch {
    // not JSON: the status says what there is to say
  }
  throw new Refused(sentence);
}

const JSON_TYPE = { "Content-Type": "application/json" };

export async function get(path) {
  return (await checked(await fetch(path))).json();
}

export async function post(path, fields, signal) {
  const body = JSON.stringify(fields);
  const sent = await fetch(path, { method: "POST", headers: JSON_TYPE, body, signal });
  return (await checked(sent)).json();
}

export async function text(path, fields) {
  const body = JSON.stringify(fields);
  return (await checked(await fetch(path, { method: "POST", headers: JSON_TYPE, body }))).text();
}

export async function upload(file, signal) {
  const headers = { "Content-Type": "application/octet-stream" };
  return (await checked(await fetch("/v1/songs", { method: "POST", headers, body: file, signal }))).json();
}

export function forget(song) {
  fetch(`/v1/songs/${song}`, { method: "DELETE", keepalive: true }).catch(() => {});
}

// Posts a request and calls `progress` with what the server tells meanwhile; returns the result.
export async function stream(path, fields, progress, signal) {
  const headers = { ...JSON_TYPE, Accept: "text/event-stream" };
  const body = JSON.stringify(fields);
  const response = await checked(await fetch(path, { method: "POST", headers, body, signal }));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) throw new Refused("The server ended the connection; try again.");
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [, name, data] = event.match(/^event: (.*)\ndata: (.*)$/);
      const found = JSON.parse(data);
      if (name === "result") return found;
      if (name === "refused") throw new Refused(found.error);
      progress(found);
    }
  }
}
