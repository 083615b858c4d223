/* Shows what the control plane tells, once a second. Every value goes into the page as text: aliases, URIs and
   paths were written by the clients. */
"use strict";

const EVERY_MS = 1000;
const VERSIONS = 50;
const REQUESTS = 25;
const HISTORY = 5;
const CONTROLS = [
  ["Advance the clock by an hour", "POST", "clock", { advance: 3600 }],
  ["Fail the next sync", "POST", "faults", { operation: "upload_model_version", fail_sync: "Asked for on the page." }],
  ["Fail the next rollout", "POST", "faults", { operation: "deploy_model", fail_rollout: "Asked for on the page." }],
  ["Take the service down", "POST", "profiles/maintenance", null],
  ["Bring it back", "DELETE", "profiles/maintenance", null],
  ["End all fault rules", "DELETE", "faults", null],
  ["Reset", "POST", "reset", null, "Forget all versions, deployments and fault rules?"],
];

/** An element with attributes and children; a child that is no element becomes text. */
function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null).map((child) => (child instanceof Node ? child : String(child))));
  return made;
}

function badge(text, kind) {
  return element("span", { class: `badge ${kind}`, title: text }, text);
}

/** The provider marks what is its own by aliases that are not meant to be read: they are folded away. */
const OWN_ALIAS = /^airflow-/;

function aliasChips(aliases) {
  const own = aliases.filter((alias) => OWN_ALIAS.test(alias));
  const others = chips(aliases.filter((alias) => !OWN_ALIAS.test(alias)));
  if (own.length) {
    others.append(element("details", { class: "own" },
      element("summary", { title: own.join(", ") }, `${own.length} of Airflow`), ...own.map((alias) => element("div", { class: "note" }, alias))));
  }
  return others;
}

function chips(texts) {
  return element("div", { class: "chips" }, ...texts.map((text) => element("span", { class: "chip", title: text }, text)));
}

function progress(label, begins, ends, now) {
  const share = ends > begins ? Math.min(1, Math.max(0, (now - begins) / (ends - begins))) : 1;
  return element("progress", { max: 100, value: Math.round(share * 100), "aria-label": label });
}

/** Unix seconds as people write them, and for machines. */
function moment(seconds, withDate) {
  const iso = new Date(seconds * 1000).toISOString();
  const text = withDate ? `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC` : iso.slice(11, 19);
  return element("time", { datetime: iso, title: iso }, text);
}

/** A table in a box that scrolls by keyboard, too. Columns: heading and class; rows: cells. */
function table(caption, columns, rows) {
  const head = columns.map(([heading, kind]) => element("th", { scope: "col", class: kind }, heading));
  const body = rows.map((cells) =>
    element("tr", {}, ...cells.map((cell, index) => element("td", { class: columns[index][1] }, cell)))
  );
  return element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    element("table", {},
      element("caption", { class: "hidden-caption" }, caption),
      element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...body)));
}

function empty(text) {
  return element("p", { class: "empty" }, text);
}

/** orgs/<org>/models/<arch>/versions/<number> */
function parts(name) {
  const [, org, , arch, , number] = name.split("/");
  return { org, arch, number };
}

function versionState(state, now) {
  const { version } = state;
  const status = version.response.sync_status;
  if (version.error) return element("div", {}, badge(status, "bad"), element("div", { class: "note" }, version.error.message));
  if (state.weights_digest) return badge(status, "good");
  return element("div", {}, badge(status, "busy"), progress("Sync", state.created, state.sync_ends, now));
}

function versionsTable(arch, states, now) {
  const rows = [...states].reverse().map((state) => [
    parts(state.version.name).number,
    versionState(state, now),
    aliasChips(state.version.response.version_aliases),
    element("code", {}, state.version.response.customer_s3_uri),
    moment(state.created, true),
  ]);
  return table(`Versions of ${arch}`,
    [["Version", "number"], ["Sync", "state"], ["Aliases", ""], ["Weights", "text"], ["Uploaded", "tight"]], rows);
}

