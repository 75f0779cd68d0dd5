// Rows is a table of many rows of one height. Only those that can be seen are in the document; the same
// nodes are used again when others are. It is a grid to a screen reader, and the arrow keys move in it.

import { el, setClass, setText } from "./dom.js";

const height = 32, spare = 3;

export class Rows {
    // columns are titles; row returns for an item {cells: [{text, tone, title}], name, className};
    // open is called with the item that was clicked, or entered by the keyboard.
    constructor(panel, { label, columns, row, open }) {
        this.row = row;
        this.open = open;
        this.pool = [];
        this.count = 0;
        this.at = () => null;
        this.active = -1;
        this.grid = el("div", { class: "grid", role: "grid", tabindex: 0, "aria-label": label, id: `${panel.id}-grid` });
        this.body = el("div", { class: "rows", role: "rowgroup" });
        const titles = columns.map(title => el("span", { role: "columnheader" }, title));
        this.grid.append(el("div", { role: "rowgroup", class: "header" }, el("div", { role: "row", class: "row", "aria-rowindex": 1 }, ...titles)), this.body);
        this.none = el("div", { class: "none" });
        panel.append(this.grid, this.none);
        this.columns = columns.length;
        this.grid.addEventListener("keydown", event => this.key(event));
    }

    // set says which rows there are: at(i) is the item of row i. moved is by how many rows the items went
    // down since the last time.
    set(count, at, moved = 0) {
        this.count = count;
        this.at = at;
        if (this.active >= 0)
            this.active = Math.min(this.active + moved, count - 1);
        if (moved && this.grid.scrollTop > 0) {
            this.body.style.height = `${count * height}px`;
            this.grid.scrollTop += moved * height;
        }
    }

    // away tells whether the first rows are out of sight.
    get away() {
        return this.grid.scrollTop > 0;
    }

    // render puts the rows that can be seen into the document.
    render() {
        const seen = Math.ceil(this.grid.clientHeight / height);
        const first = Math.max(0, Math.floor(this.grid.scrollTop / height) - spare);
        const last = Math.min(this.count, first + seen + 2 * spare);
        this.body.style.height = `${this.count * height}px`;
        this.grid.setAttribute("aria-rowcount", this.count + 1);
        while (this.pool.length < last - first)
            this.addNode();
        const free = new Set(this.pool);
        for (let i = first; i < last; i++) {
            const node = this.pool[i % this.pool.length];
            free.delete(node);
            this.fill(node, i);
        }
        for (const node of free)
            this.empty(node);
        const active = this.active >= first && this.active < last ? this.pool[this.active % this.pool.length].id : "";
        if (active)
            this.grid.setAttribute("aria-activedescendant", active);
        else
            this.grid.removeAttribute("aria-activedescendant");
    }

    addNode() {
        const cells = Array.from({ length: this.columns }, () => el("span", { role: "gridcell" }, el("span")));
        const node = el("div", { role: "row", class: "row", id: `${this.grid.id}-${this.pool.length}` }, ...cells);
        node.addEventListener("click", () => {
            this.active = node.index;
            this.open(this.at(node.index));
        });
        this.pool.push(node);
        this.body.append(node);
    }

    fill(node, i) {
        const { cells, name, className = "", selected = false } = this.row(this.at(i));
        node.index = i;
        node.hidden = false;
        node.style.transform = `translateY(${i * height}px)`;
        node.dataset.name = name;
        node.setAttribute("aria-rowindex", i + 2);
        node.setAttribute("aria-selected", selected);
        setClass(node, `row ${className}${i === this.active ? " active" : ""}`);
        cells.forEach(({ text, tone, title = text }, n) => {
            const cell = node.children[n];
            setText(cell.firstChild, text);
            setClass(cell.firstChild, tone ? `label ${tone}` : "");
            if (cell.title !== title)
                cell.title = title;
        });
    }

    empty(node) {
        if (node.hidden)
            return;
        node.hidden = true;
        delete node.dataset.name;
        for (const cell of node.children)
            setText(cell.firstChild, "");
    }

    key(event) {
        const page = Math.max(1, Math.floor(this.grid.clientHeight / height) - 2);
        const to = {
            ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page, PageUp: this.active - page,
            Home: 0, End: this.count - 1,
        }[event.key];
        if (to !== undefined && this.count > 0) {
            this.active = Math.max(0, Math.min(to, this.count - 1));
            const top = this.active * height, room = this.grid.clientHeight - height; // below the header
            if (top < this.grid.scrollTop)
                this.grid.scrollTop = top;
            else if (top + height > this.grid.scrollTop + room)
                this.grid.scrollTop = top + height - room;
        } else if ((event.key === "Enter" || event.key === " ") && this.active >= 0 && this.active < this.count) {
            this.open(this.at(this.active));
        } else {
            return;
        }
        event.preventDefault();
        this.grid.dispatchEvent(new Event("moved"));
    }
}
