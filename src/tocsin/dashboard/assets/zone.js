// Offers the time zone of this browser, where the list has it and it is not chosen already.
const offer = document.getElementById("own-zone");
const list = document.getElementById("time_zone");
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

if (list.value !== zone && [...list.options].some((option) => option.value === zone)) {
  offer.querySelector("span").textContent = zone;
  offer.querySelector("button").addEventListener("click", () => {
    list.value = zone;
    offer.hidden = true;
    list.focus();
  });
  offer.hidden = false;
}
