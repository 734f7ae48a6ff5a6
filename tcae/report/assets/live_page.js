// The page of tcae demo: sends pictures to its server, shows what they are read as, and asks for edits.
"use strict";
const $ = (id) => document.getElementById(id);
const main = document.querySelector("main"), video = $("video"), picture = $("picture"), canvas = document.createElement("canvas");
const rows = new Map([...document.querySelectorAll(".row[data-name]")].map((row) => [row.dataset.name, row]));
const units = [...rows.keys()].filter((name) => rows.get(name).classList.contains("unit"));
const ANGLES = ["pitch", "yaw", "roll"];
const LIVE_SIDE = 640; // pixels of a moving picture as it is sent
const TURN = 30; // degrees that sliders turn a head by
const MOST_BYTES = Number(main.dataset.mostBytes);

let run = 0; // counts what was opened; answers to something older come too late
let still = null; // the picture that is edited: its file, how it is shown, its key at the server, and what sliders ask for
let shown = null; // the picture that the bars are of, as a file
let answer = null; // what it was read as
let chosen = null; // centre of the face that was chosen, as shares of the picture
let neutral = null; // logits of the neutral face
let back = null; // opens again what a moment was taken from

const whole = (angle) => String(Math.round(angle) || 0); // no -0
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function say(text, wrong = false) {
  const status = $("status");
  if (status.textContent !== text) status.textContent = text; // a screen reader says what changes
  status.classList.toggle("wrong", wrong);
}

const complain = (error) => say(error.message, true);

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", body };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("tcae demo does not answer; was it stopped?");
  }
  if (response.ok) return response;
  const told = await response.json().catch(() => ({ error: "tcae demo failed; its terminal says why" }));
  throw new Error(told.error);
}

const read = async (path, file) => (await ask(path + (neutral ? `?neutral=${neutral}` : ""), file)).json();

// What a video shows now, as a picture with no side above the given one.
function snapshot(side = Infinity) {
  const scale = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
}

// ---- what is read ----

const centre = ({ box: [x, y, w, h] }, { width, height }) => [(x + w / 2) / width, (y + h / 2) / height];

// The face that was chosen before, wherever it has gone; the largest one at first.
function nearest(told) {
  if (!chosen) return 0;
  const far = told.faces.map((face) => Math.hypot(...centre(face, told).map((at, k) => at - chosen[k])));
  return Math.max(0, far.indexOf(Math.min(...far)));
}

function tell(told) {
  answer = told;
  const number = nearest(told), face = told.faces[number];
  if (face && chosen) chosen = centre(face, told);
  $("screen").style.setProperty("--shape", told.width / told.height);
  mark(told, number);
  bars(face);
  $("neutral").disabled = !face && !neutral;
  $("sure").textContent = face ? `Confidence ${face.confidence.toFixed(2)} of 1.` : "";
  say(face ? told.remarks.map((line) => `${line}.`).join(" ") : "No face was found.");
}

function mark(told, number) {
  const marks = $("marks");
  marks.setAttribute("viewBox", `0 0 ${told.width} ${told.height}`);
  const make = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const several = told.faces.length > 1, size = Math.max(told.width, told.height) / 28;
  marks.classList.toggle("several", several);
  marks.replaceChildren(...told.faces.flatMap(({ box: [x, y, width, height] }, k) => {
    const box = make("rect", { x, y, width, height, rx: size / 4, class: k === number ? "chosen" : "" });
    box.onpointerdown = () => choose(k); // at the next frame the box is another one: a click takes too long
    const name = make("text", { x: x + size / 3, y: y + size, "font-size": size });
    name.textContent = several ? k : "";
    return [box, name];
  }));
  const group = $("faces"), focused = [...group.children].indexOf(document.activeElement);
  group.hidden = !several;
  if (group.children.length !== told.faces.length) {
    group.replaceChildren(...told.faces.map((_, k) => {
      const button = document.createElement("button");
      button.textContent = `face ${k}`;
      button.onclick = () => choose(k);
      return button;
    }));
    group.children[focused]?.focus();
  }
  [...group.children].forEach((button, k) => button.setAttribute("aria-pressed", k === number));
}

function bar(name, share, text, on) {
  const row = rows.get(name), meter = row.querySelector("i");
  meter.style.setProperty("--share", share);
  meter.setAttribute("aria-valuetext", on ? `${text}, on` : text);
  meter.setAttribute("aria-valuenow", Number.parseFloat(text) || 0);
  row.classList.toggle("on", Boolean(on));
  row.querySelector(".read").textContent = text;
}

