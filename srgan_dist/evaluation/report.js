"use strict";
const shown = JSON.parse(document.getElementById("shown").textContent);
for (const card of document.querySelectorAll("[data-comparison]")) {
  const own = shown[Number(card.dataset.comparison)];
  const stage = card.querySelector(".stage");
  const show = (side, number) => {
    card.querySelector("img." + side).src = own[number].src;
    card.querySelector(".tag." + side).textContent = own[number].tag;
  };
  for (const side of ["left", "right"]) {
    const select = card.querySelector("select." + side);
    select.addEventListener("change", () => show(side, Number(select.value)));
    show(side, Number(select.value));
  }
  card.querySelector("input").addEventListener("input", event =>
    stage.style.setProperty("--cut", event.target.value + "%"));
  const zoom = card.querySelector("select.zoom");
  const resize = () => {
    const fit = Math.min(1, card.querySelector(".window").clientWidth / stage.dataset.width);
    const factor = zoom.value === "fit" ? fit : Number(zoom.value);
    for (const image of stage.querySelectorAll("img")) image.style.width = stage.dataset.width * factor + "px";
  };
  zoom.addEventListener("change", resize);
  window.addEventListener("resize", resize);
  resize();
}
