"use strict";
// The slider: two pictures on each other, the upper one cut at the handle.
for (const figure of document.querySelectorAll(".figure")) {
  const wholes = JSON.parse(figure.querySelector("script").textContent);
  const stage = figure.querySelector(".stage");
  const under = stage.querySelector("img.under"), over = stage.querySelector("img.over");
  const source = (k) => wholes[k].whole || under.dataset.original;
  const range = stage.querySelector("input");
  const chosen = {};
  let cut = 50;
  const tell = () => {
    const [left, right] = [wholes[chosen.left].method, wholes[chosen.right].method];
    range.setAttribute("aria-valuetext", `${Math.round(cut)} % ${left}, ${Math.round(100 - cut)} % ${right}`);
  };
  const choose = (side, k) => {
    chosen[side] = k;
    (side === "left" ? over : under).src = source(k);
    stage.querySelector(".tag." + side).textContent = wholes[k].method;
    figure.querySelector("select." + side).value = k;
  };
  const move = (percent) => {
    cut = Math.min(100, Math.max(0, percent));
    stage.style.setProperty("--cut", cut + "%");
    tell();
  };
  under.dataset.original = under.src;
  for (const side of ["left", "right"]) {
    choose(side, Number(side === "left" ? figure.dataset.left : figure.dataset.right));
    const select = figure.querySelector("select." + side);
    select.addEventListener("change", () => { choose(side, Number(select.value)); tell(); });
  }
  move(cut);
  // The keyboard goes in the steps of the range; by hand it is the picture itself that is dragged, to any place.
  range.addEventListener("input", () => move(range.valueAsNumber));
  const drag = (event) => {
    const box = stage.getBoundingClientRect();
    move(100 * (event.clientX - box.left) / box.width);
    range.value = cut;
    // where the range is at its end already, no key would move it there
    if (["0", "100"].includes(range.value)) move(range.valueAsNumber);
  };
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    range.focus({ preventScroll: true });
    drag(event);
  });
  // what the press itself would do is to take the focus away from the range
  stage.addEventListener("mousedown", (event) => event.preventDefault());
  stage.addEventListener("pointermove", (event) => { if (stage.hasPointerCapture(event.pointerId)) drag(event); });
}
// Every single number, one measure at a time.
const details = JSON.parse(document.getElementById("details").textContent);
const format = (value, digits) => value == null ? "-" : typeof value === "string" ? value : value.toFixed(digits);
for (const block of document.querySelectorAll("details[data-set]")) {
  const select = block.querySelector("select"), body = block.querySelector("tbody");
  const fill = () => {
    body.replaceChildren(...details[block.dataset.set].images.map(({ image, values }) => {
      const row = document.createElement("tr"), head = document.createElement("th"), name = document.createElement("span");
      head.scope = "row";
      name.className = "name";
      name.textContent = image;
      head.append(name);
      row.append(head, ...values.map((v) => {
        const cell = document.createElement("td");
        cell.textContent = v ? format(v[select.value], select.selectedOptions[0].dataset.digits) : "failed";
        return cell;
      }));
      return row;
    }));
  };
  select.addEventListener("change", fill);
  block.addEventListener("toggle", () => { if (block.open) fill(); });
}
