// The timeline as typed arrays, and the questions that the drawing asks of it. Times are nanoseconds.

const data = JSON.parse(document.getElementById("data").textContent);
const lanes = data.lanes;
const nodes = Math.min(data.nodes, lanes.length);
const text = (index) => data.texts[index];
const laneName = (lane) => (lane >= 0 && lane < lanes.length ? lanes[lane] : "?");

// Messages are looked up by window through blocks that know their latest arrival: a few are under way for minutes.
const BLOCK = 256;
const messages = (() => {
  const { at: differences, from, to, flight, label } = data.messages;
  const count = differences.length;
  const at = new Float64Array(count);
  const end = new Float64Array(count);
  const lost = new Uint8Array(count);
  const beat = new Uint8Array(count);
  const client = new Uint8Array(count);
  const isBeat = data.texts.map((t) => /^heartbeat/i.test(t));
  const flights = flight.filter((f) => f >= 0).sort((a, b) => a - b);
  const typical = flights.length ? flights[flights.length >> 1] : 1e6;
  const blocks = new Float64Array(Math.ceil(count / BLOCK));
  for (let i = 0, now = 0; i < count; i++) {
    now += differences[i];
    at[i] = now;
    lost[i] = flight[i] < 0 ? 1 : 0;
    end[i] = now + (lost[i] ? typical : flight[i]);
    beat[i] = isBeat[label[i]] ? 1 : 0;
    client[i] = from[i] >= nodes || to[i] >= nodes ? 1 : 0;
    const block = Math.floor(i / BLOCK);
    blocks[block] = Math.max(blocks[block], end[i]);
  }
  return { count, at, end, from, to, lost, beat, client, label, blocks };
})();

const operations = data.operations.map(([at, until, lane, label]) => ({ at, until, lane, label }));
const notes = data.notes.map(([at, lane, label]) => ({ at, lane, label }));
const faults = data.faults.map(([at, until, touched, fault, detail]) => ({ at, until, lanes: touched, fault, detail, row: 0 }));
const violations = data.violations.map(([at, lane, property, message]) => ({ at, lane, property, message }));
const states = data.states.map(([at, lane, state, term]) => ({ at, lane, state, term, until: Infinity, fresh: true }));

// The last moment at which anything happens; half a percent of room after it.
const runEnd = (() => {
  let last = 1;
  for (const e of [...operations, ...notes, ...faults, ...violations, ...states]) {
    last = Math.max(last, e.at);
    if (e.until > 0 && e.until < Infinity) last = Math.max(last, e.until);
  }
  if (messages.count) last = Math.max(last, messages.at[messages.count - 1]);
  return last * 1.005;
})();

// A state lasts until the lane's next; `fresh` marks where a lane became something that it was not before.
const statesOf = lanes.map(() => []);
for (const s of states) {
  const list = statesOf[s.lane];
  if (!list) continue;
  const before = list[list.length - 1];
  if (before) {
    before.until = s.at;
    s.fresh = before.state !== s.state || before.term !== s.term;
  }
  list.push(s);
}
const elections = states.filter((s) => text(s.state) === "leader" && s.fresh);

// Fault bars are stacked: each takes the first row that is free at its beginning.
const FAULT_ROWS = 6;
const faultRows = (() => {
  const free = [];
  for (const f of faults) {
    const end = f.until < 0 ? f.at + runEnd * 0.004 : f.until;
    let row = free.findIndex((until) => until <= f.at);
    if (row < 0) row = free.length < FAULT_ROWS ? free.length : FAULT_ROWS - 1;
    free[row] = Math.max(free[row] || 0, end);
    f.row = row;
  }
  return free.length;
})();

// The first index whose value is not below `t`.
function lowerBound(array, t) {
  let low = 0;
  let high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] < t) low = middle + 1;
    else high = middle;
  }
  return low;
}

