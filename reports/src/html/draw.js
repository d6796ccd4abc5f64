// The diagram and the strip above it, drawn on canvases; only what the window holds.

const GUTTER = 92;
const AXIS = 24;
const FAULT_ROW = 16;
const MOST_LINES = 6000;
const canvas = document.getElementById("canvas");
const overview = document.getElementById("overview");
const view = { start: 0, end: runEnd };
const drawn = { messages: [], thinning: 1 };
let colour = {};
let hovered = null;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = "bg panel ink dim line accent leader leader-ink follower candidate pre down paused recovering learner message heartbeat lost operation operation-ink unknown note violation highlight";
  colour = Object.fromEntries(names.split(" ").map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

// Kinds of faults keep their colour from page to page; unknown ones get one by their name.
const FAULT_HUES = { partition: 28, kill: 0, crash: 0, power_cut: 330, restart: 140, pause: 265, clock_step: 180, clock_drift: 190, clock: 185, loss: 45, disk: 15 };
function faultColour(name, alpha) {
  let hue = FAULT_HUES[name];
  if (hue === undefined) {
    hue = 0;
    for (const c of name) hue = (hue * 31 + c.charCodeAt(0)) % 360;
  }
  return `hsl(${hue} 68% 52% / ${alpha})`;
}

function stateColour(state) {
  const known = { leader: "leader", follower: "follower", candidate: "candidate", "pre-candidate": "pre", down: "down", paused: "paused", recovering: "recovering", learner: "learner" };
  return colour[known[state] || "follower"];
}

const layout = { width: 0, height: 0, laneTop: [], laneHeight: [], faultsTop: AXIS };
function measure() {
  const clients = lanes.length - nodes;
  const clientHeight = clients > 6 ? 18 : 26;
  // Nodes share what the window leaves when clients and faults have their rows.
  const taken = canvas.getBoundingClientRect().top + window.scrollY + AXIS + faultRows * FAULT_ROW + 34 + clients * clientHeight;
  const nodeHeight = Math.max(64, Math.min(104, (window.innerHeight - taken) / Math.max(1, nodes)));
  let y = AXIS + faultRows * FAULT_ROW + 12;
  layout.laneTop = [];
  layout.laneHeight = [];
  lanes.forEach((_, lane) => {
    if (lane === nodes) y += 12;
    layout.laneTop.push(y);
    layout.laneHeight.push(lane < nodes ? nodeHeight : clientHeight);
    y += lane < nodes ? nodeHeight : clientHeight;
  });
  // The words for what broke stand below all lanes.
  layout.height = y + (violations.length ? 24 : 10);
  layout.width = canvas.parentElement.clientWidth;
}

function prepare(element, width, height) {
  const ratio = window.devicePixelRatio || 1;
  element.style.height = `${height}px`;
  if (element.width !== Math.round(width * ratio) || element.height !== Math.round(height * ratio)) {
    element.width = Math.round(width * ratio);
    element.height = Math.round(height * ratio);
  }
  const c = element.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  c.clearRect(0, 0, width, height);
  c.font = '11px system-ui, "Noto Sans", sans-serif';
  c.textBaseline = "middle";
  return c;
}

const middle = (lane) => layout.laneTop[lane] + layout.laneHeight[lane] / 2;
const band = (lane) => (lane < nodes ? Math.min(26, layout.laneHeight[lane] - 14) : layout.laneHeight[lane] - 8);
const xOf = (t) => GUTTER + ((t - view.start) / (view.end - view.start)) * (layout.width - GUTTER);
const timeAt = (x) => view.start + ((x - GUTTER) / (layout.width - GUTTER)) * (view.end - view.start);
const clampX = (x) => Math.max(GUTTER - 20, Math.min(layout.width + 20, x));

function ticks(start, end, room) {
  const rough = (end - start) / Math.max(1, room);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const decimals = Math.max(0, Math.min(9, -Math.floor(Math.log10(step / 1e9) + 1e-9)));
  const list = [];
  for (let t = Math.ceil(start / step) * step; t <= end; t += step) list.push(t);
  return { list, decimals };
}

function drawAxis(c) {
  const { list, decimals } = ticks(view.start, view.end, (layout.width - GUTTER) / 130);
  c.textAlign = "left";
  for (const t of list) {
    const x = Math.round(xOf(t)) + 0.5;
    c.strokeStyle = colour.line;
    c.beginPath();
    c.moveTo(x, 6);
    c.lineTo(x, layout.height);
    c.stroke();
    c.fillStyle = colour.dim;
    c.fillText(moment(t, decimals), x + 4, 12);
  }
}

let hatches = {};
function hatch(c, ink, paper) {
  const key = ink + paper;
  if (!hatches[key]) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const t = tile.getContext("2d");
    t.fillStyle = paper;
    t.fillRect(0, 0, 8, 8);
    t.strokeStyle = ink;
    t.lineWidth = 3;
    t.beginPath();
    for (const shift of [-8, 0, 8]) {
      t.moveTo(shift - 1, 9);
      t.lineTo(shift + 9, -1);
    }
    t.stroke();
    hatches[key] = c.createPattern(tile, "repeat");
  }
  return hatches[key];
}