function deploymentLine(deployed, rollout, now) {
  const label = `Version ${parts(deployed.model).number}`;
  return element("dd", {}, `${label} `, badge(deployed.state, "busy"),
    progress(`Rollout of version ${parts(deployed.model).number}`, deployed.created, rollout.ends, now));
}

/** A rollout that has ended, well or not: what failed stays here after something else serves. */
function historyLine(deployed, rollout) {
  return element("dd", {}, moment(rollout.ends, false), ` Version ${parts(deployed.model).number} `,
    badge(deployed.state, rollout.failure ? "bad" : "plain"),
    rollout.failure ? element("div", { class: "note" }, rollout.failure) : null);
}

function endpointCard(state, aliasesOf, now) {
  const { endpoint, serving } = state;
  const pairs = endpoint.deployed_models.map((deployed, index) => [deployed, state.rollouts[index]]);
  const underWay = pairs.filter(([, rollout]) => rollout.ends > now);
  const ended = pairs.filter(([, rollout]) => rollout.ends <= now).reverse();
  const lines = [element("dt", {}, "Architecture"), element("dd", {}, endpoint.model_arch_id), element("dt", {}, "Serves")];
  if (serving) {
    lines.push(element("dd", {}, badge(`version ${parts(serving).number}`, "good")));
    const aliases = aliasesOf.get(serving) || [];
    if (aliases.length) lines.push(element("dd", {}, aliasChips(aliases)));
  } else lines.push(element("dd", { class: "empty" }, "nothing yet"));
  if (underWay.length) {
    lines.push(element("dt", {}, "Rolls out"), ...underWay.map(([deployed, rollout]) => deploymentLine(deployed, rollout, now)));
  }
  if (ended.length) {
    lines.push(element("dt", {}, "History"), ...ended.slice(0, HISTORY).map(([deployed, rollout]) => historyLine(deployed, rollout)));
    if (ended.length > HISTORY) lines.push(element("dd", { class: "note" }, `and ${ended.length - HISTORY} older`));
  }
  return element("article", { class: "endpoint" }, element("h4", {}, endpoint.name), element("dl", {}, ...lines));
}

function organizationSection(organization, state) {
  const { name } = organization;
  const endpoints = state.endpoints.filter((each) => each.endpoint.managing_org_name === name);
  const versions = state.versions.filter((each) => parts(each.version.name).org === name);
  const aliasesOf = new Map(versions.map((each) => [each.version.name, each.version.response.version_aliases]));
  const section = element("section", { class: "card" }, element("h2", {}, name));
  section.append(element("h3", {}, "Endpoints"));
  section.append(endpoints.length
    ? element("div", { class: "endpoints" }, ...endpoints.map((each) => endpointCard(each, aliasesOf, state.now)))
    : empty("There are none."));
  for (const arch of organization.model_architectures) {
    const own = versions.filter((each) => parts(each.version.name).arch === arch);
    section.append(element("h3", {}, `Versions of ${arch}`));
    section.append(own.length ? versionsTable(arch, own, state.now) : empty("Nothing has been uploaded."));
    if (own.length === VERSIONS) section.append(element("p", { class: "note" }, `The newest ${VERSIONS} are shown.`));
  }
  return section;
}

/** What a rule does, in the words of its fields. A field that was not given is not there. */
function effects(rule) {
  const told = ["skip", "probability", "when", "delay", "hold", "drop", "status", "message", "retry_after", "malformed",
    "slow_body", "truncate", "fail_sync", "fail_rollout"];
  const usual = { when: "before" };
  return told
    .filter((field) => rule[field] && rule[field] !== usual[field])
    .map((field) => (rule[field] === true ? field : `${field} ${rule[field]}`))
    .concat("headers" in rule ? ["headers"] : [], "text" in rule ? ["text"] : [], "body" in rule ? ["body"] : [])
    .join(", ");
}

function subject(rule) {
  const asked = ["path_contains", "organization"].filter((field) => rule[field]).map((field) => `${field} ${rule[field]}`);
  return [(rule.operation ?? "*") === "*" ? "every request" : rule.operation, ...asked].join(", ");
}