function bars(face) {
  units.forEach((unit, k) => {
    const value = face?.probabilities[k];
    bar(unit, value ?? 0, face ? value.toFixed(2) : "–", face?.present[k]);
  });
  ANGLES.forEach((name, k) => {
    const angle = face?.pose[k];
    bar(name, Math.max(0, Math.min(1, 0.5 + (angle ?? 0) / 90)), face ? whole(angle) : "–");
  });
}

async function choose(number) {
  chosen = centre(answer.faces[number], answer);
  tell(answer);
  if (still && number !== still.number) await take(run, number).catch(complain);
}

// ---- a picture, and its sliders ----

// Return whether it is shown now.
async function openPicture(file, name, whom = null) {
  const mine = start("still");
  chosen = whom;
  say("Reading …");
  try {
    if (file.size > MOST_BYTES) throw new Error(`has more than ${MOST_BYTES / 1e6} MB`);
    await file.slice(0, 1).arrayBuffer().catch(() => { throw new Error("cannot be read; is it a folder?"); });
    const told = await read("/pictures", file);
    if (mine !== run) return false;
    still = { file, key: told.key, original: await (await fetch(told.picture)).blob() };
    show(still.original, file);
    tell(told);
    if (told.faces.length) await take(mine, nearest(told));
  } catch (error) {
    if (mine === run) { start("empty"); say(`${name}: ${error.message}`, true); }
  }
  return mine === run;
}

// Show a picture; bars are read of the same one, or of the file that it stands for.
function show(image, file = image) {
  shown = file;
  URL.revokeObjectURL(picture.src);
  picture.src = URL.createObjectURL(image);
  picture.alt = "The picture, with faces marked";
  picture.hidden = false;
}

// Let the sliders move a face.
async function take(mine, number) {
  const told = await (await ask(`/pictures/${still.key}/faces/${number}`)).json();
  if (mine !== run) return;
  Object.assign(still, { number, read: told, aus: {}, pose: null });
  sliders();
  if (shown !== still.file) await edit();
}

function sliders() {
  for (const [name, row] of rows) {
    const input = row.querySelector("input"), angle = ANGLES.indexOf(name);
    const value = angle < 0 ? still.read.aus[name] : still.read.pose[angle];
    if (angle >= 0) { input.min = value - TURN; input.max = value + TURN; }
    input.value = value;
    input.disabled = value === undefined;
    wanted(row);
  }
  $("reset").disabled = true;
}

function wanted(row, asked = false) {
  const input = row.querySelector("input");
  const value = Number(input.value);
  row.querySelector("output").textContent = row.classList.contains("unit") ? value.toFixed(2) : whole(value);
  row.classList.toggle("asked", asked);
}

function slide(row) {
  const name = row.dataset.name, value = Number(row.querySelector("input").value), angle = ANGLES.indexOf(name);
  if (angle < 0) still.aus[name] = value;
  else (still.pose ??= [...still.read.pose])[angle] = value;
  wanted(row, true);
  $("reset").disabled = false;
  edit();
}

let editing = false, again = false;
// One edit at a time; what sliders did meanwhile is the next one. Bars follow when they rest.
async function edit() {
  again = true;
  if (editing) return;
  editing = true;
  while (again) {
    again = false;
    const mine = run;
    try {
      await editOnce(mine);
      if (mine === run && !again) await reread(mine);
    } catch (error) {
      if (mine === run) say(error.message, true);
    }
  }
  editing = false;
}

async function editOnce(mine) {
  const { key, number, aus, pose, original, file } = still;
  if (!pose && !Object.keys(aus).length) return show(original, file);
  const response = await ask(`/pictures/${key}/faces/${number}`, JSON.stringify({ aus, pose }));
  const edited = await response.blob();
  if (mine === run && number === still.number) show(edited);
}

async function reread(mine) {
  const told = await read("/frames", shown);
  if (mine === run) tell(told);
}

function reset() {
  Object.assign(still, { aus: {}, pose: null });
  sliders();
  edit();
}

// ---- a video, or the camera ----

