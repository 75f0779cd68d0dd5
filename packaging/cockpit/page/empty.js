// What to do when there is nothing to show.

/* global cockpit */

import { $, el, rebuild } from "./dom.js";
import { _, format } from "./i18n.js";
import { show } from "./text.js";

const states = {
    connecting: () => ({ title: _("Connecting …") }),
    absent: () => ({
        title: _("osctl-eventd is not installed"),
        text: _("Install the package osctl-eventd on this host. This page then shows what happens to its containers and their interfaces."),
    }),
    stopped: () => ({
        title: _("osctl-eventd is not running"),
        text: _("This page does not start it, because it may have been stopped on purpose. To start it:"),
        command: "systemctl enable --now osctl-eventd",
        button: _("Open its service page"),
        act: () => cockpit.jump("/system/services#/osctl-eventd.service"),
    }),
    denied: user => ({
        title: _("No access to events"),
        text: format(_("Turn on administrative access at the top of the page, or add $0 to the group osctl-eventd and log in again:"), show(user || _("the user"))),
        command: `usermod -aG osctl-eventd ${user || "NAME"}`,
    }),
    lost: () => ({
        title: _("The system bus is gone"),
        text: _("The connection to the message bus of this host was closed. Once the bus is back, reload the page; you may have to log in again."),
        button: _("Reload"),
        act: () => window.location.reload(),
    }),
    hung: () => ({ title: _("osctl-eventd does not answer"), text: _("The page keeps trying. The log of the service may say why:"), command: "journalctl -u osctl-eventd" }),
};

// renderEmpty shows the text of a state; "" for none.
export function renderEmpty(state, user) {
    $("empty").hidden = !state;
    $("empty").dataset.state = state;
    if (!state)
        return;
    const { title, text, command, button, act } = states[state](user);
    rebuild($("empty"), [state, user], () => [
        el("h2", {}, title),
        text ? el("p", {}, text) : "",
        command ? el("code", {}, command) : "",
        button ? el("button", { type: "button", class: "main", click: act }, button) : "",
    ].filter(Boolean));
}
