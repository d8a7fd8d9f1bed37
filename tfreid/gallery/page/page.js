/** Connects the parts of the page: a change of query, marks or filters starts a search. */

import { Api } from "./service.js";
import { BoxDialog } from "./box.js";
import { Deletion } from "./deletion.js";
import { askToken, closable, notice } from "./dialogs.js";
import { byId, count, soon } from "./dom.js";
import { EnrolDialog } from "./enrol.js";
import { Filters } from "./filters.js";
import { Inspector } from "./inspect.js";
import { Marks } from "./marks.js";
import { MarksView } from "./marks_view.js";
import { Query } from "./query.js";
import { QueryView } from "./query_view.js";
import { Results } from "./results.js";
import { Thumbnails } from "./thumbnails.js";

const api = new Api(askToken, notice);
const thumbnails = new Thumbnails(api);
const query = new Query();
const marks = new Marks(api, notice);
const filters = new Filters();
const boxes = new BoxDialog();
const queryView = new QueryView(query, thumbnails, { drawBox, say: notice });
const inspector = new Inspector(api, thumbnails, marks, {
  act, closed: (result) => results.recover(result),
});
const enrolment = new EnrolDialog(api, enrolled);
const deletion = new Deletion(api, forget);
const results = new Results({
  thumbnails, act, marks, window: (since, until) => filters.setWindow(since, until),
});
new MarksView(marks, api, thumbnails, notice);

let about = null;
let running = null;

/** Searches, unless nothing is looked for; a newer search stops this one. */
async function search() {
  running?.abort();
  if (!about) return;
  const refusal = unsearchable();
  if (refusal) {
    results.explain(refusal);
    return;
  }
  const mine = running = new AbortController();
  results.wait();
  try {
    const found = await api.search(searchForm(), mine.signal);
    if (mine !== running) return;
    results.show(found, { about, filters });
  } catch (error) {
    if (mine !== running || error.name === "AbortError") return;
    const dropped = error.status === 404 && await dropRemoved();
    if (!dropped && mine === running) results.fail(error.message, search);
  }
}

/** Takes what somebody else removed out of the query and the marks; returns whether any was. */
async function dropRemoved() {
  const keys = new Set([...query.entries.map(({ key }) => key), ...marks.right, ...marks.wrong]);
  const gone = await api.removed([...keys]);
  if (!gone.length) return false;
  notice(`The gallery no longer has ${count(gone.length, "image")} of the query or the marks; ` +
    "the search goes on without.");
  await forget(gone);
  return true;
}

/** Returns the name of the state that explains why there is nothing to search, or null. */
function unsearchable() {
  if (!about.entries) return "no-entries";
  if (query.empty && !marks.right.length) return "start";
  return filters.cameras.length ? null : "no-camera";
}

/** Returns the form of a search; without a query, what is marked right is searched for. */
function searchForm() {
  const form = new FormData();
  query.fill(form);
  filters.fill(form);
  const steer = byId("steer").checked;
  if (steer || query.empty) for (const key of marks.right) form.append("right", key);
  if (steer) for (const key of marks.wrong) form.append("wrong", key);
  return form;
}

function act(action, entry) {
  const does = {
    from: () => query.replaceBy(entry),
    add: () => query.addEntry(entry),
    right: () => marks.toggle(entry, true),
    wrong: () => marks.toggle(entry, false),
    open: () => inspector.open(entry, about.clock),
    remove: () => deletion.ofEntry(entry),
    removeTrack: () => deletion.ofTrack(entry),
  };
  does[action]();
}

async function drawBox(image) {
  const box = await boxes.open(image);
  if (box !== undefined) query.setBox(image, box);
}

/** Takes deleted entries out of everything that is shown. */
async function forget(keys) {
  inspector.close();
  query.removeEntries(keys);
  marks.drop(keys);
  await reload();
}

async function enrolled(number) {
  notice(`${count(number, "image was", "images were")} added to the gallery.`);
  await reload();
}

async function numberPeople() {
  const asked = byId("identify");
  asked.disabled = true;
  try {
    const { tracks, people } = await api.identify();
    notice(`${count(tracks, "track")} belong to ${count(people, "person", "people")}.`);
    await reload();
  } catch (error) {
    notice(error.message, numberPeople);
  } finally {
    asked.disabled = !about.entries;
  }
}

/** Reads what the gallery holds now. */
async function refresh() {
  about = await api.about();
  query.limits = about.limits;
  queryView.clock = about.clock;
  filters.offer(about);
  document.title = `${about.name}: find this person`;
  byId("gallery-name").textContent = about.name;
  byId("gallery-counts").textContent = [count(about.entries, "image"),
    about.tracks !== null && count(about.tracks, "track"), about.people && count(about.people, "person", "people"),
    count(about.cameras.length, "camera")].filter(Boolean).join(" · ");
  for (const id of ["add-images", "new-search", "filters-fields"]) byId(id).disabled = false;
  byId("identify").disabled = !about.entries;
}

/** Searches again in a gallery that changed. */
async function reload() {
  try {
    await refresh();
    search();
  } catch (error) {
    results.fail(error.message, reload);
  }
}

async function start() {
  results.explain("connecting");
  try {
    await refresh();
    await marks.load();
    search();
  } catch (error) {
    results.fail(error.message, start);
  }
}

function beginAnew() {
  marks.reset();
  query.clear();
  filters.clear();
  byId("query-choose").focus();
}

function globalKey(event) {
  const writing = event.target.closest("input:not([type=checkbox]), select, textarea, dialog");
  if (writing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    event.preventDefault();
    byId("query-choose").focus();
  } else if (event.key === "?") byId("keys").showModal();
}

const searchSoon = soon(search);
for (const changing of [query, marks, filters]) changing.addEventListener("change", searchSoon);
query.addEventListener("change", () => results.begin());
marks.addEventListener("change", () => results.mark());
byId("steer").addEventListener("change", search);
byId("search").addEventListener("click", search);
byId("new-search").addEventListener("click", beginAnew);
byId("clear-filters").addEventListener("click", () => filters.clear());
byId("identify").addEventListener("click", numberPeople);
for (const opener of document.querySelectorAll("[data-enrol]")) {
  opener.addEventListener("click", () => enrolment.open(about));
}
byId("show-keys").addEventListener("click", () => byId("keys").showModal());
for (const dialog of document.querySelectorAll("dialog")) closable(dialog);
document.addEventListener("keydown", globalKey);
for (const panel of document.querySelectorAll("aside details")) {
  panel.open = matchMedia("(min-width: 60rem)").matches;
}
start();
