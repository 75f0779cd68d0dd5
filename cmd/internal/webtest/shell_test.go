package webtest

import (
	"testing"

	"github.com/chromedp/chromedp"
)

// TestShell wants the page to be in the menu of Cockpit, and to be as dark as the rest of it.
func TestShell(t *testing.T) {
	s := started(t)
	s.report("probe", "n", "1")
	b := openURL(t, startCockpit(t, s.bus.Address(), user{})+"/osctl-eventd", look{})
	const inPage = `document.querySelector('iframe[name$="/osctl-eventd"]')?.contentDocument?.`
	b.until("the menu", `[...document.querySelectorAll("nav a, #host-apps a")].some(a => a.textContent.includes("Container events"))`)
	b.until("the event", inPage+`querySelector("#events [data-name]")?.dataset.name === "1"`)
	b.until("light", inPage+`documentElement.classList.contains("dark") === false`)
	b.run(chromedp.Evaluate(`localStorage.setItem("shell:style", "dark");
		document.querySelector('iframe[name$="/osctl-eventd"]').contentWindow.dispatchEvent(new CustomEvent("cockpit-style", { detail: { style: "dark" } }))`, nil))
	b.until("dark", inPage+`documentElement.classList.contains("dark")`)
	b.shot("shell")
}
