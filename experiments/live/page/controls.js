// Selects and sliders, built from what the server says of them.

const LOGS = 200;

export class Controls {
  constructor(choices, numbers, onChange) {
    this.places = { choices, numbers };
    this.onChange = onChange;
    this.inputs = {};
  }

  build(described, planners) {
    this.inputs = {};
    this.places.choices.replaceChildren();
    this.places.numbers.replaceChildren();
    for (const [name, options] of Object.entries(described.choices)) this.#select(name, options, planners);
    for (const [name, number] of Object.entries(described.numbers)) this.#slider(name, number);
  }

  set(settings) {
    for (const [name, value] of Object.entries(settings)) this.inputs[name]?.write(value);
    const lifted = ["GRASP", "GRASP-author"].includes(settings.planner);
    this.inputs.sync.element.disabled = !lifted;
    this.inputs.state_std.element.disabled = !lifted;
  }

  #select(name, options, planners) {
    const element = document.createElement("select");
    for (const [value, about] of Object.entries(options)) {
      if (name === "planner" && !planners.includes(value)) continue;
      const option = new Option(value, value);
      option.title = about;
      element.add(option);
    }
    element.id = name;
    element.addEventListener("change", () => this.onChange({ [name]: element.value }));
    this.inputs[name] = { element, write: (value) => { element.value = value; element.title = options[value]; } };
    this.places.choices.append(labelled(name, element));
  }

  #slider(name, number) {
    const element = document.createElement("input");
    const output = document.createElement("output");
    element.type = "range";
    element.id = name;
    const log = number.logarithmic;
    [element.min, element.max] = log ? [0, LOGS] : [number.low, number.high];
    element.step = log || number.whole ? 1 : 0.01;
    const ratio = number.high / number.low;
    const read = () => Number(log ? number.low * ratio ** (element.value / LOGS) : element.value);
    const say = (value) => { output.value = number.whole ? value : Number(value.toPrecision(2)); };
    const write = (value) => {
      element.value = log ? (LOGS * Math.log(value / number.low)) / Math.log(ratio) : value;
      say(value);
    };
    const clipped = () => Math.min(Math.max(read(), number.low), number.high);
    element.addEventListener("input", () => { say(clipped()); this.onChange({ [name]: clipped() }); });
    this.inputs[name] = { element, write };
    const label = labelled(number.label, element, output);
    label.title = number.about;
    this.places.numbers.append(label);
  }
}

function labelled(text, ...parts) {
  const label = document.createElement("label");
  const name = document.createElement("span");
  name.textContent = text;
  label.append(name, ...parts);
  return label;
}
