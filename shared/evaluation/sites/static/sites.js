// What the sites do without the server: dialogs, suggestions, choosing all rows, sorting.
"use strict";

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).showModal();
  const closer = event.target.closest("[data-closes]");
  if (closer) closer.closest("dialog").close();
});

for (const input of document.querySelectorAll("[data-suggest]")) {
  const list = document.getElementById(input.getAttribute("aria-controls"));
  let asked = 0;
  const hide = () => {
    list.hidden = true;
    list.replaceChildren();
    input.setAttribute("aria-expanded", "false");
  };
  // In a form field the suggestion is filled in; in a search it leads to its page.
  const choose = ({ text, path }) => {
    if (path) {
      location.assign(path);
      return;
    }
    const parts = input.value.split(",").slice(0, -1).map((part) => part.trim());
    input.value = [...parts, text].join(", ");
    hide();
    input.focus();
  };
  const show = (suggestions) => {
    list.replaceChildren(...suggestions.map((suggestion) => {
      const option = document.createElement("li");
      option.setAttribute("role", "option");
      option.textContent = suggestion.label || suggestion.text;
      option.addEventListener("mousedown", (event) => event.preventDefault());
      option.addEventListener("click", () => choose(suggestion));
      return option;
    }));
    list.hidden = suggestions.length === 0;
    input.setAttribute("aria-expanded", String(!list.hidden));
  };
  const ask = async (number) => {
    const last = input.value.split(",").pop().trim();
    if (!last) { hide(); return; }
    const answer = await fetch(`${input.dataset.suggest}?q=${encodeURIComponent(last)}`);
    // An answer that was overtaken by another key is of no use.
    if (answer.ok && number === asked) show(await answer.json());
  };
  input.addEventListener("input", () => {
    asked += 1;
    const number = asked;
    setTimeout(() => { if (number === asked) ask(number); }, 120);
  });
  input.addEventListener("blur", () => { asked += 1; hide(); });
  input.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}

for (const all of document.querySelectorAll("[data-all]")) {
  const boxes = () => document.querySelectorAll(`input[name="${all.dataset.all}"]`);
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
  });
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].innerText;
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) =>
        value(a).localeCompare(value(b), "en", { numeric: true }));
      body.append(...(down ? rows.reverse() : rows));
    });
  });
}
