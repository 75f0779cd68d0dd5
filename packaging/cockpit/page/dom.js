// Short names for what the page does with its document. Text goes in as text alone.

export const $ = id => document.getElementById(id);

// el makes an element. Functions among the attributes are listeners.
export function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function")
            node.addEventListener(name, value);
        else if (value !== undefined && value !== false)
            node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter(child => child !== undefined && child !== ""));
    return node;
}

// setText changes the text of a node, if it is another one.
export function setText(node, text) {
    if (node.textContent !== text)
        node.textContent = text;
}

// setClass changes the class of a node, if it is another one.
export function setClass(node, name) {
    if (node.className !== name)
        node.className = name;
}

const kept = new WeakMap();

// rebuild replaces the children of a node, if what they are made of changed. So the focus stays.
export function rebuild(node, made, build) {
    const key = JSON.stringify(made);
    if (kept.get(node) === key)
        return;
    kept.set(node, key);
    node.replaceChildren(...build());
}
