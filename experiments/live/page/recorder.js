// Records the view: every frame is drawn into a canvas here, the server makes the GIF.

const SIZE = 420;
const CAPTION = 26;
const PERIOD = 100;
const MOST = 300;

export class Recorder {
  constructor(svg, caption, onFull) {
    this.svg = svg;
    this.caption = caption;
    this.onFull = onFull;
    this.frames = [];
    this.film = null;
    this.timer = null;
    this.busy = false;
  }

  get recording() {
    return this.timer !== null;
  }

  start() {
    this.frames = [];
    this.timer = setInterval(() => this.#capture(), PERIOD);
  }

  async stop() {
    clearInterval(this.timer);
    this.timer = null;
    if (!this.frames.length) throw new Error("nothing was recorded: record for a moment longer");
    const form = new FormData();
    form.append("ms", PERIOD);
    this.frames.forEach((frame, i) => form.append("frame", frame, `${i}.png`));
    const answer = await fetch("/gif", { method: "POST", body: form });
    if (!answer.ok) throw new Error(await answer.text());
    this.film = await answer.blob();
    return this.film;
  }

  async #capture() {
    if (this.busy) return;
    this.busy = true;
    try {
      const frame = await this.#frame();
      if (this.recording) this.frames.push(frame);
      if (this.recording && this.frames.length >= MOST) this.onFull();
    } finally {
      this.busy = false;
    }
  }

  async #frame() {
    const copy = this.svg.cloneNode(true);
    const [, , width, height] = copy.getAttribute("viewBox").split(" ").map(Number);
    const tall = Math.round((SIZE * height) / width);
    copy.setAttribute("width", SIZE);
    copy.setAttribute("height", tall);
    const text = new XMLSerializer().serializeToString(copy);
    const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    const picture = new Image();
    try {
      picture.src = url;
      await picture.decode();
    } finally {
      URL.revokeObjectURL(url);
    }
    const canvas = document.createElement("canvas");
    canvas.width = SIZE;
    canvas.height = tall + CAPTION;
    const pen = canvas.getContext("2d");
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(picture, 0, 0);
    pen.fillStyle = "#273349";
    pen.font = "14px system-ui, sans-serif";
    pen.fillText(this.caption(), 8, tall + 18);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }
}
