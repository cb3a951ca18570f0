// The viewer: two pictures on top of each other, a divider between them, one zoom and one pan for both.

const MOST_ZOOM = 16; // device pixels per pixel of the result
const KNOB = 26; // half of the divider's knob with the ring around it that shows the focus, in CSS pixels

export class Viewer {
  constructor(root) {
    const find = (id) => root.querySelector(`#${id}`);
    this.canvas = find("canvas");
    this.before = find("image-before");
    this.after = find("image-after");
    this.layerAfter = find("layer-after");
    this.tagBefore = find("tag-before");
    this.tagAfter = find("tag-after");
    this.divider = find("divider");
    this.knob = this.divider.querySelector(".divider-knob");
    this.zoomText = find("zoom-text");
    this.swapButton = find("swap-button");
    this.width = this.height = 1; // of the result, in its own pixels
    this.scale = 1; // CSS pixels per pixel of the result
    this.x = this.y = 0; // of the picture's corner in the canvas
    this.fitted = true;
    this.share = 0.5; // where the divider stands
    this.single = false; // there is nothing to compare (yet)
    this.swapped = false; // the whole picture as it was before
    this.pointers = new Map();
    this.#listen(find);
    new ResizeObserver(() => (this.fitted ? this.fit() : this.#draw())).observe(this.canvas);
  }

  #listen(find) {
    const { canvas, divider } = this;
    canvas.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#onDown(event));
    canvas.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.#onUp(event));
    canvas.addEventListener("dblclick", (event) => {
      if (this.fitted) this.#zoomAt(1 / devicePixelRatio, ...this.#inside(event));
      else this.fit();
    });
    canvas.addEventListener("keydown", (event) => event.target === canvas && this.#onKey(event));
    divider.addEventListener("keydown", (event) => this.#onDividerKey(event));
    find("zoom-in").onclick = () => this.zoomBy(1.5);
    find("zoom-out").onclick = () => this.zoomBy(1 / 1.5);
    find("zoom-fit").onclick = () => this.fit();
    find("zoom-real").onclick = () => this.real();
    this.swapButton.onclick = () => this.swap();
  }

  /**
   * Shows a picture and, where there is one, its result.
   * @param {{before: string, after: string|null, width: number, height: number, name: string, same: boolean}} view
   *   addresses, the size of the result, and whether the place in the picture is kept
   */
  show({ before, after, width, height, name, same }) {
    setSource(this.before, before, `${name}, before`);
    setSource(this.after, after, `${name}, after`);
    this.single = !after;
    this.swapped = false;
    const resized = width !== this.width || height !== this.height;
    [this.width, this.height] = [width, height];
    if (!same || resized) {
      this.share = 0.5;
      this.fit();
    }
    this.#draw();
  }

  /** Fits the whole picture into the canvas. */
  fit() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    this.scale = this.#fitScale();
    this.x = (w - this.width * this.scale) / 2;
    this.y = (h - this.height * this.scale) / 2;
    this.fitted = true;
    this.#draw();
  }

  /** Shows one pixel of the result as one pixel of the screen. */
  real() {
    this.#zoomAt(1 / devicePixelRatio, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
  }

  zoomBy(factor) {
    this.#zoomAt(this.scale * factor, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
  }

  /** Shows the whole picture before, or the comparison again. */
  swap() {
    if (this.single) return;
    this.swapped = !this.swapped;
    this.#draw();
  }

  #fitScale() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    // small pictures are enlarged to fill the canvas, but not into blocks
    return Math.min(w / this.width, h / this.height, 4 / devicePixelRatio) || 1;
  }

  #zoomAt(scale, x, y) {
    const least = Math.min(this.#fitScale(), 1 / devicePixelRatio);
    const wanted = Math.min(MOST_ZOOM / devicePixelRatio, Math.max(least, scale));
    this.x = x - ((x - this.x) * wanted) / this.scale;
    this.y = y - ((y - this.y) * wanted) / this.scale;
    this.scale = wanted;
    this.fitted = Math.abs(wanted / this.#fitScale() - 1) < 1e-3;
    if (this.fitted) this.fit();
    this.#keepInside();
    this.#draw();
  }

  #pan(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#keepInside();
    this.#draw();
  }

  /** A picture smaller than the canvas stays in its middle; a larger one always covers it. */
  #keepInside() {
    const inside = (at, size, room) => (size <= room ? (room - size) / 2 : Math.min(0, Math.max(room - size, at)));
    this.x = inside(this.x, this.width * this.scale, this.canvas.clientWidth);
    this.y = inside(this.y, this.height * this.scale, this.canvas.clientHeight);
  }

  /** Puts the divider at a share of the visible picture. */
  setShare(share) {
    this.share = Math.min(1, Math.max(0, share));
    this.#draw();
  }

