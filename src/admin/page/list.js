// One list of the API as a table: sorted, filtered and cut into pages by the server, kept up to date in place.

class List {
  // `columns`: each has a `title`, and `fill(cell, item, list)`; `sort` where the server can sort by it. A column
  // that is said the other way around than it is sorted (an age, for a moment) is `isInverse`.
  constructor({ section, path, key, columns, sort, order, limit, isFiltered, note, none, before }) {
    Object.assign(this, { path, key, columns, sort, order, limit, none, before });
    this.section = find(section);
    this.name = section;
    this.title = this.section.querySelector("h2");
    this.offset = 0;
    this.filter = "";
    this.rows = new Map();
    this.build(isFiltered, note);
  }

  build(isFiltered, note) {
    const label = this.title.textContent;
    this.titled = label;
    if (isFiltered) this.section.append(this.filterBox(label));
    if (note) this.section.append(make("p", { className: "note" }, note));
    this.wrong = make("p", { className: "wrong" });
    this.heads = this.columns.map((column) => this.head(column));
    this.body = make("tbody", { role: "rowgroup" });
    const table = make("table", { className: "list", role: "table", "aria-labelledby": `${this.name}-title` },
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...this.heads)), this.body);
    this.wide = make("div", { className: "wide", role: "region", "aria-label": `${label}, table` }, table);
    this.empty = make("p", { className: "note" });
    this.previous = this.pageButton("Previous", () => -this.limit);
    this.next = this.pageButton("Next", () => this.limit);
    this.place = make("span", {});
    this.pages = make("nav", { className: "pages", "aria-label": `Pages of ${label}`, hidden: true }, this.previous, this.next, this.place);
    this.section.append(this.wrong, this.wide, this.empty, this.pages);
    this.markSort();
  }

  filterBox(label) {
    const input = make("input", { type: "search", id: `${this.name}-filter`, autocomplete: "off", spellcheck: false });
    let timer;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(async () => {
        this.filter = input.value.trim();
        this.offset = 0;
        if (await this.refresh()) say(`${plural(this.total, "row", "rows")} in ${label}`);
      }, 250);
    });
    return make("div", { className: "find" }, make("label", { htmlFor: input.id }, `Filter ${label.toLowerCase()}`), input);
  }

  head(column) {
    const head = make("th", { scope: "col", role: "columnheader", className: column.className ?? "" });
    if (!column.sort) {
      head.append(make("span", { className: column.isUnseen ? "unseen" : "title" }, column.title));
      return head;
    }
    const button = make("button", { type: "button" }, column.title, make("span", { className: "arrow", "aria-hidden": "true" }));
    button.addEventListener("click", () => {
      if (this.sort === column.sort) this.order = this.order === "asc" ? "desc" : "asc";
      else [this.sort, this.order] = [column.sort, column.isText || column.isInverse ? "asc" : "desc"];
      this.offset = 0;
      this.markSort();
      this.refresh();
    });
    head.append(button);
    return head;
  }

  markSort() {
    this.columns.forEach((column, place) => {
      if (!column.sort) return;
      const head = this.heads[place];
      const isUp = (this.order === "asc") !== Boolean(column.isInverse);
      const isSorted = column.sort === this.sort;
      if (isSorted) head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
      write(head.querySelector(".arrow"), isSorted ? (isUp ? "▲" : "▼") : "");
    });
  }

  pageButton(title, step) {
    const button = make("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      if (button.getAttribute("aria-disabled") === "true") return;
      this.offset = Math.max(0, this.offset + step());
      this.refresh();
    });
    return button;
  }

  // Asks for the page that is wanted now; returns whether it is shown. What was asked before is given up.
  async refresh() {
    this.request?.abort();
    const request = new AbortController();
    this.request = request;
    try {
      const answer = await this.ask(request.signal);
      if (this.request !== request) return false;
      if (answer.total > 0 && this.offset >= answer.total) {
        this.offset = Math.floor((answer.total - 1) / this.limit) * this.limit;
        return await this.refresh();
      }
      write(this.wrong, "");
      this.show(answer);
      return true;
    } catch (error) {
      // That the server cannot be reached is said once, above, for the whole page.
      if (error instanceof Refusal) write(this.wrong, error.message);
      return false;
    } finally {
      if (this.request === request) this.request = null;
    }
  }

  // The same, unless an answer is still awaited.
  async renew() {
    if (!this.request) await this.refresh();
  }

  ask(request) {
    const signal = AbortSignal.any([request, AbortSignal.timeout(PATIENCE_MS)]);
    const wanted = new URLSearchParams({ offset: this.offset, limit: this.limit });
    if (this.filter) wanted.set("filter", this.filter);
    if (this.sort) {
      wanted.set("sort", this.sort);
      wanted.set("order", this.order);
    }
    return ask(`${this.path}?${wanted}`, { signal });
  }

  show({ total, offset, items }) {
    this.total = total;
    this.before?.(items, this);
    const focused = document.activeElement;
    const hadFocus = this.body.contains(focused);
    const rows = new Map();
    for (const item of items) {
      // Two bridges may know a network by the same name.
      let key = String(this.key(item));
      while (rows.has(key)) key += "'";
      const row = this.rows.get(key) ?? this.row();
      this.columns.forEach((column, at) => column.fill(row.cells[at], item, this));
      rows.set(key, row);
    }
    let after = null;
    for (const [key, row] of this.rows) {
      if (rows.has(key)) continue;
      if (row.contains(focused) || row === after) after = row.nextElementSibling ?? row.previousElementSibling;
      row.remove();
    }
    // Only what has changed places is moved.
    let place = this.body.firstElementChild;
    for (const row of rows.values()) {
      if (row === place) place = row.nextElementSibling;
      else this.body.insertBefore(row, place);
    }
    this.rows = rows;
    if (hadFocus) this.refocus(focused, after);
    this.showPlace(offset, items.length);
  }

  // A row that moved has lost the focus, one that went has taken it along.
  refocus(focused, after) {
    const heir = focused.isConnected ? focused : (after?.isConnected && after.querySelector("button")) || this.title;
    if (document.activeElement !== heir) heir.focus({ preventScroll: true });
  }

  row() {
    const cells = this.columns.map((column) =>
      make("td", { role: "cell", className: column.className ?? "", "data-label": column.brief ?? column.title }));
    return make("tr", { role: "row" }, ...cells);
  }

  showPlace(offset, shown) {
    // Only what can be scrolled is a stop for the Tab key.
    this.wide.tabIndex = this.wide.scrollWidth > this.wide.clientWidth ? 0 : -1;
    write(this.title, `${this.titled} (${count(this.total)})`);
    write(this.empty, this.total > 0 ? "" : this.filter ? "Nothing matches the filter." : this.none);
    this.pages.hidden = this.total <= this.limit;
    write(this.place, `${count(offset + 1)} to ${count(offset + shown)} of ${count(this.total)}`);
    this.previous.setAttribute("aria-disabled", String(offset === 0));
    this.next.setAttribute("aria-disabled", String(offset + shown >= this.total));
  }
}