// What the boxes and the search field let through.
const filter = { messages: true, heartbeats: true, lost: true, clients: true, notes: true, operations: true, words: "" };
let matching = null;
function search(words) {
  filter.words = words.trim().toLowerCase();
  matching = filter.words ? data.texts.map((t) => t.toLowerCase().includes(filter.words)) : null;
}
const matches = (label) => !matching || matching[label];
const shows = {
  message: (i) =>
    (filter.clients || !messages.client[i]) &&
    (messages.lost[i] ? filter.lost : messages.beat[i] ? filter.heartbeats : filter.messages) && matches(messages.label[i]),
  operation: (i) => filter.operations && matches(operations[i].label),
  note: (i) => filter.notes && matches(notes[i].label),
  state: (i) => states[i].fresh && matches(states[i].state),
  fault: (i) => matches(faults[i].fault) || matches(faults[i].detail),
  violation: () => true,
};

// The messages that are under way at some moment of the window.
function messagesIn(start, end) {
  const found = [];
  const last = lowerBound(messages.at, end);
  for (let block = 0; block * BLOCK < last; block++) {
    if (messages.blocks[block] < start) continue;
    const stop = Math.min(last, (block + 1) * BLOCK);
    for (let i = block * BLOCK; i < stop; i++) {
      if (messages.end[i] >= start && shows.message(i)) found.push(i);
    }
  }
  return found;
}

// All events in one order, for the table: which list, and where in it.
const KINDS = ["violation", "fault", "state", "operation", "note", "message"];
const order = (() => {
  const lists = [violations, faults, states, operations, notes];
  const total = lists.reduce((sum, list) => sum + list.length, messages.count);
  const at = new Float64Array(total);
  const kind = new Uint8Array(total);
  const index = new Uint32Array(total);
  let n = 0;
  const add = (k, i, t) => {
    at[n] = t;
    kind[n] = k;
    index[n++] = i;
  };
  lists.forEach((list, k) => list.forEach((e, i) => add(k, i, e.at)));
  for (let i = 0; i < messages.count; i++) add(5, i, messages.at[i]);
  const by = Uint32Array.from({ length: total }, (_, i) => i).sort((a, b) => at[a] - at[b] || a - b);
  return { total, at: Float64Array.from(by, (i) => at[i]), kind: Uint8Array.from(by, (i) => kind[i]), index: Uint32Array.from(by, (i) => index[i]) };
})();

// A state in words; what is down or has yet to read its disk has no term that it knows of.
const stateWords = (s) => (s.term === 0 ? text(s.state) : `${text(s.state)}, term ${s.term}`);

// An event in words: where, what, and when it ended.
function describe(kind, i) {
  switch (kind) {
    case "message": {
      const lost = messages.lost[i] === 1;
      return {
        at: messages.at[i],
        until: lost ? -1 : messages.end[i],
        where: `${laneName(messages.from[i])} → ${laneName(messages.to[i])}`,
        what: text(messages.label[i]) + (lost ? " (lost)" : ""),
        css: lost ? "message lost" : "message",
      };
    }
    case "operation": {
      const o = operations[i];
      return { at: o.at, until: o.until, where: laneName(o.lane), what: text(o.label) + (o.until < 0 ? " (never answered)" : ""), css: kind };
    }
    case "state": {
      const s = states[i];
      return { at: s.at, until: s.until === Infinity ? -1 : s.until, where: laneName(s.lane), what: stateWords(s), css: kind };
    }
    case "note":
      return { at: notes[i].at, until: -1, where: laneName(notes[i].lane), what: text(notes[i].label), css: kind };
    case "fault": {
      const f = faults[i];
      const detail = text(f.detail);
      return { at: f.at, until: f.until, where: faultLanes(f), what: text(f.fault) + (detail ? `: ${detail}` : ""), css: kind };
    }
    default: {
      const v = violations[i];
      return { at: v.at, until: -1, where: v.lane < 0 ? "" : laneName(v.lane), what: `${text(v.property)} broke: ${text(v.message)}`, css: kind };
    }
  }
}
const faultLanes = (f) => (f.lanes.length ? f.lanes.map(laneName).join(", ") : "all");

// A moment to the nanosecond, a length in its own unit.
function moment(ns, decimals = 6) {
  return `${(ns / 1e9).toFixed(decimals)} s`;
}
function lasting(ns) {
  if (ns >= 1e9) return `${(ns / 1e9).toPrecision(3)} s`;
  if (ns >= 1e6) return `${(ns / 1e6).toPrecision(3)} ms`;
  if (ns >= 1e3) return `${(ns / 1e3).toPrecision(3)} µs`;
  return `${Math.round(ns)} ns`;
}

