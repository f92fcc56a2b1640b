// What the pages add where scripts run; without them all is links and forms.
"use strict";

// Why: fetched when it is first opened. The server escapes what catalogues say.
for (const details of document.querySelectorAll("details.why")) {
  details.addEventListener("toggle", async () => {
    if (!details.open || details.dataset.read) return;
    details.dataset.read = "1";
    const place = details.querySelector("div");
    place.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(details.dataset.address);
      const read = new DOMParser().parseFromString(await answer.text(), "text/html");
      const told = answer.ok ? read.body : read.querySelector("main");
      place.replaceChildren(...told.childNodes);
    } catch {
      delete details.dataset.read;
      place.textContent = "The server does not answer.";
    }
    place.removeAttribute("aria-busy");
  });
}

// Users whose id has what was typed.
for (const box of document.querySelectorAll("[data-users]")) {
  let waiting;
  box.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const answer = await fetch(`${box.dataset.users}?part=${encodeURIComponent(box.value)}`);
      if (!answer.ok) return;
      const { users } = await answer.json();
      box.list.replaceChildren(...users.map((user) => Object.assign(document.createElement("option"), { value: user })));
    }, 150);
  });
}

// A new item: the field that its kind needs, a file that is dropped, one that is too large.
const form = document.getElementById("new");
if (form) {
  const kind = form.elements.modality, file = form.elements.file;
  const doing = document.getElementById("doing"), button = form.querySelector("button");
  const show = () => {
    const wanted = kind.selectedOptions[0].dataset.typed ? "typed" : "file";
    for (const part of form.querySelectorAll("[data-for]")) part.hidden = part.dataset.for !== wanted;
  };
  kind.addEventListener("change", show);
  show();
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.classList.add("dropping");
  });
  form.addEventListener("dragleave", () => form.classList.remove("dropping"));
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    form.classList.remove("dropping");
    if (!file || !event.dataTransfer.files.length) return;
    const like = [...kind.options].find((one) => event.dataTransfer.files[0].type.startsWith(`${one.value}/`));
    if (like) kind.value = like.value;
    file.files = event.dataTransfer.files;
    show();
  });
  form.addEventListener("submit", (event) => {
    const sent = file && file.closest("[data-for]").hidden === false ? file.files[0] : null;
    if (sent && sent.size > Number(form.dataset.most) - 100_000) {
      event.preventDefault();
      doing.textContent = `${sent.name} is too large: a file may have ${form.dataset.most >> 20} MB.`;
      return;
    }
    doing.textContent = "It is read and encoded; the first of its kind takes longer, since the network is loaded.";
    button.disabled = true;
  });
  addEventListener("pageshow", () => { button.disabled = false; });
  document.getElementById("landed")?.focus();
}
