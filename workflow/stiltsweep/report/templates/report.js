"use strict";
// Sorting and filtering of every table with more than a few rows. Without scripts the tables stand as they are.
(() => {
  const number = (text) => {
    const value = parseFloat(text.replace(/\u2212/g, "-").replace(/[\[<+,]/g, ""));
    return Number.isNaN(value) ? null : value;
  };

  const sortable = (table) => {
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const collator = new Intl.Collator("en", { numeric: true });
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        const numeric = head.classList.contains("n");
        const keyed = [...body.rows].map((row) => {
          const text = row.cells[column].textContent;
          return { row, key: numeric ? number(text) : text };
        });
        const blank = (key) => key === null || key === "";
        // What is not known stays last, whichever way the table is sorted.
        keyed.sort((a, b) => {
          if (blank(a.key) || blank(b.key)) return blank(a.key) - blank(b.key);
          const order = numeric ? a.key - b.key : collator.compare(a.key, b.key);
          return down ? -order : order;
        });
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        body.append(...keyed.map((entry) => entry.row));
      });
    });
  };

  const filterable = (table, box) => {
    const rows = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[0].cells];
    const bar = document.createElement("div");
    bar.className = "filter";
    const search = document.createElement("input");
    search.type = "search";
    search.placeholder = "Filter";
    search.setAttribute("aria-label", `Filter the table: ${table.caption.firstChild.textContent.trim()}`);
    const shown = document.createElement("output");
    const menus = [];
    bar.append(search);
    heads.forEach((head, column) => {
      if (!head.hasAttribute("data-choose")) return;
      const values = [...new Set(rows.map((row) => row.cells[column].textContent))];
      if (values.length < 2) return;
      const menu = document.createElement("select");
      menu.setAttribute("aria-label", head.textContent);
      menu.append(new Option(`${head.textContent}: any`, ""));
      values.forEach((value) => menu.append(new Option(value || "(empty)", value || "\0")));
      menus.push({ menu, column });
      bar.append(menu);
    });
    bar.append(shown);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const apply = () => {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      rows.forEach((row, i) => {
        const chosen = menus.every(({ menu, column }) => {
          const wanted = menu.value === "\0" ? "" : menu.value;
          return menu.value === "" || row.cells[column].textContent === wanted;
        });
        row.hidden = !(chosen && words.every((word) => texts[i].includes(word)));
        count += !row.hidden;
      });
      shown.textContent = `${count} of ${rows.length} rows`;
    };
    bar.addEventListener("input", apply);
    apply();
    box.prepend(bar);
  };

  const prepare = (box) => {
    const table = box.querySelector("table");
    if (table.tBodies[0].rows.length < 2) return;
    // The menus read the headings' text, so they come before the headings become buttons.
    if (table.tBodies[0].rows.length > 8) filterable(table, box);
    sortable(table);
  };

  // A folded table is made ready when it is opened: a large sweep has tens of thousands of rows.
  document.querySelectorAll(".table").forEach((box) => {
    const fold = box.closest("details");
    if (fold) fold.addEventListener("toggle", () => prepare(box), { once: true });
    else prepare(box);
  });

  // Paper has nothing to click: show every figure. Folded tables stay folded; they have files of their own.
  addEventListener("beforeprint", () => document.querySelectorAll(".more details").forEach((fold) => { fold.open = true; }));
})();
