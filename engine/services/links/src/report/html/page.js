"use strict";
(() => {
  const words = document.getElementById("words");
  const verdict = document.getElementById("verdict");
  const shown = document.getElementById("shown");
  const rows = [...document.querySelectorAll("tr[data-verdict]")].map((row) => ({
    row,
    text: row.textContent.toLowerCase(),
  }));
  if (rows.length < 2) return;
  const present = new Set(rows.map(({ row }) => row.dataset.verdict));
  for (const option of [...verdict.options]) {
    if (option.value && !present.has(option.value)) option.remove();
  }
  const apply = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { row, text } of rows) {
      const fits = (!verdict.value || row.dataset.verdict === verdict.value) && wanted.every((word) => text.includes(word));
      row.hidden = !fits;
      count += fits;
    }
    shown.value = count === rows.length ? "" : `${count} of ${rows.length} targets`;
  };
  words.addEventListener("input", apply);
  verdict.addEventListener("change", apply);
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (event.key === "/" && !typing) {
      event.preventDefault();
      words.focus();
    }
  });
  document.getElementById("filter").hidden = false;
  apply();
})();
