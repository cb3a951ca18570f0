// Model, fidelity, ensemble and format: shown from what the server offers, remembered on this device.

const KEY = "fourfold-settings";

// more models than this are too many to read before the first picture; the first two are the everyday ones
const AT_ONCE = 4;
const FIRST = 2;

export class Settings {
  constructor(form, summary) {
    this.form = form;
    this.summary = summary;
    this.models = [];
    this.fidelity = form.querySelector("#fidelity");
    this.ensemble = form.querySelector("#ensemble");
    this.format = form.querySelector("#format");
    this.list = form.querySelector("#models");
    const kept = readKept();
    this.wanted = kept.model;
    if ([...this.format.options].some((option) => option.value === kept.format)) this.format.value = kept.format;
    this.fidelity.value = kept.fidelity || 0;
    this.ensemble.checked = kept.ensemble === true;
    form.addEventListener("input", () => this.#changed());
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Shows the models that the server serves. */
  offer(served) {
    const models = withAutomatic(served);
    this.models = models;
    const chosen = models.find((model) => model.name === this.wanted) || models.find((model) => model.default);
    const choices = models.map((model) => choice(model, model === chosen));
    const shown = served.length > AT_ONCE ? FIRST + models.length - served.length : models.length;
    this.list.replaceChildren(...choices.slice(0, shown));
    if (shown < models.length) this.list.append(folded(choices.slice(shown), models.indexOf(chosen) >= shown));
    this.#changed();
  }

  get model() {
    const name = this.form.querySelector("input[name=model]:checked")?.value;
    return this.models.find((model) => model.name === name);
  }

  /** What is sent along with a picture. */
  options() {
    const options = { format: this.format.value };
    if (this.model?.name) options.model = this.model.name;
    if (this.model?.fidelity && Number(this.fidelity.value) > 0) options.fidelity = this.fidelity.value;
    if (this.ensemble.checked) options.ensemble = "true";
    return options;
  }

  #changed() {
    const { model } = this;
    if (model) this.wanted = model.name; // the models are shown again after every sign-in
    this.form.querySelector("#fidelity-field").hidden = !model?.fidelity;
    const percent = `${Math.round(this.fidelity.value * 100)} %`;
    this.form.querySelector("#fidelity-text").textContent = percent;
    this.fidelity.setAttribute("aria-valuetext", `${percent} faithful`);
    const parts = [model?.title];
    if (model?.fidelity && Number(this.fidelity.value) > 0) parts.push(`${percent} faithful`);
    if (this.ensemble.checked) parts.push("self-ensemble");
    if (this.format.value !== "auto") parts.push(this.format.selectedOptions[0].text);
    this.summary.textContent = parts.filter(Boolean).join(", ");
    const kept = {
      model: model?.name,
      format: this.format.value,
      fidelity: this.fidelity.value,
      ensemble: this.ensemble.checked,
    };
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // private windows may refuse; the choice then lasts as long as the page
    }
  }
}

function readKept() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    return {};
  }
}

/** The models, after the choice among them by the picture, where the server makes one. */
function withAutomatic(served) {
  const usual = served.find((model) => model.default);
  const forCompressed = served.find((model) => model.for_compressed);
  if (!usual || !forCompressed || usual === forCompressed) return served;
  const about = "Photo-realistic. Takes JPEG's blocks away instead of enlarging them.";
  const automatic = { ...usual, name: "", title: "Automatic", about };
  return [automatic, ...served.map((model) => ({ ...model, default: false }))];
}

function folded(choices, open) {
  const fold = Object.assign(document.createElement("details"), { className: "more-models", open });
  const summary = Object.assign(document.createElement("summary"), { textContent: `${choices.length} more models` });
  const list = Object.assign(document.createElement("div"), { className: "model-list" });
  list.append(...choices);
  fold.append(summary, list);
  return fold;
}

function choice(model, checked) {
  const label = document.createElement("label");
  label.className = "model";
  const radio = Object.assign(document.createElement("input"), {
    type: "radio",
    name: "model",
    value: model.name,
    checked,
  });
  const title = Object.assign(document.createElement("span"), { className: "model-title", textContent: model.title });
  const about = Object.assign(document.createElement("span"), { className: "model-about", textContent: model.about });
  label.append(radio, title, about);
  return label;
}
