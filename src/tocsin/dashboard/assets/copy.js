// Buttons with `data-copy` put the text of the element of that id on the clipboard; without scripts they are not there.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) break;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = `${button.textContent.replace(/ ✓$/, "")} ✓`;
  });
}
