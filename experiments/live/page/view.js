// The world as SVG in layers, and the goal that is dragged. Styles stand in the SVG itself, so that
// a recorded frame looks like the page.

const STYLE = `
svg .frame { fill: #fff; stroke: #c3cbd9; stroke-width: 3px; vector-effect: non-scaling-stroke; }
svg .wall { fill: #2b3650; } svg .wall-line { stroke: #2b3650; stroke-linecap: round; }
svg polyline { fill: none; vector-effect: non-scaling-stroke; stroke-linejoin: round; stroke-linecap: round; }
svg .now { color: #273349; } svg .goal { color: #149a52; opacity: .55; }
svg .aim { color: #149a52; opacity: .2; }
svg .virtual { color: #e5780b; } svg .rollout { color: #2b62e3; } svg .trail { color: #9aa5b8; }
svg .trail polyline { stroke: currentColor; stroke-width: 2px; stroke-dasharray: 1 5; }
svg .graph path { stroke: #c9b8e8; stroke-width: 0.7px; fill: none; vector-effect: non-scaling-stroke; }
svg .way polyline { stroke: #7a3fc4; stroke-width: 5px; stroke-opacity: .35; }
svg .virtual polyline { stroke: currentColor; stroke-width: 1.6px; stroke-opacity: .75; }
svg .rollout polyline { stroke: currentColor; stroke-width: 2.6px; stroke-opacity: .9; }
svg .knob { fill: #fff; stroke: #149a52; stroke-width: 2.5px; vector-effect: non-scaling-stroke; cursor: grab; }
svg .arm { stroke: #149a52; stroke-width: 2px; stroke-dasharray: 3 3; vector-effect: non-scaling-stroke; }
svg .grip { fill: none; stroke: #149a52; stroke-width: 2px; stroke-dasharray: 4 4; vector-effect: non-scaling-stroke; }
`;
const LAYERS = ["backdrop", "graph", "way", "trail", "rollout", "virtual", "aim", "goal", "now", "hold"];

export class View {
  constructor(svg, onDrag) {
    this.svg = svg;
    this.onDrag = onDrag;
    this.handles = [];
    this.held = null;
    this.clear();
    svg.addEventListener("pointerdown", (e) => this.#grip(e));
    svg.addEventListener("pointermove", (e) => this.#drag(e));
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => this.#release());
    svg.addEventListener("wheel", (e) => this.#wheel(e), { passive: false });
    svg.addEventListener("keydown", (e) => this.#key(e));
  }

  clear() {
    this.svg.innerHTML = `<style>${STYLE}</style>` + LAYERS.map((l) => `<g class="${l}"></g>`).join("");
    this.layers = Object.fromEntries(LAYERS.map((l) => [l, this.svg.querySelector(`:scope > .${l}`)]));
  }

  open(world) {
    this.clear();
    this.box = world.box;
    this.svg.setAttribute("viewBox", world.box.join(" "));
    this.svg.style.aspectRatio = `${world.box[2]} / ${world.box[3]}`;
    this.layers.backdrop.innerHTML = world.backdrop;
    this.graph = "";
  }

  show(view) {
    if (view.now !== undefined) this.layers.now.innerHTML = view.now;
    if (view.graph !== undefined && view.graph !== this.graph) this.layers.graph.innerHTML = this.graph = view.graph;
    if (view.wayLine) this.layers.way.innerHTML = line(view.wayLine);
    if (view.trail) this.layers.trail.innerHTML = line(view.trail);
    if (view.goal !== undefined) this.layers.goal.innerHTML = view.goal;
    if (view.aim !== undefined) this.layers.aim.innerHTML = view.aim;
    if (view.virtualLine) this.layers.virtual.innerHTML = this.#path(view.virtual, view.virtualLine, 0.16);
    if (view.rolloutLine) this.layers.rollout.innerHTML = this.#path(view.rollout, view.rolloutLine, 0.1);
    if (view.handles) {
      this.handles = view.handles.map((h, i) => (i === this.held?.number ? this.handles[i] : h));
      this.#showHandles();
    }
  }

  // Ghosts grow stronger towards the end of a trajectory; small dots show every step.
  #path(ghosts, points, strength) {
    const shades = ghosts.map((g, i) => `<g opacity="${(strength * (0.4 + (1.6 * (i + 1)) / ghosts.length)).toFixed(3)}">${g}</g>`);
    const radius = this.box[2] * 0.005;
    const dots = points.slice(1).map(([x, y]) => `<circle cx="${x}" cy="${y}" r="${radius}" fill="currentColor"/>`);
    return shades.join("") + line(points) + dots.join("");
  }

  #knob(handle) {
    const arm = handle.reach * 1.25;
    return [handle.x + arm * Math.sin(handle.angle), handle.y - arm * Math.cos(handle.angle)];
  }

  #showHandles() {
    const size = this.box[2] * 0.017;
    this.layers.hold.innerHTML = this.handles.map((h) => {
      if (h.angle === null) return `<circle class="grip" cx="${h.x}" cy="${h.y}" r="${h.reach * 0.8}"/>`;
      const [x, y] = this.#knob(h);
      return `<line class="arm" x1="${h.x}" y1="${h.y}" x2="${x}" y2="${y}"/><circle class="knob" cx="${x}" cy="${y}" r="${size}"/>`;
    }).join("");
  }

  #place(event) {
    const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return [p.x, p.y];
  }

