// Cost and residual against iterations, one panel each, logarithmic; a line where a plan begins.

const MOST = 240;

export class Chart {
  constructor(canvas) {
    this.canvas = canvas;
    this.rows = [];
    this.total = 0;
  }

  clear() {
    this.rows = [];
    this.total = 0;
    this.draw();
  }

  add(rows) {
    for (const [iteration, cost, residual] of rows) {
      const last = this.rows.at(-1);
      const begins = !last || iteration <= last.iteration;
      this.total += begins ? iteration : iteration - last.iteration;
      this.rows.push({ iteration, cost, residual, begins, x: this.total });
    }
    this.rows = this.rows.slice(-MOST);
    this.draw();
  }

  draw() {
    const ratio = globalThis.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    const lifted = this.rows.some((r) => r.residual > 0);
    const panels = [["cost", "cost of the rollout", "#2b62e3"]];
    if (lifted) panels.push(["residual", "residual of the virtual states", "#e5780b"]);
    const each = (height - 16) / panels.length;
    panels.forEach(([field, title, color], i) => this.#panel(pen, field, title, color, i * each, width, each));
    pen.fillStyle = "#5c6678";
    pen.textAlign = "right";
    pen.fillText(`iterations of the search: ${this.total}`, width - 4, height - 3);
  }

  #panel(pen, field, title, color, top, width, height) {
    const left = 46;
    const low = top + 18;
    const high = top + height - 6;
    pen.textAlign = "left";
    pen.fillStyle = color;
    pen.fillText(title, left, top + 12);
    const values = this.rows.map((r) => r[field]).filter((v) => v > 0);
    if (!values.length) return;
    const bottomValue = Math.floor(2 * Math.log10(Math.min(...values))) / 2;
    const topValue = Math.max(Math.ceil(2 * Math.log10(Math.max(...values))) / 2, bottomValue + 0.5);
    const first = this.rows[0].x;
    const span = Math.max(this.rows.at(-1).x - first, 1);
    const x = (r) => left + ((width - left - 4) * (r.x - first)) / span;
    const y = (v) => high - ((high - low) * (Math.log10(v) - bottomValue)) / (topValue - bottomValue);
    pen.strokeStyle = "#e3e7ee";
    pen.lineWidth = 1;
    pen.fillStyle = "#5c6678";
    pen.textAlign = "right";
    for (const v of [bottomValue, topValue]) {
      pen.beginPath();
      pen.moveTo(left, y(10 ** v));
      pen.lineTo(width - 4, y(10 ** v));
      pen.stroke();
      pen.fillText(short(10 ** v), left - 5, y(10 ** v) + 4);
    }
    for (const r of this.rows.filter((row) => row.begins)) {
      pen.beginPath();
      pen.moveTo(x(r), low);
      pen.lineTo(x(r), high);
      pen.stroke();
    }
    pen.strokeStyle = color;
    pen.lineWidth = 1.8;
    pen.beginPath();
    let up = true;
    for (const r of this.rows) {
      if (!(r[field] > 0)) { up = true; continue; }
      if (up || r.begins) pen.moveTo(x(r), y(r[field]));
      else pen.lineTo(x(r), y(r[field]));
      up = false;
    }
    pen.stroke();
  }
}

function short(value) {
  return value >= 0.001 && value < 10000 ? String(Number(value.toPrecision(2))) : value.toExponential(0);
}
