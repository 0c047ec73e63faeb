// What pages do better with JavaScript. They work without it.
"use strict";

const search = document.querySelector("#q");

// `/` goes to the search, Escape leaves it.
document.addEventListener("keydown", (event) => {
  const writes = event.target.closest("input, select, textarea, [contenteditable]");
  if (event.key === "/" && !writes && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    search?.focus();
    search?.select();
  } else if (event.key === "Escape" && event.target === search) {
    search.blur();
  }
});

// A choice applies at once; what is written waits for Enter.
for (const select of document.querySelectorAll(".filters select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// Filters that say nothing stay out of the address, unless that lifts a default.
for (const form of document.querySelectorAll(".filters")) {
  form.addEventListener("submit", () => {
    for (const field of form.querySelectorAll("input")) field.disabled = field.value === "";
  });
}

// An id is copied by a click.
for (const id of document.querySelectorAll(".copy")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(id.textContent);
    button.textContent = "Copied";
  });
  id.after(button);
}

// Where the menu is a strip, its current page is in sight.
document.querySelector(".menu [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

// Times are UTC; a title adds the reader's own.
for (const time of document.querySelectorAll("time[title]")) {
  const moment = new Date(time.dateTime);
  if (!Number.isNaN(moment.getTime())) time.title += `\n${moment.toLocaleString()} here`;
}
