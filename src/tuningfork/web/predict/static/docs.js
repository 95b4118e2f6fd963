// The OpenAPI description as a page.
import { request } from "./api.js";
import { byId, element } from "./dom.js";

for (const place of document.querySelectorAll(".origin")) place.textContent = location.origin;
const api = await request("/openapi.json");

function kind(schema = {}) {
  const name = schema.$ref?.split("/").pop();
  if (name) return element("a", { href: `#${name}` }, name);
  if (schema.anyOf) return element("span", {}, ...schema.anyOf.flatMap((each, place) => [place ? " or " : "", kind(each)]));
  if (schema.type === "array") return element("span", {}, "list of ", kind(schema.items));
  return element("span", {}, schema.format ?? schema.type ?? "anything");
}

function table(caption, rows) {
  if (!rows.length) return null;
  const lines = rows.map(([name, ...cells]) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((cell) => element("td", {}, cell ?? ""))),
  );
  return element("table", {}, element("caption", {}, caption), element("tbody", {}, ...lines));
}

const routes = Object.entries(api.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, route]) => {
    const body = Object.entries(route.requestBody?.content ?? {}).map(([type, { schema }]) => [type, kind(schema)]);
    const responses = Object.entries(route.responses).map(([status, { description, content = {} }]) => {
      const [type, inside] = Object.entries(content)[0] ?? [];
      return [status, description, type === "application/json" ? kind(inside.schema) : (type ?? "")];
    });
    return element(
      "section",
      { class: "card route" },
      element("h3", {}, element("span", { class: "method" }, method.toUpperCase()), ` ${path}`),
      element("p", {}, route.summary),
      table("Parameters", (route.parameters ?? []).map((each) => [each.name, each.description ?? "", kind(each.schema)])),
      table("Body", body),
      table("Responses", responses),
    );
  }),
);
byId("routes").replaceChildren(...routes);

const types = Object.entries(api.components.schemas).map(([name, schema]) =>
  element(
    "section",
    { class: "card route", id: name },
    element("h3", {}, name),
    element("p", {}, schema.description ?? ""),
    table("", Object.entries(schema.properties ?? {}).map(([field, type]) => [field, type.description ?? "", kind(type)])),
  ),
);
byId("types").replaceChildren(...types);
