// Interactions without a page load. All pages also work without this script.
"use strict";

// Ask for confirmation before a form is sent.
for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sure) return;
    event.preventDefault();
    const dialog = document.createElement("dialog");
    const text = Object.assign(document.createElement("p"), { textContent: form.dataset.confirm, id: "question" });
    const row = Object.assign(document.createElement("div"), { className: "row" });
    const yes = Object.assign(document.createElement("button"), { textContent: "Yes", className: "primary" });
    const no = Object.assign(document.createElement("button"), { textContent: "No" });
    dialog.setAttribute("aria-labelledby", "question");
    yes.addEventListener("click", () => { form.dataset.sure = "1"; dialog.close(); form.requestSubmit(event.submitter); });
    no.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    row.append(yes, no);
    dialog.append(text, row);
    document.body.append(dialog);
    dialog.showModal();
  });
}

// Show the total price next to a quantity field.
for (const input of document.querySelectorAll("input[data-price]")) {
  const place = document.getElementById(input.dataset.total);
  const update = () => {
    const sum = (Number(input.dataset.price) * Number(input.value)) / 100;
    place.textContent = sum > 0 && input.value > 1 ? `Together $${sum.toFixed(2)}` : "";
  };
  input.addEventListener("input", update);
  update();
}

// Show the number of characters typed.
for (const area of document.querySelectorAll("textarea[data-count]")) {
  const place = document.getElementById(area.dataset.count);
  const update = () => { place.textContent = `${area.value.length} of ${area.maxLength} characters`; };
  area.addEventListener("input", update);
  update();
}

// Toggle likes without reloading the page.
for (const form of document.querySelectorAll("form[data-like]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const response = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" } });
    if (!response.ok) { form.submit(); return; }
    const { likes, mine } = await response.json();
    button.setAttribute("aria-pressed", mine);
    document.getElementById(form.dataset.like).textContent = likes;
  });
}

// Filter the rows of a table.
for (const input of document.querySelectorAll("input[data-filter]")) {
  const rows = document.getElementById(input.dataset.filter).tBodies[0].rows;
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}
