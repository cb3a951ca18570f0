// Shows a picture pixel for pixel: every picture pixel covers the same whole number of screen pixels, nothing is
// interpolated, and the picture starts on a whole screen pixel, whatever the zoom or the pixel ratio.

import { file } from "./api.js";

/** How many screen pixels one picture pixel covers: nearest to one CSS pixel that still fits, or 0 if none fits. */
export function magnification(largest, stage, ratio) {
  const wanted = Math.max(1, Math.round(ratio));
  const fitting = Math.min((stage.width * ratio) / largest.width, (stage.height * ratio) / largest.height);
  return Math.min(wanted, Math.floor(fitting + 1e-6));
}

/** The smallest number of CSS pixels that is a whole number of screen pixels: 1 at ratio 2, 4 at 1.25, 8 at 2.625. */
function step(ratio) {
  for (let count = 1; count <= 64; count += 1) {
    if (Math.abs(count * ratio - Math.round(count * ratio)) < 1e-4 * count) return count;
  }
  return 1;
}

/** One side of a canvas around a picture: where it begins and ends in CSS pixels, and where the picture is in it. */
function side(start, space, length, ratio) {
  const unit = step(ratio);
  const first = Math.round((start + space / 2) * ratio - length / 2);
  const begin = (Math.floor(first / ratio / unit) - 1) * unit;
  const end = (Math.ceil((first + length) / ratio / unit) + 1) * unit;
  return { begin, size: end - begin, pixels: Math.round((end - begin) * ratio), offset: first - Math.round(begin * ratio) };
}

/**
 * Draws a picture, every pixel as factor x factor screen pixels, in the middle of the stage on whole screen pixels.
 *
 * Browsers place boxes on whole pixels, some of them on whole CSS pixels, and stretch what is inside to fit. So the
 * canvas is made a little larger than the picture, transparent around it, until both of its sides and its place are
 * whole in CSS pixels and in screen pixels: then nothing is left to stretch.
 */
export function place(canvas, picture, stage, factor) {
  const ratio = window.devicePixelRatio;
  const box = stage.getBoundingClientRect();
  const width = picture.width * factor;
  const height = picture.height * factor;
  const across = side(box.left, box.width, width, ratio);
  const down = side(box.top, box.height, height, ratio);
  canvas.width = across.pixels;
  canvas.height = down.pixels;
  const drawing = canvas.getContext("2d");
  drawing.imageSmoothingEnabled = false;
  drawing.drawImage(picture, across.offset, down.offset, width, height);
  canvas.style.width = `${across.size}px`;
  canvas.style.height = `${down.size}px`;
  canvas.style.left = `${across.begin - box.left}px`;
  canvas.style.top = `${down.begin - box.top}px`;
}

/** Loads and decodes a picture without showing it; where it does not come, the error has the reason of the server. */
export async function load(url) {
  return createImageBitmap(await file(url));
}