function faultsTable(faults) {
  if (!faults.length) return empty("None: every request is answered as the service would.");
  const rows = faults.map(({ id, rule, profile, fired }) => [
    id, subject(rule), effects(rule), profile || "", rule.times === null ? fired : `${fired} of ${rule.times ?? 1}`,
  ]);
  return table("Fault rules in force",
    [["Rule", "number"], ["Hits", "text"], ["What goes wrong", "text"], ["Profile", "tight"], ["Fired", "number"]], rows);
}

function statusBadge(status) {
  if (status === null) return "";
  return badge(status, status < 300 ? "good" : status < 500 ? "busy" : "bad");
}

function requestsTable(requests) {
  if (!requests.length) return empty("None has come in.");
  const rows = [...requests].reverse().map((each) => [
    moment(each.time, false), each.method, element("code", {}, each.query ? `${each.path}?${each.query}` : each.path),
    each.organization || "", statusBadge(each.status), each.stage,
  ]);
  return table("Last requests",
    [["Time", "tight"], ["Method", "tight"], ["Path", "text"], ["Organization", "tight"], ["Status", "tight"], ["Stage", "tight"]], rows);
}

function clockLine(clock) {
  const how = clock.frozen ? ", standing still" : clock.scale === 1 ? "" : `, ${clock.scale} times as fast`;
  return [moment(clock.now, true), how];
}

/** Fills a place anew if what it shows has changed, so that a selection in it is not lost for nothing. */
const shown = new Map();
function show(id, data, make) {
  const text = JSON.stringify(data);
  if (shown.get(id) === text) return;
  shown.set(id, text);
  document.getElementById(id).replaceChildren(...make());
}

/** The time that matters: with nothing under way, a state is the same a second later. */
function relevant(state) {
  const ends = state.versions.filter((each) => !each.weights_digest && !each.version.error).map((each) => each.sync_ends)
    .concat(state.endpoints.flatMap((each) => each.rollouts.map((rollout) => rollout.ends)).filter((end) => end > state.now));
  return { ...state, now: ends.length ? state.now : null };
}

async function ask(path) {
  const answer = await fetch(`/_emulator/${path}`, { cache: "no-store" });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function curl(method, path, body) {
  const data = body ? ` -H 'Content-Type: application/json' -d '${JSON.stringify(body)}'` : "";
  return `curl -X ${method} ${location.origin}/_emulator/${path}${data}`;
}

async function act(label, method, path, body, question) {
  if (question && !window.confirm(question)) return;
  const options = body ? { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } } : {};
  const place = document.getElementById("done");
  try {
    const answer = await fetch(`/_emulator/${path}`, { method, ...options });
    place.textContent = answer.ok ? `Done: ${label}.` : `${label}: refused with ${answer.status}.`;
  } catch (error) {
    place.textContent = `${label}: the emulator does not answer.`;
  }
  refresh();
}

function controls() {
  return CONTROLS.map(([label, method, path, body, question]) => {
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => act(label, method, path, body, question));
    return element("div", { class: "control" }, button, element("code", {}, curl(method, path, body)));
  });
}

function connection(text, lost) {
  const place = document.getElementById("connection");
  place.className = lost ? "lost" : "";
  // Said again and again, it would be read out again and again.
  if (place.textContent !== text) place.textContent = text;
}

async function refresh() {
  try {
    const [state, { requests }, { faults }, clock] = await Promise.all([
      ask(`state?newest=${VERSIONS}`), ask(`requests?newest=${REQUESTS}`), ask("faults"), ask("clock"),
    ]);
    show("organizations", relevant(state), () => state.organizations.map((each) => organizationSection(each, state)));
    show("faults", faults, () => [faultsTable(faults)]);
    show("requests", requests, () => [requestsTable(requests)]);
    show("clock", clock, () => clockLine(clock));
    connection("Running", false);
  } catch (error) {
    connection("The emulator does not answer", true);
  }
}

async function keepUp() {
  if (!document.hidden) await refresh();
  setTimeout(keepUp, EVERY_MS);
}

document.getElementById("controls").replaceChildren(...controls());
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
keepUp();