function drawStates(c, lane) {
  const height = band(lane);
  const top = middle(lane) - height / 2;
  c.textAlign = "left";
  for (const s of statesOf[lane]) {
    if (s.until < view.start || s.at > view.end) continue;
    const x0 = Math.max(GUTTER, clampX(xOf(s.at)));
    const x1 = clampX(xOf(Math.min(s.until, runEnd)));
    const name = text(s.state);
    const plain = stateColour(name);
    c.fillStyle = name === "down" || name === "paused" ? hatch(c, plain, colour.bg) : plain;
    c.fillRect(x0, top, Math.max(x1 - x0, 1), height);
    if (s.at >= view.start) {
      c.fillStyle = colour.dim;
      c.fillRect(x0, top, 1, height);
    }
  }
}

// Labels come after the arrows, on a ground of their own; one whose beginning is out of view stands at the left edge.
function drawStateLabels(c, lane) {
  const height = band(lane);
  const y = middle(lane) - height / 2 + (height > 20 ? 7 : height / 2);
  c.textAlign = "left";
  for (const s of statesOf[lane]) {
    if (s.until < view.start || s.at > view.end) continue;
    const x0 = Math.max(GUTTER, clampX(xOf(s.at)));
    const name = text(s.state);
    const room = clampX(xOf(Math.min(s.until, runEnd))) - x0 - 8;
    const words = [stateWords(s), name].find((w) => c.measureText(w).width < room);
    if (!words) continue;
    c.fillStyle = name === "down" || name === "paused" ? colour.bg : stateColour(name);
    c.globalAlpha = 0.88;
    c.fillRect(x0 + 2, y - 7, c.measureText(words).width + 7, 14);
    c.globalAlpha = 1;
    c.fillStyle = name === "leader" ? colour["leader-ink"] : colour.ink;
    c.fillText(words, x0 + 5, y);
  }
}

function drawFaults(c) {
  for (const f of faults) {
    const end = f.until < 0 ? f.at : f.until;
    if (end < view.start || f.at > view.end) continue;
    const name = text(f.fault);
    const x0 = Math.max(GUTTER, clampX(xOf(f.at)));
    const x1 = Math.max(x0 + 3, clampX(xOf(end)));
    const touched = f.lanes.length ? f.lanes : lanes.map((_, lane) => lane).filter((lane) => lane < nodes);
    c.fillStyle = faultColour(name, f.lanes.length ? 0.13 : 0.06);
    for (const lane of touched) {
      if (lane < lanes.length) c.fillRect(x0, layout.laneTop[lane] + 1, x1 - x0, layout.laneHeight[lane] - 2);
    }
    const y = layout.faultsTop + f.row * FAULT_ROW;
    c.fillStyle = faultColour(name, 0.85);
    c.beginPath();
    c.roundRect(x0, y, x1 - x0, FAULT_ROW - 3, 3);
    c.fill();
    c.fillStyle = "#fff";
    const detail = text(f.detail);
    const words = [detail ? `${name}: ${detail}` : name, name].find((w) => c.measureText(w).width < x1 - x0 - 8);
    if (words) {
      c.textAlign = "left";
      c.fillText(words, x0 + 4, y + (FAULT_ROW - 3) / 2 + 0.5);
    }
  }
}

