// The page of a video: curves that follow the film, and a film that follows a click.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const video = document.querySelector("video");
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400]; // seconds
const DASHES = [[], [7, 4], [2, 3], [8, 3, 2, 3]]; // faces can be told apart without colours
const shown = data.faces.map(() => true);
const strips = []; // {u, now, meters, place, strip}: the plots, and which strip of the view each shows
let view = data.views[0]; // probabilities, or intensities
let span = Infinity; // seconds of the window on the curves

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clock = (t, digits = 1) => {
  const h = Math.floor(t / 3600), m = Math.floor(t / 60) % 60, s = (t % 60).toFixed(digits);
  return (h ? h + ":" + String(m).padStart(2, "0") : m) + ":" + s.padStart(digits ? digits + 3 : 2, "0");
};
const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

function film() {
  const held = document.getElementById("film");
  if (!held.textContent) return; // it lies beside the page
  const text = atob(held.textContent);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  held.remove();
  video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
}

function seek(time) {
  video.currentTime = Math.max(0, Math.min(time, data.duration));
  follow();
}

function range() {
  if (span >= data.duration) return [0, data.duration];
  const page = Math.floor(video.currentTime / span) * span;
  return [page, page + span];
}

// Bars below a curve: where the unit is on, a row for each face.
function marks(strip) {
  return (u) => {
    const { ctx, bbox } = u, high = 3 * devicePixelRatio;
    ctx.save();
    ctx.beginPath(); ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height); ctx.clip();
    data.events.forEach(([s, face, onset, , offset]) => {
      if (s !== strip || !shown[face]) return;
      const left = u.valToPos(onset, "x", true), right = u.valToPos(offset, "x", true);
      ctx.fillStyle = colour("--face" + face);
      const row = bbox.top + bbox.height - (data.faces.length - face) * (high + devicePixelRatio);
      ctx.fillRect(left, row, Math.max(right - left, 2), high);
    });
    ctx.restore();
  };
}

function options(width, shows) {
  const { strip } = shows;
  const font = "10px system-ui, sans-serif", rows = 4 * data.faces.length + 2;
  const height = strip ? 47 + rows : 24;
  const x = {
    side: 0, show: true, size: strip ? 0 : 22, font, stroke: () => colour("--dim"), space: 70, gap: 2, incrs: STEPS,
    grid: { stroke: () => colour("--line"), width: 1, show: Boolean(strip) }, ticks: { show: !strip, size: 4, stroke: () => colour("--line") },
    values: (u, splits) => splits.map((t) => (strip ? "" : clock(t, splits.every(Number.isInteger) ? 0 : 1))),
  };
  const y = {
    show: true, size: 26, font, gap: 3, stroke: () => colour("--dim"), splits: () => (({ low, high }) => [low, (low + high) / 2, high])(shows.strip ?? { low: 0, high: 1 }),
    values: (u, splits) => (strip ? splits.map((v, i) => (i === 1 ? "" : v)) : []),
    grid: { stroke: () => colour("--line"), width: 1, show: Boolean(strip) }, ticks: { show: false },
  };
  return {
    width, height, padding: [strip ? 7 : 0, 16, 0, 0], legend: { show: false },
    scales: {
      x: { time: false, range }, // room for the bars below the curve
      y: { range: () => (({ low, high }) => [low - (high - low) * (rows / 40), high])(shows.strip ?? { low: 0, high: 1 }) },
    },
    axes: [x, y],
    cursor: { sync: { key: "all" }, drag: { x: false, y: false }, y: false, points: { show: false } },
    series: [{}, ...(strip ? data.faces : []).map((face, i) => ({
      stroke: () => colour("--face" + i), width: 1.6, dash: DASHES[i], points: { show: false }, spanGaps: false,
    }))],
    hooks: {
      draw: strip ? [marks(shows.place)] : [],
      setCursor: [(u) => { if (u.cursor.event) tell(u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : video.currentTime); }],
    },
  };
}

function addStrip(parent, place) {
  const strip = view.strips[place], shows = { place, strip };
  const name = element("div", { class: "name" }), plot = element("div", { class: "plot" });
  const now = element("div", { class: "now" });
  const meters = [];
  if (strip) {
    const words = element("span");
    if (strip.words) words.append(element("b", {}, strip.unit), " ", strip.words);
    else words.append(strip.unit);
    const row = element("div", { class: "meters" });
    data.faces.forEach((face, i) => {
      const bar = element("i", { style: `--colour:var(--face${i})` }), number = element("span");
      meters.push({ bar, number, box: row.appendChild(element("div", { class: "meter", title: face.label }, bar, number)) });
    });
    name.append(words, row);
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", strip.about);
  }
  parent.append(element("div", { class: strip ? "strip" : "strip axis" }, name, plot));
  const values = [data.times, ...(strip ? strip.curves : [])];
  const u = new uPlot(options(plot.clientWidth, shows), values, plot);
  u.over.append(now);
  u.over.addEventListener("click", (event) => seek(u.posToVal(event.offsetX, "x")));
  strips.push(Object.assign(shows, { u, now, meters, plot }));
}

function choose(next) {
  view = next;
  strips.filter(({ strip }) => strip).forEach((shows) => {
    shows.strip = view.strips[shows.place];
    shows.plot.setAttribute("aria-label", shows.strip.about);
    shows.u.setData([data.times, ...shows.strip.curves]);
  });
  window_ = null; // scales are set anew
  follow();
}

