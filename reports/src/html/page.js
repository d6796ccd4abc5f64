// The window over the run, and how mouse, keys and boxes move it.

const SHORTEST = 2000;
const LOOKED_AT = 130;
let pending = 0;
let tableTimer = 0;

function redraw() {
  if (pending) return;
  pending = requestAnimationFrame(() => {
    pending = 0;
    drawDiagram();
    drawOverview();
    document.getElementById("window").textContent = `${moment(view.start, 4)} to ${moment(view.end, 4)}: ${lasting(view.end - view.start)}`;
  });
  clearTimeout(tableTimer);
  tableTimer = setTimeout(() => {
    fillEvents();
    rememberWindow();
  }, 90);
}

function look(start, end) {
  const length = Math.max(SHORTEST, Math.min(runEnd, end - start));
  view.start = Math.max(0, Math.min(runEnd - length, (start + end) / 2 - length / 2));
  view.end = view.start + length;
  hovered = null;
  tip.hidden = true;
  redraw();
}

function zoom(factor, around = (view.start + view.end) / 2) {
  look(around - (around - view.start) * factor, around + (view.end - around) * factor);
}

function move(part) {
  const step = (view.end - view.start) * part;
  look(view.start + step, view.end + step);
}

// Before and after a moment, as much as can be taken in: at most `LOOKED_AT` events, at most two seconds.
function lookAt(t, before = 0.72) {
  let length = Math.min(2e9, runEnd);
  const many = () => lowerBound(order.at, t + length * (1 - before)) - lowerBound(order.at, t - length * before);
  while (length > 5e6 && many() > LOOKED_AT) length *= 0.8;
  look(t - length * before, t + length * (1 - before));
}

function lookAtNext(list) {
  if (!list.length) return;
  const centre = view.start + (view.end - view.start) * 0.721;
  const next = list.find((e) => e.at > centre) || list[0];
  lookAt(next.at);
}

// The window is part of the address, so that it survives a reload and can be sent to somebody: `#12.3950-12.4050`.
function rememberWindow() {
  history.replaceState(null, "", `#${(view.start / 1e9).toFixed(9)}-${(view.end / 1e9).toFixed(9)}`);
}
function windowOfAddress() {
  const found = /^#([\d.]+)-([\d.]+)$/.exec(location.hash);
  if (found && Number(found[1]) < Number(found[2])) look(found[1] * 1e9, found[2] * 1e9);
  return Boolean(found);
}

// The first thing to see: what the address says, what broke, else the first leader, else the busiest two seconds.
function firstLook() {
  if (windowOfAddress()) return;
  if (violations.length) return lookAt(violations[0].at);
  if (elections.length) return lookAt(elections[0].at, 0.5);
  let best = 0;
  let most = -1;
  for (let t = 0; t < runEnd; t += 5e8) {
    const n = lowerBound(order.at, t + 2e9) - lowerBound(order.at, t);
    if (n > most) {
      most = n;
      best = t;
    }
  }
  look(best, best + 2e9);
}

const actions = {
  in: () => zoom(0.6),
  out: () => zoom(1 / 0.6),
  all: () => look(0, runEnd),
  left: () => move(-0.25),
  right: () => move(0.25),
  violation: () => lookAtNext(violations),
  election: () => lookAtNext(elections),
  fault: () => lookAtNext(faults),
};
const KEYS = { "+": "in", "=": "in", "-": "out", _: "out", 0: "all", Home: "all", ArrowLeft: "left", ArrowRight: "right", v: "violation", l: "election", f: "fault" };

function listenToButtons() {
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => actions[button.dataset.do]());
  }
  document.querySelector('[data-do="violation"]').disabled = !violations.length;
  document.querySelector('[data-do="election"]').disabled = !elections.length;
  document.querySelector('[data-do="fault"]').disabled = !faults.length;
  for (const name of ["messages", "heartbeats", "lost", "clients", "notes", "operations"]) {
    document.getElementById(`show-${name}`).addEventListener("change", (e) => {
      filter[name] = e.target.checked;
      redraw();
    });
  }
  const field = document.getElementById("search");
  field.addEventListener("input", () => {
    search(field.value);
    redraw();
  });
  document.getElementById("copy").addEventListener("click", (e) => {
    navigator.clipboard?.writeText(document.getElementById("command").textContent).then(() => {
      e.target.textContent = "copied";
    });
  });
  document.addEventListener("keydown", (e) => {
    if (e.target === field) {
      if (e.key === "Escape") field.blur();
      return;
    }
    if (e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.key === "/") {
      e.preventDefault();
      field.focus();
    } else if (KEYS[e.key]) {
      e.preventDefault();
      actions[KEYS[e.key]]();
    }
  });
}

