"use strict";
(() => {
  const map = document.querySelector(".map");
  if (!map) return;
  const svg = map.querySelector("svg"), ring = svg.querySelector(".ring");
  const tile = map.querySelector(".tile"), hint = map.querySelector(".hint");
  const title = map.querySelector(".title"), truth = map.querySelector(".truth");
  const marks = {right: "✓ ", wrong: "✗ ", unsure: "? ", open: ""};
  const columns = +tile.dataset.columns;
  const points = [...svg.querySelectorAll(".point")].map((mark, number) => {
    const {e: x, f: y} = mark.transform.baseVal.consolidate().matrix;
    return {mark, number, x, y};
  });
  const rows = Math.ceil(points.length / columns);
  const share = (place, places) => (places > 1 ? (100 * place) / (places - 1) : 0) + "%";
  let chosen = null;

  function show(point) {
    if (!point || point === chosen) return;
    chosen = point;
    const {verdict, answer, score, name, gone} = point.mark.dataset;
    const isGone = gone !== undefined;
    tile.style.backgroundPosition =
      share(point.number % columns, columns) + " " + share(Math.floor(point.number / columns), rows);
    tile.setAttribute("aria-label", isGone ? name + ", which cannot be read any more" : name);
    title.className = "title " + verdict;
    title.textContent = marks[verdict] + answer + " " + score;
    truth.textContent = (isGone ? "cannot be read any more; " : "") + "is " + point.mark.dataset.truth + " · " + name;
    for (const part of [tile, title, truth]) part.hidden = false;
    hint.hidden = true;
    ring.removeAttribute("hidden");
    ring.setAttribute("cx", point.x);
    ring.setAttribute("cy", point.y);
  }

  const visible = () => points.filter(({mark}) => !mark.classList.contains("dim"));
  const least = (candidates, cost) => candidates.reduce(
    (best, one) => (cost(one) < best[0] ? [cost(one), one] : best), [Infinity, null]);

  function pointAt(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const [distance, point] = least(visible(), ({x, y}) => Math.hypot(x - at.x, y - at.y));
    if (distance < 40) show(point);
  }
  svg.addEventListener("pointermove", pointAt);
  svg.addEventListener("pointerdown", pointAt);
  svg.addEventListener("focus", () => { if (!chosen) show(visible()[0]); });

  const ways = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  svg.addEventListener("keydown", (event) => {
    const way = ways[event.key];
    if (!way || !chosen) return;
    event.preventDefault();
    const ahead = ({x, y}) => (x - chosen.x) * way[0] + (y - chosen.y) * way[1];
    const aside = ({x, y}) => Math.abs((x - chosen.x) * way[1]) + Math.abs((y - chosen.y) * way[0]);
    show(least(visible().filter((one) => ahead(one) > 0), (one) => ahead(one) + 2 * aside(one))[1]);
  });

  const buttons = [...map.querySelectorAll(".legend button")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") === "false";
      for (const other of buttons) other.setAttribute("aria-pressed", on && other === button);
      for (const {mark} of points) {
        mark.classList.toggle("dim", on && mark.dataset.label !== button.dataset.label);
      }
    });
  }
})();