  // What lies under the pointer: a knob before a place, a small place before a large one.
  #under([x, y]) {
    const size = this.box[2] * 0.03;
    const turned = this.handles.findIndex((h) => h.angle !== null && distance(this.#knob(h), [x, y]) < size);
    if (turned >= 0) return { number: turned, turning: true };
    const near = this.handles.map((h, number) => ({ number, h })).filter(({ h }) => distance([h.x, h.y], [x, y]) < h.reach);
    near.sort((a, b) => a.h.reach - b.h.reach);
    return near.length ? { number: near[0].number, turning: false } : null;
  }

  #grip(event) {
    const place = this.#place(event);
    const found = this.#under(place);
    if (!found) return;
    const h = this.handles[found.number];
    this.held = { ...found, offset: [h.x - place[0], h.y - place[1]] };
    this.svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  #drag(event) {
    const [x, y] = this.#place(event);
    if (!this.held) {
      this.svg.style.cursor = this.#under([x, y]) ? "grab" : "default";
      return;
    }
    this.held.moved = true;
    const h = this.handles[this.held.number];
    if (this.held.turning) h.angle = nearest(Math.atan2(x - h.x, h.y - y), h.angle);
    else [h.x, h.y] = [x + this.held.offset[0], y + this.held.offset[1]];
    this.#moved(this.held.number);
  }

  #moved(number) {
    this.#showHandles();
    const { x, y, angle } = this.handles[number];
    this.onDrag({ handle: number, x, y, angle });
  }

  // Told once more, so that the answer puts the handle where the world lets it be.
  #release() {
    const held = this.held;
    this.held = null;
    if (held?.moved) this.#moved(held.number);
  }

  #wheel(event) {
    const found = this.#under(this.#place(event));
    if (!found || this.handles[found.number].angle === null) return;
    event.preventDefault();
    this.handles[found.number].angle += 0.002 * event.deltaY;
    this.#moved(found.number);
  }

  #key(event) {
    const h = this.handles[0];
    const step = this.box[2] * 0.01;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (!h) return;
    if (moves[event.key]) { h.x += moves[event.key][0]; h.y += moves[event.key][1]; }
    else if ("[]".includes(event.key) && h.angle !== null) h.angle += event.key === "]" ? 0.1 : -0.1;
    else return;
    event.preventDefault();
    this.#moved(0);
  }
}

function line(points) {
  return points.length > 1 ? `<polyline points="${points.map((p) => p.join(",")).join(" ")}"/>` : "";
}

function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}

// The angle that differs from `before` by less than half a turn.
function nearest(angle, before) {
  return angle + 2 * Math.PI * Math.round((before - angle) / (2 * Math.PI));
}
