"use strict";
for (const box of document.querySelectorAll("[data-long]")) {
  const data = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
  const {heads, rows, low, size, noun} = data;
  const body = box.querySelector("tbody"), status = box.querySelector("[role=status]");
  const find = box.querySelector("input"), show = box.querySelector("select");
  const turns = [...box.querySelectorAll("[data-turn]")], cells = [...box.querySelectorAll("thead th")];
  const written = (value, head) => value === null ? "" : head.digits === null ? value : value.toFixed(head.digits);
  const texts = rows.map(row => row.filter((_, place) => heads[place].digits === null).join("\n").toLowerCase());
  let order = {place: data.sorted, sign: data.sign}, found = rows, page = 0;

  function draw() {
    body.replaceChildren(...found.slice(page * size, (page + 1) * size).map(row => {
      const line = document.createElement("tr");
      row.forEach((value, place) => {
        const cell = line.insertCell();
        cell.textContent = written(value, heads[place]);
        if (heads[place].digits !== null) cell.className = "number right";
      });
      return line;
    }));
    const first = page * size, last = Math.min(first + size, found.length);
    status.textContent = found.length ? `${first + 1} to ${last} of ${found.length.toLocaleString("en")} ${noun}` : `no ${noun} found`;
    turns.forEach(button => { button.disabled = button.dataset.turn < 0 ? !page : last >= found.length; });
    cells.forEach((cell, place) => {
      if (place === order.place) cell.setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    });
  }

  function choose() {
    const words = find.value.toLowerCase().split(/[\s,;]+/).filter(Boolean), side = show ? show.value : "";
    const named = text => !words.length || words.some(word => text.includes(word));
    const {place, sign} = order;
    found = rows.filter((_, number) => named(texts[number]) && (!side || low[number] === (side === "low")));
    found.sort((one, other) => {
      const [a, b] = [one[place], other[place]];
      const none = (a === null || a === "") - (b === null || b === "");
      return none || sign * (typeof a === "number" ? a - b : String(a).localeCompare(String(b), "en", {numeric: true}));
    });
    page = 0;
    draw();
  }

  cells.forEach((cell, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => {
      order = {place, sign: order.place === place ? -order.sign : 1};
      choose();
    });
  });
  find.addEventListener("input", choose);
  if (show) show.addEventListener("change", choose);
  turns.forEach(button => button.addEventListener("click", () => { page += Number(button.dataset.turn); draw(); }));
  for (const part of box.querySelectorAll("[hidden]")) part.hidden = false;
  choose();
}