function drawOperations(c) {
  if (!filter.operations) return;
  c.textAlign = "left";
  operations.forEach((o, i) => {
    const never = o.until < 0;
    const end = never ? Math.min(runEnd, o.at + (view.end - view.start)) : o.until;
    if (end < view.start || o.at > view.end || o.lane >= lanes.length || !shows.operation(i)) return;
    const x0 = Math.max(GUTTER, clampX(xOf(o.at)));
    const x1 = Math.max(x0 + 2, clampX(xOf(end)));
    const height = Math.min(18, layout.laneHeight[o.lane] - 6);
    const y = middle(o.lane) - height / 2;
    // One that was never answered fades out instead of ending.
    c.fillStyle = never ? hatch(c, colour.unknown, colour.bg) : colour.operation;
    c.globalAlpha = never ? 0.7 : 0.85;
    c.fillRect(x0, y, never ? Math.min(x1 - x0, 160) : x1 - x0, height);
    c.globalAlpha = 1;
    const label = text(o.label);
    const room = (never ? Math.min(x1 - x0, 160) : x1 - x0) - 8;
    if (room > 20 && c.measureText(label).width < room) {
      if (never) {
        c.fillStyle = colour.bg;
        c.fillRect(x0 + 2, y + 2, c.measureText(label).width + 6, height - 4);
      }
      c.fillStyle = never ? colour.ink : colour["operation-ink"];
      c.fillText(label, x0 + 4, y + height / 2 + 0.5);
    }
  });
}

// Where a message's line begins and ends; lost ones stop on the way.
function line(i) {
  const part = messages.lost[i] ? 0.62 : 1;
  const from = messages.from[i];
  const to = messages.to[i];
  const x0 = xOf(messages.at[i]);
  const x1 = xOf(messages.end[i]);
  const y0 = middle(from);
  const y1 = from === to ? y0 + 14 : middle(to);
  return [x0, y0, x0 + (x1 - x0) * part, y0 + (y1 - y0) * part];
}

function drawMessages(c) {
  const visible = messagesIn(view.start, view.end).filter((i) => messages.from[i] < lanes.length && messages.to[i] < lanes.length);
  drawn.thinning = Math.max(1, Math.ceil(visible.length / MOST_LINES));
  drawn.messages = visible.filter((_, n) => n % drawn.thinning === 0);
  const faint = drawn.messages.length > 2000 ? 0.3 : drawn.messages.length > 500 ? 0.55 : 0.9;
  const quiet = (i) => messages.beat[i] || messages.client[i];
  const groups = [
    [drawn.messages.filter((i) => quiet(i) && !messages.lost[i]), colour.heartbeat, faint, []],
    [drawn.messages.filter((i) => !quiet(i) && !messages.lost[i]), colour.message, faint, []],
    [drawn.messages.filter((i) => messages.lost[i]), colour.lost, Math.max(faint, 0.5), [5, 4]],
  ];
  const heads = drawn.messages.length < 1500;
  for (const [list, ink, alpha, dash] of groups) {
    c.globalAlpha = alpha;
    c.strokeStyle = c.fillStyle = ink;
    c.lineWidth = 1.1;
    c.setLineDash(drawn.messages.length < 1500 ? dash : []);
    c.beginPath();
    for (const i of list) {
      const [x0, y0, x1, y1] = line(i);
      c.moveTo(x0, y0);
      c.lineTo(x1, y1);
    }
    c.stroke();
    c.setLineDash([]);
    if (heads) for (const i of list) drawHead(c, i);
  }
  c.globalAlpha = 1;
  if (drawn.messages.filter((i) => !messages.client[i]).length < 90) drawMessageLabels(c);
}

function drawHead(c, i) {
  const [x0, y0, x1, y1] = line(i);
  if (messages.lost[i]) {
    c.beginPath();
    c.moveTo(x1 - 4, y1 - 4);
    c.lineTo(x1 + 4, y1 + 4);
    c.moveTo(x1 + 4, y1 - 4);
    c.lineTo(x1 - 4, y1 + 4);
    c.stroke();
    return;
  }
  const angle = Math.atan2(y1 - y0, x1 - x0);
  c.beginPath();
  c.moveTo(x1, y1);
  c.lineTo(x1 - 8 * Math.cos(angle - 0.32), y1 - 8 * Math.sin(angle - 0.32));
  c.lineTo(x1 - 8 * Math.cos(angle + 0.32), y1 - 8 * Math.sin(angle + 0.32));
  c.fill();
}