function listenToRows() {
  document.addEventListener("click", (e) => {
    const row = e.target.closest("tr[data-event]");
    if (!row) return;
    const [kind, index] = row.dataset.event.split(":");
    const event = describe(kind, Number(index));
    const length = view.end - view.start;
    if (event.at < view.start || event.at > view.end) lookAt(event.at, 0.5);
    else look(event.at - length / 2, event.at + length / 2);
    hovered = { kind, index: Number(index) };
    redraw();
  });
  eventsBody.addEventListener("mouseover", (e) => {
    const row = e.target.closest("tr[data-event]");
    const [kind, index] = row ? row.dataset.event.split(":") : [];
    hovered = row ? { kind, index: Number(index) } : null;
    redrawDiagramSoon();
  });
}

let hoverPending = 0;
function redrawDiagramSoon() {
  if (hoverPending) return;
  hoverPending = requestAnimationFrame(() => {
    hoverPending = 0;
    drawDiagram();
  });
}

function listenToDiagram() {
  let drag = null;
  canvas.addEventListener("wheel", (e) => {
    e.preventDefault();
    if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) move((e.deltaX || e.deltaY) / 1500);
    else zoom(Math.exp(e.deltaY / 500), timeAt(e.offsetX));
  }, { passive: false });
  canvas.addEventListener("dblclick", (e) => zoom(0.4, timeAt(e.offsetX)));
  canvas.addEventListener("pointerdown", (e) => {
    drag = { x: e.clientX, start: view.start, end: view.end };
    canvas.setPointerCapture(e.pointerId);
    canvas.classList.add("dragging");
  });
  canvas.addEventListener("pointerup", () => {
    drag = null;
    canvas.classList.remove("dragging");
  });
  canvas.addEventListener("pointerleave", () => {
    hovered = null;
    showTip(null);
    redrawDiagramSoon();
  });
  canvas.addEventListener("pointermove", (e) => {
    if (drag) {
      const shift = ((drag.x - e.clientX) / (layout.width - GUTTER)) * (drag.end - drag.start);
      look(drag.start + shift, drag.end + shift);
      return;
    }
    const target = under(e.offsetX, e.offsetY);
    showTip(target, e.offsetX, e.offsetY);
    if (target?.kind === hovered?.kind && target?.index === hovered?.index) return;
    hovered = target;
    markRow(target);
    redrawDiagramSoon();
  });
}

// In the strip: drag an edge of the window to resize it, the window to move it, elsewhere to choose a new one.
function listenToOverview() {
  const GRIP = 6;
  let grabbed = null;
  overview.addEventListener("pointerdown", (e) => {
    overview.setPointerCapture(e.pointerId);
    const [x0, x1] = [overviewX(view.start), overviewX(view.end)];
    const t = overviewTime(e.offsetX);
    if (Math.abs(e.offsetX - x0) < GRIP && x1 - x0 > 2 * GRIP) grabbed = { fixed: view.end };
    else if (Math.abs(e.offsetX - x1) < GRIP && x1 - x0 > 2 * GRIP) grabbed = { fixed: view.start };
    else if (e.offsetX > x0 - GRIP && e.offsetX < x1 + GRIP) grabbed = { shift: t - view.start };
    else grabbed = { fixed: t, fresh: true };
  });
  overview.addEventListener("pointermove", (e) => {
    if (!grabbed) return;
    const t = overviewTime(e.offsetX);
    const length = view.end - view.start;
    if (grabbed.shift !== undefined) look(t - grabbed.shift, t - grabbed.shift + length);
    else if (!grabbed.fresh || Math.abs(overviewX(grabbed.fixed) - e.offsetX) > 3) {
      grabbed.moved = true;
      look(Math.min(t, grabbed.fixed), Math.max(t, grabbed.fixed));
    }
  });
  overview.addEventListener("pointerup", () => {
    if (grabbed?.fresh && !grabbed.moved) {
      const length = view.end - view.start;
      look(grabbed.fixed - length / 2, grabbed.fixed + length / 2);
    }
    grabbed = null;
  });
}

function resize() {
  measure();
  countBins();
  redraw();
}

readColours();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColours();
  hatches = {};
  redraw();
});
new ResizeObserver(resize).observe(document.documentElement);
window.addEventListener("hashchange", windowOfAddress);
measure();
countBins();
listenToButtons();
listenToRows();
listenToDiagram();
listenToOverview();
fillFaults();
firstLook();
