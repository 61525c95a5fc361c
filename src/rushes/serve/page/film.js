// The frames that the target sees, cell by cell: what the draft sees is clear, the rest is dim.

const SVG = "http://www.w3.org/2000/svg";

// Draws the frames of one video. `seen`: {"grid": [t, h, w], "moments": [...]}.
export function drawFrames(frames, { grid, moments }) {
  frames.dataset.grid = grid.join(" ");
  frames.replaceChildren(
    ...moments.map(({ row, second, image }) => {
      const figure = document.createElement("figure");
      figure.dataset.row = row;
      figure.dataset.second = second.toFixed(1);
      const picture = document.createElement("div");
      picture.className = "frame";
      const img = document.createElement("img");
      img.src = image;
      img.alt = `The video at ${second.toFixed(1)} s`;
      picture.append(img);
      figure.append(picture, document.createElement("figcaption"));
      return figure;
    }),
  );
  drawKept(frames, null);
}

// Lays the cells over the frames; null takes them away.
export function drawKept(frames, indices) {
  const [, h, w] = frames.dataset.grid.split(" ").map(Number);
  const kept = new Set(indices ?? []);
  for (const figure of frames.children) {
    const picture = figure.querySelector(".frame");
    picture.querySelector("svg")?.remove();
    const caption = figure.querySelector("figcaption");
    caption.textContent = `${figure.dataset.second} s`;
    if (indices === null) continue;
    const first = Number(figure.dataset.row) * h * w;
    const cells = Array.from({ length: h * w }, (_, cell) => cell);
    const clear = cells.filter((cell) => kept.has(first + cell));
    const dim = cells.filter((cell) => !kept.has(first + cell));
    picture.append(overlay(h, w, path(dim, w, "dim"), path(clear, w, "rim"), path(clear, w, "kept")));
    caption.textContent += `, ${clear.length} of ${h * w}`;
  }
}

function overlay(h, w, ...paths) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("viewBox", `0 0 ${w} ${h}`);
  made.setAttribute("preserveAspectRatio", "none");
  made.setAttribute("aria-hidden", "true");
  made.append(...paths);
  return made;
}

function path(cells, w, name) {
  const made = document.createElementNS(SVG, "path");
  made.setAttribute("class", name);
  made.setAttribute("d", cells.map((cell) => `M${cell % w} ${Math.floor(cell / w)}h1v1h-1z`).join(""));
  return made;
}
