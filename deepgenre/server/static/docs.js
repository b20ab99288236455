// Shows the OpenAPI document of the server.

import * as api from "/static/api.js";
import { element, find } from "/static/dom.js";

function fields(title, schema) {
  const rows = Object.entries(schema?.properties ?? {});
  if (!rows.length) return [];
  return [element("h3", { textContent: title }), element("dl", {}, ...rows.map(([name, field]) =>
    element("div", {}, element("dt", { textContent: name }),
      element("dd", { textContent: field.description }))))];
}

const found = await api.get("/openapi.json");
find("description").textContent = found.info.description;
find("examples").textContent = [
  `curl --data-binary @song.mp3 -H 'Content-Type: audio/mpeg' ${location.origin}/v1/predict`,
  `curl -H 'Content-Type: application/json' -d '{"song": "ID", "count": 5}' ${location.origin}/v1/similar`,
].join("\n");
for (const [path, methods] of Object.entries(found.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    const content = operation.requestBody?.content ?? {};
    const answer = operation.responses["200"].content["application/json"].schema;
    const audio = content["application/octet-stream"];
    find("operations").append(
      element("h2", { textContent: `${method.toUpperCase()} ${path}` }),
      element("p", { textContent: operation.summary }),
      ...(audio ? [element("p", { textContent: "The body may be the bytes of a song." })] : []),
      ...fields("Query", { properties: Object.fromEntries(
        operation.parameters.filter((one) => one.in === "query").map((one) => [one.name, one])) }),
      ...fields("Request", content["application/json"]?.schema),
      ...fields("Answer", answer),
    );
  }
}