// Labels stand at a third of the way, where lines have parted and not yet met again; none may cover another. What
// clients say goes without: their operations tell it better.
function drawMessageLabels(c) {
  const taken = [];
  c.textAlign = "center";
  c.lineWidth = 3;
  c.lineJoin = "round";
  for (const i of drawn.messages) {
    if (messages.client[i]) continue;
    const [x0, y0, x1, y1] = line(i);
    const x = x0 + (x1 - x0) * 0.36;
    const y = y0 + (y1 - y0) * 0.36;
    const label = text(messages.label[i]);
    const half = c.measureText(label).width / 2 + 3;
    const box = [x - half, y - 7, x + half, y + 7];
    if (box[0] < GUTTER || box[2] > layout.width) continue;
    if (taken.some((t) => t[0] < box[2] && t[2] > box[0] && t[1] < box[3] && t[3] > box[1])) continue;
    taken.push(box);
    c.strokeStyle = colour.bg;
    c.strokeText(label, x, y);
    c.fillStyle = messages.lost[i] ? colour.lost : colour.ink;
    c.fillText(label, x, y);
  }
  c.lineWidth = 1;
}

// Notes sit on the lower edge of their lane's band, clear of the arrows.
const noteY = (lane) => middle(lane) + band(lane) / 2 - 1;
function drawNotes(c) {
  if (!filter.notes) return;
  const last = [];
  notes.forEach((n, i) => {
    if (n.at < view.start || n.at > view.end || n.lane >= lanes.length || !shows.note(i)) return;
    const x = xOf(n.at);
    if (last[n.lane] !== undefined && x - last[n.lane] < 5) return;
    last[n.lane] = x;
    c.fillStyle = colour.note;
    c.strokeStyle = colour.bg;
    c.beginPath();
    c.arc(x, noteY(n.lane), 4, 0, 7);
    c.fill();
    c.stroke();
  });
}

function drawViolations(c) {
  violations.forEach((v) => {
    if (v.at < view.start || v.at > view.end) return;
    const x = xOf(v.at);
    c.fillStyle = colour.violation;
    c.fillRect(x - 1.25, AXIS - 4, 2.5, layout.height);
    if (v.lane >= 0 && v.lane < lanes.length) {
      c.strokeStyle = colour.violation;
      c.lineWidth = 2.5;
      c.beginPath();
      c.arc(x, middle(v.lane), 9, 0, 7);
      c.stroke();
      c.lineWidth = 1;
    }
    const message = text(v.message).split("\n")[0];
    const words = `${text(v.property)} broke` + (message ? `: ${message}` : "");
    const shown = words.length > 70 ? `${words.slice(0, 69)}…` : words;
    c.font = '600 11.5px system-ui, "Noto Sans", sans-serif';
    const width = c.measureText(shown).width + 14;
    const left = Math.max(GUTTER, Math.min(x + 2, layout.width - width));
    c.fillRect(left, layout.height - 20, width, 20);
    c.fillStyle = "#fff";
    c.textAlign = "left";
    c.fillText(shown, left + 7, layout.height - 9.5);
    c.font = '11px system-ui, "Noto Sans", sans-serif';
  });
}

function drawGutter(c) {
  c.fillStyle = colour.bg;
  c.fillRect(0, 0, GUTTER, layout.height);
  c.textAlign = "right";
  c.fillStyle = colour.dim;
  if (faultRows) c.fillText("faults", GUTTER - 10, layout.faultsTop + (faultRows * FAULT_ROW) / 2);
  lanes.forEach((name, lane) => {
    c.fillStyle = lane < nodes ? colour.ink : colour.dim;
    c.font = lane < nodes ? '600 12px system-ui, "Noto Sans", sans-serif' : '11px system-ui, "Noto Sans", sans-serif';
    c.fillText(name, GUTTER - 10, middle(lane), GUTTER - 14);
  });
  c.font = '11px system-ui, "Noto Sans", sans-serif';
  c.fillStyle = colour.line;
  c.fillRect(GUTTER - 1, 0, 1, layout.height);
}

