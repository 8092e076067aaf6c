// Forms with `data-check` ask that address what is wrong while they are filled in; what it answers stands at the fields
// that were changed. The server checks again whatever is sent.
const PAUSE_MS = 400;

for (const form of document.querySelectorAll("form[data-check]")) {
  const touched = new Set();
  let waiting = 0;
  let latest = 0;

  const check = async () => {
    const mine = ++latest;
    let answer;
    try {
      answer = await fetch(form.dataset.check, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      if (!answer.ok) return;
      const { problems } = await answer.json();
      if (mine === latest) for (const name of touched) show(form, name, problems[name]);
    } catch {
      // Sending the form tells what is wrong.
    }
  };

  form.addEventListener("input", (event) => {
    touched.add(event.target.name);
    latest++; // what is on its way is about something else
    clearTimeout(waiting);
    waiting = setTimeout(check, PAUSE_MS);
  });
  form.addEventListener("change", (event) => {
    if (touched.has(event.target.name)) {
      clearTimeout(waiting);
      check();
    }
  });
}

function show(form, name, problem) {
  const field = document.getElementById(name);
  if (!field || !form.contains(field)) return;
  const id = `${name}-problem`;
  let text = document.getElementById(id);
  const described = (field.getAttribute("aria-describedby") ?? "").split(" ").filter((each) => each && each !== id);
  if (problem) {
    if (!text) {
      text = document.createElement("p");
      text.id = id;
      text.className = "wrong";
      text.setAttribute("aria-live", "polite");
      const help = document.getElementById(`${name}-help`);
      if (field.matches("fieldset")) field.append(text);
      else (help ?? field).after(text);
    }
    if (text.textContent !== problem) text.textContent = problem;
    described.push(id);
  } else {
    text?.remove();
  }
  if (!field.matches("fieldset")) {
    if (problem) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
  if (described.length) field.setAttribute("aria-describedby", described.join(" "));
  else field.removeAttribute("aria-describedby");
}

// After a form was refused, whoever reads by ear or by keyboard starts at what is wrong.
document.getElementById("problems")?.focus();