async function follow(mine) {
  let before = null; // moment and neutral face of the last answer
  while (mine === run) {
    await new Promise(requestAnimationFrame);
    const moment = video.paused || video.seeking ? `${video.currentTime} ${neutral}` : null;
    if (video.readyState < 2 || video.seeking || (moment && moment === before)) { await wait(30); continue; }
    try {
      const file = await snapshot(LIVE_SIDE), told = await read("/frames", file);
      if (mine !== run) return;
      tell(told);
      before = moment;
    } catch (error) {
      if (mine === run) say(error.message, true);
      await wait(1000);
    }
  }
}

function watch(mine) {
  video.hidden = false;
  $("freeze").hidden = false;
  follow(mine);
}

function openVideo(file, name, time = 0) {
  const mine = start("live");
  const refuse = () => {
    if (mine !== run) return;
    start("empty");
    say(`${name}: this browser cannot play it; try: tcae show ${name}`, true);
  };
  video.controls = video.loop = true;
  video.onerror = refuse;
  video.onloadedmetadata = () => {
    if (mine !== run) return;
    if (!video.videoWidth) return refuse(); // sound alone
    video.currentTime = time;
    back = () => openVideo(file, name, video.dataset.time);
    watch(mine);
    if (!time) video.play().catch(() => {}); // it waits for its button then
  };
  say("Opening …");
  video.src = URL.createObjectURL(file);
}

async function openCamera() {
  const mine = start("live");
  const reasons = {
    NotAllowedError: "The camera was not allowed; the browser asks for it beside the address.",
    NotFoundError: "There is no camera.",
    NotReadableError: "The camera is in use by another program.",
  };
  say("Waiting for the camera …");
  try {
    if (!navigator.mediaDevices) throw new Error("This browser gives cameras to http://127.0.0.1 and http://localhost only.");
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: "user" } });
    if (mine !== run) return stream.getTracks().forEach((track) => track.stop());
    stream.getTracks()[0].onended = () => { if (mine === run) { start("empty"); say("The camera has gone.", true); } };
    video.controls = false;
    video.srcObject = stream;
    await video.play();
    back = openCamera;
    watch(mine);
  } catch (error) {
    if (mine === run) { start("empty"); say(reasons[error.name] ?? error.message, true); }
  }
}

async function freeze() {
  const whence = back, words = video.srcObject ? "Back to the camera" : "Back to the video";
  video.dataset.time = video.currentTime;
  if (!(await openPicture(await snapshot(), "This moment", chosen))) return;
  back = whence;
  $("back").textContent = words;
  $("back").hidden = false;
}

// ---- all of it ----

// Forget what was open.
function start(mode) {
  main.dataset.mode = mode;
  const source = video.src;
  video.srcObject?.getTracks().forEach((track) => { track.onended = null; track.stop(); });
  video.onerror = video.onloadedmetadata = null;
  video.pause();
  video.srcObject = null;
  video.removeAttribute("src");
  if (source) { video.load(); URL.revokeObjectURL(source); }
  for (const id of ["video", "picture", "freeze", "back"]) $(id).hidden = true;
  $("drop").hidden = mode !== "empty";
  $("marks").replaceChildren();
  $("faces").hidden = $("neutral").disabled = true;
  for (const row of rows.values()) {
    row.querySelector("input").disabled = true;
    row.querySelector("output").textContent = "–";
    row.classList.remove("asked");
  }
  $("sure").textContent = "";
  bars(null);
  still = shown = answer = chosen = back = null;
  again = false;
  $("screen").style.removeProperty("--shape");
  return ++run;
}

function openFile(file) {
  if (!file) return;
  if (file.type.startsWith("video/")) openVideo(file, file.name);
  else openPicture(file, file.name);
}

async function toggleNeutral() {
  neutral = neutral ? null : answer.faces[nearest(answer)].logits;
  $("neutral").setAttribute("aria-pressed", Boolean(neutral));
  if (still) await reread(run).catch(complain);
}

$("choose").onclick = () => $("file").click();
$("file").onchange = (event) => { openFile(event.target.files[0]); event.target.value = ""; };
$("camera").onclick = openCamera;
$("freeze").onclick = freeze;
$("back").onclick = () => back();
$("neutral").onclick = toggleNeutral;
$("reset").onclick = reset;
for (const row of rows.values()) row.querySelector("input").oninput = () => slide(row);
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over-page"); });
addEventListener("dragleave", () => document.body.classList.remove("over-page"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over-page");
  openFile(event.dataTransfer.files[0]);
});
