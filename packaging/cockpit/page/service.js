// The service on the bus. Nothing here starts it: the page looks for the owner of the name first, and
// then calls that connection, not the name, because a call to an activatable name starts the service.

/* global cockpit */

const name = "org.osctl.Eventd", path = "/org/osctl/Eventd";
const bus = "org.freedesktop.DBus", busPath = "/org/freedesktop/DBus";

const patience = 10000; // milliseconds until a call counts as lost

export const errors = {
    gone: `${name}.Error.Gone`,
    cursor: `${name}.Error.InvalidCursor`,
    limits: `${name}.Error.LimitsExceeded`,
    denied: `${bus}.Error.AccessDenied`,
};

// within rejects where a call is not answered in time. Not every bridge answers when the bus has gone.
function within(msec, call) {
    let timer;
    const late = new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new Error("no answer")), msec);
    });
    return Promise.race([call, late]).finally(() => clearTimeout(timer));
}

// watchOwner calls owned with the unique name of the service, or "" and whether it is installed,
// each time that changes; and lost when the bus itself is gone. It returns a function that looks whether it is.
export function watchOwner(owned, lost) {
    const client = cockpit.dbus(bus, { bus: "system" });
    let told = 0;
    const tell = async owner => {
        const turn = ++told;
        let installed = false;
        if (!owner) {
            const [names] = await client.call(busPath, bus, "ListActivatableNames", [], { type: "" });
            installed = names.includes(name);
        }
        if (turn === told)
            owned(owner, installed);
    };
    client.addEventListener("close", lost);
    client.subscribe({ path: busPath, interface: bus, member: "NameOwnerChanged", arg0: name },
                     (_path, _interface, _signal, [, , owner]) => tell(owner).catch(() => {}));
    client.call(busPath, bus, "GetNameOwner", [name], { type: "s" })
            .then(([owner]) => owner, () => "")
            .then(owner => told || tell(owner))
            .catch(lost);
    return () => within(patience, client.call(busPath, bus, "GetId", [], { type: "" })).then(() => {}, lost);
}

// Session is the connection to one owner of the name, until close.
export class Session {
    constructor(owner) {
        this.closed = false;
        this.client = cockpit.dbus(owner, { bus: "system", superuser: "try" });
    }

    close() {
        this.closed = true;
        this.client.close();
    }

    // properties returns all properties of the service.
    async properties() {
        const [all] = await within(patience, this.client.call(path, `${bus}.Properties`, "GetAll", [name], { type: "s" }));
        return Object.fromEntries(Object.entries(all).map(([key, { v }]) => [key, v]));
    }

    // wait returns the next cursor and the events after a cursor.
    wait(cursor, filter, most, msec) {
        return within(msec + patience, this.client.call(path, name, "WaitEvents", [cursor, filter, most, msec], { type: "sa{sv}uu" }));
    }

    async interfaces() {
        return (await within(patience, this.client.call(path, name, "ListInterfaces", [{}], { type: "a{sv}" })))[1];
    }

    async containers() {
        return (await within(patience, this.client.call(path, name, "ListContainers", [{}], { type: "a{sv}" })))[1];
    }
}

// clockOffset returns how far the clock of the host is ahead of the browser's, in milliseconds.
export async function clockOffset() {
    const before = Date.now();
    const host = Number(await cockpit.spawn(["date", "+%s%3N"]));
    return host - (before + Date.now()) / 2;
}
