// Connects the page to the server: what it sends is shown, what the user does is sent.

import { Chart } from "./chart.js";
import { Controls } from "./controls.js";
import { Recorder } from "./recorder.js";
import { View } from "./view.js";

const at = (id) => document.getElementById(id);
const state = { world: null, settings: {}, playing: true, phase: "", cost: null, updates: 0, gap: null };
let socket = null;
let drag = null;
let lastUpdate = null;
let written = 0;
let leaving = false;

const view = new View(at("view"), (place) => { drag = place; });
const chart = new Chart(at("chart"));
const controls = new Controls(at("choices"), at("numbers"), (changes) => {
  Object.assign(state.settings, changes);
  send({ do: "settings", changes });
});
const recorder = new Recorder(at("view"), caption, () => stopRecording());

function send(command) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(command));
}

// The address: everything that a shared view needs.

function fromAddress() {
  const found = new URLSearchParams(location.hash.slice(1));
  const list = (name) => found.get(name)?.split(",").map(Number);
  const settings = {};
  for (const name of ["planner", "sync"]) if (found.has(name)) settings[name] = found.get(name);
  for (const name of ["effort", "horizon", "follow", "state_std", "action_std", "rate"]) {
    if (found.has(name)) settings[name] = Number(found.get(name));
  }
  return {
    do: "open", world: found.get("world"), seed: Number(found.get("seed") ?? 0), settings,
    goal: list("goal"), state: list("state"), playing: found.get("paused") !== "1",
  };
}

function toAddress() {
  if (!state.world) return;
  const found = { world: state.world.name, seed: state.world.seed, ...state.settings };
  found.goal = state.goalNumbers?.join(",");
  if (!state.playing || state.phase === "reached") found.state = state.stateNumbers?.join(",");
  if (!state.playing) found.paused = 1;
  const text = `#${new URLSearchParams(found)}`.replaceAll("%2C", ",");
  if (text !== location.hash) history.replaceState(null, "", text);
}

// Browsers allow few changes of the address in a time.
setInterval(() => { if (Date.now() - written > 700) { written = Date.now(); toAddress(); } }, 350);

function open(command) {
  chart.clear();
  state.cost = null;
  send(command);
}

function connect() {
  socket = new WebSocket(`ws://${location.host}/socket`);
  socket.onopen = () => open(fromAddress());
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = () => {
    if (leaving) return;
    showPhase("stopped", "server gone");
    say({ kind: "error", text: "The server is gone. Start it again; this page then connects by itself." });
    setTimeout(connect, 2000);
  };
}

function receive(found) {
  if (found.view) show(found.view);
  for (const message of found.messages ?? []) say(message);
  if (found.rows) {
    chart.add(found.rows);
    state.cost = found.rows.at(-1)[1];
    state.updates += found.rows.length;
  }
}

function show(shown) {
  if (shown.world) openWorld(shown);
  for (const name of ["settings", "playing", "goalNumbers", "stateNumbers"]) {
    if (shown[name] !== undefined) state[name] = shown[name];
  }
  if (shown.settings) controls.set(shown.settings);
  view.show(shown);
  if (shown.graph !== undefined) at("way").hidden = !shown.graph;
  countFrames(shown);
  if (shown.phase) showPhase(shown.phase);
  if (shown.steps !== undefined) at("steps").textContent = shown.steps;
  if (shown.compiled !== undefined) at("compiled").textContent = shown.compiled;
  if (shown.stepMs !== undefined) at("ms").textContent = shown.stepMs.toFixed(shown.stepMs < 10 ? 1 : 0);
  if (shown.playing !== undefined) at("play").textContent = shown.playing ? "Pause" : "Play";
}

// Pictures of a search per second, over the time that is spent on planning.
function countFrames(shown) {
  const now = performance.now();
  if (shown.phase === "planning" && shown.rolloutLine?.length) {
    if (lastUpdate !== null) state.gap = state.gap === null ? now - lastUpdate : 0.9 * state.gap + 0.1 * (now - lastUpdate);
    lastUpdate = now;
    if (state.gap) at("fps").textContent = (1000 / state.gap).toFixed(0);
  } else if (shown.phase) {
    lastUpdate = null;
  }
}

function openWorld(shown) {
  state.world = shown.world;
  view.open(shown.world);
  view.held = null;
  controls.build(shown.controls, shown.world.planners);
  chart.clear();
  at("title").textContent = shown.world.title;
  at("about").textContent = shown.world.about;
  at("messages").replaceChildren();
  const buttons = shown.world.worlds.map((name) => {
    const button = document.createElement("button");
    button.textContent = name.replaceAll("_", " ");
    button.dataset.world = name;
    button.setAttribute("aria-current", name === shown.world.name);
    button.onclick = () => open({ do: "open", world: name, seed: 0, playing: true });
    return button;
  });
  at("worlds").replaceChildren(...(buttons.length > 1 ? buttons : []));
}

function showPhase(phase, text) {
  const words = {
    compiling: "compiling, once per choice …", loading: "loading the world …", reached: "goal reached",
  };
  state.phase = phase;
  at("phase").textContent = text ?? words[phase] ?? phase;
  at("phase").className = `badge ${phase.split(/\W/)[0]}`;
}

function say({ text, kind }) {
  const line = document.createElement("div");
  line.className = kind;
  line.textContent = text;
  at("messages").prepend(line);
  while (at("messages").children.length > 4) at("messages").lastChild.remove();
}

function caption() {
  const cost = state.cost === null ? "" : `, cost ${state.cost.toPrecision(2)}`;
  return `${state.world?.title ?? ""}: ${state.settings.planner ?? ""}, ${at("phase").textContent}${cost}`;
}

async function stopRecording() {
  at("record").textContent = "● Record GIF";
  at("record").classList.remove("recording");
  try {
    const blob = await recorder.stop();
    const url = URL.createObjectURL(blob);
    at("film").querySelector("img").src = url;
    at("film").querySelector("a").href = url;
    at("film").hidden = false;
    say({ kind: "good", text: `Recorded ${recorder.frames.length} frames, ${(blob.size / 1024).toFixed(0)} kB.` });
  } catch (error) {
    say({ kind: "error", text: `No GIF: ${error.message}` });
  }
}

at("play").onclick = () => send({ do: state.playing ? "pause" : "play" });
at("step").onclick = () => send({ do: "step" });
at("reset").onclick = () => reopen(state.world.seed);
at("next").onclick = () => reopen(state.world.seed + 1);
at("record").onclick = () => {
  if (recorder.recording) { stopRecording(); return; }
  recorder.start();
  at("record").textContent = "■ Stop";
  at("record").classList.add("recording");
};

function reopen(seed) {
  const goal = seed === state.world.seed ? state.goalNumbers : undefined;
  open({ do: "open", world: state.world.name, seed, settings: state.settings, goal, playing: state.playing });
}

// A drag sends where the goal is now, not every place it passed.
setInterval(() => { if (drag) { send({ do: "goal", ...drag }); drag = null; } }, 40);
// A page that the browser keeps to come back to would keep its session too.
addEventListener("pagehide", () => { leaving = true; socket.close(); });
addEventListener("pageshow", (event) => { if (event.persisted) { leaving = false; connect(); } });
addEventListener("hashchange", () => open(fromAddress()));
addEventListener("resize", () => chart.draw());
globalThis.live = { state, view, chart, recorder };
connect();
