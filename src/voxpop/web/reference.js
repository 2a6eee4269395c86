// Shows /openapi.json: every route with its fields, found by typing. It writes text only, never markup.
"use strict";

const DEPTH = 6;

function make(tag, className, ...inside) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...inside.filter((part) => part !== null && part !== undefined));
  return element;
}

function resolve(api, value) {
  if (!value || !value.$ref) return value || {};
  return value.$ref.slice(2).split("/").reduce((at, key) => at[key.replaceAll("~1", "/").replaceAll("~0", "~")], api);
}

function kind(api, schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  const several = schema.oneOf || schema.anyOf;
  if (several) return several.map((one) => kind(api, one)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  const types = [schema.type || "any"].flat();
  return types.map((type) => (type === "array" ? `list of ${kind(api, schema.items || {})}` : type)).join(" or ");
}

function bounds(schema) {
  const told = [];
  if (schema.minimum !== undefined) told.push(`at least ${schema.minimum}`);
  if (schema.maximum !== undefined) told.push(`at most ${schema.maximum}`);
  if (schema.maxLength !== undefined) told.push(`at most ${schema.maxLength} characters`);
  if (schema.maxItems !== undefined) told.push(`at most ${schema.maxItems}`);
  if (schema.default !== undefined) told.push(`default ${JSON.stringify(schema.default)}`);
  return told.length ? ` (${told.join(", ")})` : "";
}

function field(api, name, given, must, depth) {
  const schema = { ...resolve(api, given), ...(given.$ref ? {} : given) };
  const row = make("li", "", make("code", "", name), " ", make("span", "type", kind(api, given) + bounds(schema)));
  if (must) row.append(" ", make("span", "must", "required"));
  if (schema.description) row.append(": ", schema.description);
  const inner = [schema.items, ...(schema.oneOf || []), ...(schema.anyOf || []), schema].filter(Boolean);
  for (const one of inner) {
    const below = fields(api, one, depth + 1);
    if (below) {
      row.append(below);
      break;
    }
  }
  return row;
}

function fields(api, given, depth = 0) {
  const schema = resolve(api, given);
  const names = Object.keys(schema.properties || {});
  if (!names.length || depth > DEPTH) return null;
  const must = new Set(schema.required || []);
  return make("ul", "fields", ...names.map((n) => field(api, n, schema.properties[n], must.has(n), depth)));
}

function part(title, ...inside) {
  const shown = inside.filter(Boolean);
  return shown.length ? make("section", "", make("h3", "", title), ...shown) : null;
}

function bodies(api, content) {
  return Object.entries(content || {}).map(([type, body]) => {
    const schema = body.schema || {};
    const example = body.example ?? Object.values(body.examples || {})[0]?.value;
    return make("div", "", make("p", "type", `${type}: ${kind(api, schema)}`), fields(api, schema),
      example === undefined ? null : make("pre", "", JSON.stringify(example, null, 2)));
  });
}

function route(api, path, method, operation, shared) {
  const given = [...shared, ...(operation.parameters || [])].map((one) => resolve(api, one));
  const answers = Object.entries(operation.responses || {}).map(([status, given]) => {
    const answer = resolve(api, given);
    const title = status === "default" ? "otherwise" : status;
    return make("div", "", make("p", "", make("code", "", title), " ", answer.description || ""), ...bodies(api, answer.content));
  });
  const inside = make("div", "inside",
    operation.description ? make("p", "", operation.description) : null,
    part("Parameters", given.length ? make("ul", "fields", ...given.map((one) =>
      field(api, one.name, { ...one.schema, description: one.description }, one.required, 0))) : null),
    part("Body", ...(operation.requestBody ? bodies(api, resolve(api, operation.requestBody).content) : [])),
    part("Answers", ...answers));
  const summary = make("summary", "", make("code", "method", method), make("code", "", path), make("span", "summary", operation.summary || ""));
  const row = make("details", "route", summary, inside);
  row.id = `${method}${path}`.replaceAll(/[^a-z0-9]+/gi, "-");
  row.dataset.said = `${method} ${path} ${operation.summary || ""}`.toLowerCase();
  return row;
}

function show(api) {
  document.getElementById("title").textContent = `The API, version ${api.info.version}`;
  document.getElementById("about").textContent = api.info.description;
  const groups = new Map(api.tags.map((tag) => [tag.name, { about: tag.description, rows: [] }]));
  for (const [path, { parameters = [], ...methods }] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const name = (operation.tags || ["other"])[0];
      if (!groups.has(name)) groups.set(name, { about: "", rows: [] });
      groups.get(name).rows.push(route(api, path, method, operation, parameters));
    }
  }
  const shown = [...groups].filter(([, group]) => group.rows.length);
  document.getElementById("routes").replaceChildren(...shown.map(([name, group]) =>
    make("section", "group", make("h2", "", name, make("small", "", group.about || "")), ...group.rows)));
  const wanted = location.hash && document.getElementById(location.hash.slice(1));
  if (wanted) wanted.open = true;
}

function find(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const group of document.querySelectorAll(".group")) {
    const rows = [...group.querySelectorAll(".route")];
    for (const row of rows) row.hidden = !words.every((word) => row.dataset.said.includes(word));
    group.hidden = rows.every((row) => row.hidden);
  }
}

document.getElementById("find").addEventListener("input", (event) => find(event.target.value));
const answer = await fetch("openapi.json");
if (answer.ok) show(await answer.json());
else document.getElementById("routes").textContent = `The description cannot be had: HTTP ${answer.status}.`;
