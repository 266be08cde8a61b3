"use strict";
(async () => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  // Where people point with a finger, a drag scrolls the page; with a mouse it zooms into a plot.
  const dragmode = matchMedia("(pointer: fine)").matches ? "zoom" : false;
  const config = {
    displayModeBar: false,
    displaylogo: false,
    locale: "en",
    plotlyServerURL: "",
    responsive: true,
    showLink: false,
  };
  const drawn = [];
  for (const [id, figure] of Object.entries(figures)) {
    const place = document.getElementById(id);
    await Plotly.newPlot(place, figure.data, { ...figure.layout, dragmode }, config);
    drawn.push(place);
    await new Promise((resolve) => setTimeout(resolve));
  }
  // A printed page is about 700 pixels wide, whatever the window is.
  const paper = matchMedia("print");
  const widths = new Map();
  const fit = () => {
    for (const place of drawn) {
      if (paper.matches) {
        widths.set(place, place.layout.width);
        Plotly.relayout(place, { width: place.closest(".slices") ? 330 : 680 });
      } else if (widths.has(place)) {
        Plotly.relayout(place, { width: null, autosize: true });
      }
    }
  };
  paper.addEventListener("change", fit);
  document.documentElement.dataset.plots = String(drawn.length);
})();
