// The table of what is in view, the list of faults, and what lies under the pointer.

const MOST_ROWS = 300;
const eventsBody = document.querySelector("#events tbody");

function cell(row, css, words) {
  const td = row.insertCell();
  td.className = css;
  td.textContent = words;
}

// The events in view, at most `MOST_ROWS` if that can be had by leaving out what is most numerous and says least.
function rowsInView() {
  const start = lowerBound(order.at, view.start);
  const end = lowerBound(order.at, view.end);
  let rows = [];
  for (let n = start; n < end; n++) {
    if (shows[KINDS[order.kind[n]]](order.index[n])) rows.push(n);
  }
  const all = rows.length;
  for (const kind of ["message", "note", "operation"]) {
    if (rows.length > MOST_ROWS) rows = rows.filter((n) => KINDS[order.kind[n]] !== kind);
  }
  return { rows: rows.slice(0, MOST_ROWS), all };
}

function fillEvents() {
  const { rows, all } = rowsInView();
  const decimals = view.end - view.start < 2e6 ? 9 : 6;
  eventsBody.replaceChildren();
  for (const n of rows) {
    const kind = KINDS[order.kind[n]];
    const e = describe(kind, order.index[n]);
    const row = eventsBody.insertRow();
    row.className = e.css;
    row.dataset.event = `${kind}:${order.index[n]}`;
    cell(row, "time", (e.at / 1e9).toFixed(decimals));
    cell(row, "where", e.where);
    cell(row, "what", e.what);
  }
  const count = (n) => n.toLocaleString("en");
  document.getElementById("in-view").textContent =
    rows.length < all ? `${count(rows.length)} of ${count(all)} events: zoom in, or search` : `${count(all)} events`;
  reveal(eventsBody.querySelector("tr.violation"));
}

function fillFaults() {
  const body = document.querySelector("#faults tbody");
  faults.forEach((f, i) => {
    const row = body.insertRow();
    row.dataset.event = `fault:${i}`;
    cell(row, "time", moment(f.at));
    cell(row, "time", f.until < 0 ? "" : moment(f.until));
    cell(row, "where", text(f.fault));
    cell(row, "what", faultLanes(f));
    cell(row, "what", text(f.detail));
  });
}

function distance(x, y, [x0, y0, x1, y1]) {
  const length = (x1 - x0) ** 2 + (y1 - y0) ** 2;
  const part = length ? Math.max(0, Math.min(1, ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length)) : 0;
  return Math.hypot(x - x0 - part * (x1 - x0), y - y0 - part * (y1 - y0));
}

// What lies under the pointer: small things before large ones.
function under(x, y) {
  if (x < GUTTER) return null;
  const within = (list, test) => list.findIndex(test);
  const violation = within(violations, (v) => Math.abs(xOf(v.at) - x) < 5);
  if (violation >= 0) return { kind: "violation", index: violation };
  const note = within(notes, (n, i) => n.lane < lanes.length && Math.hypot(xOf(n.at) - x, noteY(n.lane) - y) < 7 && shows.note(i));
  if (note >= 0) return { kind: "note", index: note };
  const fault = within(faults, (f) => {
    const top = layout.faultsTop + f.row * FAULT_ROW;
    return y >= top && y < top + FAULT_ROW && x >= xOf(f.at) - 3 && x <= Math.max(xOf(f.at) + 6, xOf(f.until));
  });
  if (fault >= 0) return { kind: "fault", index: fault };
  let best = 5;
  let message = -1;
  for (const i of drawn.messages) {
    const d = distance(x, y, line(i));
    if (d < best) {
      best = d;
      message = i;
    }
  }
  if (message >= 0) return { kind: "message", index: message };
  const lane = lanes.findIndex((_, l) => y >= layout.laneTop[l] && y < layout.laneTop[l] + layout.laneHeight[l]);
  if (lane < 0) return null;
  const t = timeAt(x);
  const operation = within(operations, (o, i) => o.lane === lane && o.at <= t && (o.until < 0 ? x < xOf(o.at) + 160 : o.until >= t) && shows.operation(i));
  if (operation >= 0) return { kind: "operation", index: operation };
  const state = within(states, (s) => s.lane === lane && s.at <= t && s.until > t);
  return state >= 0 ? { kind: "state", index: state } : null;
}

const tip = document.getElementById("tip");
function showTip(target, x, y) {
  tip.hidden = !target;
  if (!target) return;
  const e = describe(target.kind, target.index);
  const title = document.createElement("b");
  title.textContent = e.what;
  const rest = document.createElement("span");
  const took = e.until > e.at ? `, for ${lasting(e.until - e.at)}, until ${moment(e.until)}` : "";
  rest.textContent = `${target.kind}, ${e.where ? `${e.where}, ` : ""}at ${moment(e.at, 9)}${took}`;
  tip.replaceChildren(title, rest);
  const room = layout.width - tip.offsetWidth - 8;
  tip.style.left = `${Math.max(4, Math.min(x + 14, room))}px`;
  const below = y + overview.offsetHeight + 16;
  const above = y + overview.offsetHeight - tip.offsetHeight - 12;
  tip.style.top = `${below + tip.offsetHeight > overview.offsetHeight + layout.height && above > 0 ? above : below}px`;
}

function markRow(target) {
  for (const row of eventsBody.querySelectorAll("tr.marked")) row.classList.remove("marked");
  if (!target) return;
  const row = eventsBody.querySelector(`tr[data-event="${target.kind}:${target.index}"]`);
  if (!row) return;
  row.classList.add("marked");
  reveal(row);
}

// Scrolls the table, never the page.
function reveal(row) {
  if (!row) return;
  const box = eventsBody.closest(".scroll");
  const top = row.offsetTop;
  if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - 30) box.scrollTop = top - box.clientHeight / 2;
}