// The frame that a time shows: the last one that began before.
function frameAt(time) {
  let low = 0, high = data.times.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (data.times[middle] <= time + 1e-3) low = middle; else high = middle - 1;
  }
  return low;
}

const rounded = (value, digits) => value.toFixed(digits).replace(/^-(?=[0.]+$)/, ""); // no -0

function tell(time) {
  const frame = frameAt(time);
  document.getElementById("time").textContent = clock(time);
  for (const { meters, strip } of strips) meters.forEach(({ bar, number, box }, i) => {
    const value = strip.curves[i][frame];
    box.hidden = !shown[i];
    bar.style.setProperty("--share", value == null ? 0 : Math.max(0, Math.min(1, (value - strip.low) / (strip.high - strip.low))));
    number.textContent = value == null ? "–" : rounded(value, strip.digits);
  });
}

let window_ = null;
function follow() {
  const time = video.currentTime, [low, high] = range();
  if (window_ !== low + "," + high) {
    window_ = low + "," + high;
    strips.forEach(({ u }) => u.setScale("x", { min: low, max: high }));
  }
  for (const { u, now } of strips) now.style.transform = `translateX(${u.valToPos(time, "x") - 1}px)`;
  tell(time);
}

function loop() {
  follow();
  if (!video.paused) requestAnimationFrame(loop);
}

function controls() {
  const bar = document.getElementById("bar");
  data.faces.forEach((face, i) => {
    const dash = DASHES[i].join(" ");
    const chip = element("button", { class: "chip", "aria-pressed": "true" });
    chip.innerHTML = `<svg><path d="M0 5H30" stroke="var(--face${i})" stroke-width="3" stroke-dasharray="${dash}"/></svg>`;
    chip.append(face.label);
    chip.onclick = () => {
      shown[i] = !shown[i];
      chip.setAttribute("aria-pressed", shown[i]);
      strips.forEach(({ u, strip }) => strip && u.setSeries(i + 1, { show: shown[i] }));
      list(); follow();
    };
    bar.append(chip);
  });
  const spans = [Infinity, 600, 60, 10].filter((s) => s === Infinity || s < data.duration / 1.5);
  const words = (s) => (s === Infinity ? "All" : s < 60 ? s + " s" : s / 60 + " min");
  choices(bar, "Part of the video on the curves", spans, words, (s) => { span = s; follow(); });
  choices(document.querySelector("#curves h2"), "What curves show", data.views, (v) => v.name, choose, true);
}

// Buttons of which one is pressed; none if there is nothing to choose.
function choices(place, about, values, words, chosen, after = false) {
  if (values.length < 2) return;
  const group = element("span", { class: "choices", role: "group", "aria-label": about });
  values.forEach((value, i) => {
    const button = element("button", { "aria-pressed": i === 0 }, words(value));
    button.onclick = () => {
      for (const other of group.children) other.setAttribute("aria-pressed", other === button);
      chosen(value);
    };
    group.append(button);
  });
  if (after) place.after(group); else place.append(group);
}

const MOST = 200;
let wanted = MOST;
function list() {
  const choice = document.getElementById("unit"), body = document.getElementById("events");
  const fits = data.events.filter(([s, face]) => shown[face] && (choice.value === "" || s === Number(choice.value)));
  body.replaceChildren(...fits.slice(0, wanted).map(([s, face, onset, peak, offset, height]) => {
    const strip = view.strips[s], go = element("button", { title: "Go to its peak" }, clock(peak));
    go.onclick = () => seek(peak);
    const cell = (text, kind = "") => element("td", { class: kind }, text);
    return element("tr", {}, element("td", {}, go), cell(`${strip.unit} ${strip.words}`), cell(data.faces[face].label),
      cell(clock(onset), "number"), cell(clock(offset), "number"), cell(height.toFixed(2), "number"));
  }));
  const more = document.getElementById("more");
  more.hidden = fits.length <= wanted;
  more.textContent = `Show all ${fits.length}`;
  document.getElementById("none").hidden = fits.length > 0;
}

function start() {
  film();
  const parent = document.getElementById("strips");
  addStrip(parent, -1);
  view.strips.forEach((strip, place) => addStrip(parent, place));
  controls();
  const choice = document.getElementById("unit");
  new Set(data.events.map(([s]) => s)).forEach((s) => choice.append(element("option", { value: s }, `${view.strips[s].unit} ${view.strips[s].words}`)));
  choice.onchange = () => { wanted = MOST; list(); };
  document.getElementById("more").onclick = () => { wanted = Infinity; list(); };
  list();
  for (const event of ["seeked", "timeupdate", "loadeddata"]) video.addEventListener(event, follow);
  video.addEventListener("play", loop);
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || /^(VIDEO|SELECT|INPUT)$/.test(event.target.tagName)) return;
    seek((data.times[frameAt(video.currentTime) + step] ?? video.currentTime) + 1e-4);
    event.preventDefault();
  });
  const resize = () => { strips.forEach(({ u }) => u.setSize({ width: u.root.parentElement.clientWidth, height: u.height })); follow(); };
  new ResizeObserver(resize).observe(parent);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => strips.forEach(({ u }) => u.redraw()));
  follow();
}

start();