function drawHovered(c) {
  if (!hovered) return;
  c.strokeStyle = c.fillStyle = colour.highlight;
  if (hovered.kind === "message") {
    const [x0, y0, x1, y1] = line(hovered.index);
    c.lineWidth = 2.5;
    c.beginPath();
    c.moveTo(x0, y0);
    c.lineTo(x1, y1);
    c.stroke();
    drawHead(c, hovered.index);
    c.lineWidth = 1;
    return;
  }
  const e = describe(hovered.kind, hovered.index);
  const x = xOf(e.at);
  if (x < GUTTER) return;
  c.setLineDash([3, 3]);
  c.beginPath();
  c.moveTo(x, AXIS);
  c.lineTo(x, layout.height);
  c.stroke();
  c.setLineDash([]);
}

function drawDiagram() {
  const c = prepare(canvas, layout.width, layout.height);
  drawAxis(c);
  lanes.forEach((_, lane) => {
    c.fillStyle = colour.line;
    c.fillRect(GUTTER, Math.round(middle(lane)), layout.width, 1);
    drawStates(c, lane);
  });
  drawFaults(c);
  drawOperations(c);
  drawMessages(c);
  lanes.forEach((_, lane) => drawStateLabels(c, lane));
  drawNotes(c);
  drawHovered(c);
  drawViolations(c);
  drawGutter(c);
  const thinned = document.getElementById("thinned");
  thinned.hidden = drawn.thinning === 1;
  thinned.textContent = `one of ${drawn.thinning} messages drawn: zoom in for all`;
}

const overviewX = (t) => GUTTER + (t / runEnd) * (layout.width - GUTTER);
const overviewTime = (x) => ((x - GUTTER) / (layout.width - GUTTER)) * runEnd;
let bins = [];
function countBins() {
  bins = new Float64Array(Math.max(1, Math.floor((layout.width - GUTTER) / 2)));
  for (let i = 0; i < messages.count; i++) {
    bins[Math.min(bins.length - 1, Math.floor((messages.at[i] / runEnd) * bins.length))]++;
  }
}

function drawOverview() {
  const height = 64;
  const c = prepare(overview, layout.width, height);
  const most = Math.max(1, ...bins);
  c.fillStyle = colour.heartbeat;
  bins.forEach((n, i) => {
    const h = Math.sqrt(n / most) * 34;
    c.fillRect(GUTTER + i * 2, 42 - h, 2, h);
  });
  for (const f of faults) {
    c.fillStyle = faultColour(text(f.fault), 0.8);
    const x0 = overviewX(f.at);
    c.fillRect(x0, 44 + f.row * 2.2, Math.max(1.5, overviewX(f.until < 0 ? f.at : f.until) - x0), 2);
  }
  c.fillStyle = colour.accent;
  for (const s of elections) {
    const x = overviewX(s.at);
    c.beginPath();
    c.moveTo(x - 4, 2);
    c.lineTo(x + 4, 2);
    c.lineTo(x, 9);
    c.fill();
  }
  c.fillStyle = colour.violation;
  for (const v of violations) c.fillRect(overviewX(v.at) - 1, 0, 2.5, height);
  const x0 = overviewX(view.start);
  const x1 = Math.max(x0 + 3, overviewX(view.end));
  c.fillStyle = colour.bg;
  c.globalAlpha = 0.62;
  c.fillRect(GUTTER, 0, x0 - GUTTER, height);
  c.fillRect(x1, 0, layout.width, height);
  c.globalAlpha = 1;
  c.strokeStyle = colour.accent;
  c.lineWidth = 1.5;
  c.strokeRect(x0, 1, x1 - x0, height - 2);
  c.lineWidth = 1;
  c.fillStyle = colour.dim;
  c.textAlign = "right";
  c.fillText("whole run", GUTTER - 10, 24);
  c.fillText(lasting(runEnd), GUTTER - 10, 40);
}