  /** Left edge and width of what is seen of the picture. */
  #visible() {
    const left = Math.max(0, this.x);
    const right = Math.min(this.canvas.clientWidth, this.x + this.width * this.scale);
    return [left, Math.max(1, right - left)];
  }

  #draw() {
    for (const image of [this.before, this.after]) {
      image.style.width = `${this.width}px`;
      image.style.height = `${this.height}px`;
      image.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    }
    const zoom = this.scale * devicePixelRatio;
    // pixels are of interest to who goes beyond the fitted view; that compares with what a browser makes of the picture
    const crisp = zoom >= 3 && this.scale > this.#fitScale() * 1.001;
    for (const image of [this.before, this.after]) image.classList.toggle("crisp", crisp);
    const [left, width] = this.#visible();
    const at = left + width * this.share;
    const comparing = !this.single && !this.swapped;
    this.layerAfter.style.clipPath = comparing ? `inset(0 0 0 ${at}px)` : "";
    this.layerAfter.hidden = this.single || this.swapped;
    this.divider.hidden = !comparing;
    this.divider.style.left = `${at}px`;
    const percent = Math.round(this.share * 100);
    this.divider.setAttribute("aria-valuenow", percent);
    this.divider.setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
    this.tagBefore.hidden = this.single;
    this.tagAfter.hidden = !comparing;
    this.#place(left, width, at, comparing);
    this.swapButton.setAttribute("aria-pressed", this.swapped);
    this.swapButton.disabled = this.single;
    this.canvas.classList.toggle("zoomed", !this.fitted);
    this.zoomText.textContent = `${Math.round(zoom * 100)} %`;
  }

  /** Divider and tags lie on the picture, not beside it. */
  #place(left, width, at, comparing) {
    const top = Math.max(0, this.y);
    const bottom = Math.min(this.canvas.clientHeight, this.y + this.height * this.scale);
    this.divider.style.top = `${top}px`;
    this.divider.style.height = `${bottom - top}px`;
    const knob = Math.min(this.canvas.clientWidth - KNOB, Math.max(KNOB, at)); // whole at the canvas's edges, too
    this.knob.style.transform = `translateX(${knob - at}px)`;
    const { tagBefore, tagAfter } = this;
    const row = bottom - tagBefore.offsetHeight - 12;
    tagBefore.style.transform = `translate(${left + 12}px, ${row}px)`;
    tagAfter.style.transform = `translate(${left + width - tagAfter.offsetWidth - 12}px, ${row}px)`;
    tagBefore.style.opacity = comparing && at - left < tagBefore.offsetWidth + 24 ? 0 : 1;
    tagAfter.style.opacity = left + width - at < tagAfter.offsetWidth + 24 ? 0 : 1;
  }

  // ---- pointer ----

  #inside(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  #onWheel(event) {
    // at rest the page scrolls on a phone-sized layout; with Ctrl (or a pinch) and in the picture it zooms
    event.preventDefault();
    const step = event.deltaMode === 1 ? 16 : 1;
    this.#zoomAt(this.scale * Math.exp(-event.deltaY * step * (event.ctrlKey ? 0.01 : 0.002)), ...this.#inside(event));
  }

  #onDown(event) {
    if (event.button > 0) return;
    this.pointers.set(event.pointerId, this.#inside(event));
    this.canvas.setPointerCapture(event.pointerId);
    const onDivider = this.divider.contains(event.target);
    // a fitted picture has nothing to pan: dragging anywhere moves the divider
    this.dragging = onDivider || (this.fitted && !this.single && !this.swapped) ? "divider" : "picture";
    if (onDivider) this.divider.focus({ preventScroll: true });
    this.divider.classList.toggle("dragging", this.dragging === "divider");
    this.canvas.classList.toggle("panning", this.dragging === "picture");
    this.moved = false;
  }

  #onMove(event) {
    const last = this.pointers.get(event.pointerId);
    if (!last) return;
    const now = this.#inside(event);
    if (this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      this.#pinch(last, now, other);
    } else if (this.dragging === "divider") {
      const [left, width] = this.#visible();
      this.setShare((now[0] - left) / width);
    } else {
      this.#pan(now[0] - last[0], now[1] - last[1]);
    }
    this.pointers.set(event.pointerId, now);
  }

  #pinch(last, now, other) {
    const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
    const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
    this.#zoomAt((this.scale * distance(now, other)) / distance(last, other), ...middle);
    this.#pan((now[0] - last[0]) / 2, (now[1] - last[1]) / 2);
  }

  #onUp(event) {
    this.pointers.delete(event.pointerId);
    if (this.pointers.size) return;
    this.divider.classList.remove("dragging");
    this.canvas.classList.remove("panning");
  }

  // ---- keys ----

  #onKey(event) {
    const step = event.shiftKey ? 240 : 60;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (this.fitted && sideways) this.setShare(this.share + (event.key === "ArrowLeft" ? -0.02 : 0.02));
    else this.#pan(...moves[event.key]);
  }

  #onDividerKey(event) {
    const step = event.shiftKey ? 0.1 : 0.02;
    const to = {
      ArrowLeft: this.share - step,
      ArrowDown: this.share - step,
      ArrowRight: this.share + step,
      ArrowUp: this.share + step,
      PageUp: this.share + 0.1,
      PageDown: this.share - 0.1,
      Home: 0,
      End: 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.setShare(to);
  }
}

function setSource(image, address, text) {
  image.alt = address ? text : "";
  if (!address) image.removeAttribute("src");
  else if (image.getAttribute("src") !== address) image.src = address;
}
