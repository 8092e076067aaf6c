// A list of checkboxes by category: filtered while a search is typed, and ticked as a whole.
for (const list of document.querySelectorAll("[data-choose]")) {
  const search = list.querySelector("input[type=search]");
  const none = list.querySelector("[data-none]");
  const categories = [...list.querySelectorAll("[data-category]")].map((box) => ({
    box,
    all: box.querySelector("[data-all]"),
    rows: [...box.querySelectorAll("[data-text]")].map((row) => ({
      row,
      tick: row.querySelector("input"),
      text: `${row.dataset.text} ${row.textContent}`.toLowerCase(),
    })),
  }));

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const { box, rows } of categories) {
      for (const { row, text } of rows) row.hidden = !words.every((word) => text.includes(word));
      box.hidden = rows.every(({ row }) => row.hidden);
    }
    none.hidden = categories.some(({ box }) => !box.hidden);
  };
  search.addEventListener("input", filter);
  search.addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault();
  });
  const find = list.querySelector("button[formaction]");
  find.hidden = find.disabled = true; // nor is it what the Enter key presses
  filter();

  for (const { all, rows } of categories) {
    const sum = () => {
      const ticked = rows.filter(({ tick }) => tick.checked).length;
      all.checked = ticked === rows.length;
      all.indeterminate = ticked > 0 && ticked < rows.length;
    };
    all.addEventListener("change", () => {
      for (const { tick } of rows) tick.checked = all.checked;
      sum();
    });
    for (const { tick } of rows) tick.addEventListener("change", sum);
    sum();
  }
}
