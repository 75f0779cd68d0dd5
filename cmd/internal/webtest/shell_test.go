package webtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// TestCondition wants the page in the menu only where the service is installed. The bridge of older releases, which is
// no script, does not look; there the page itself says it.
func TestCondition(t *testing.T) {
	s := started(t)
	b := openURL(t, startCockpit(t, s.bus.Address(), user{conditions: true})+"/system", look{})
	bridge, err := os.ReadFile(filepath.Join("/", otherRoot(), "/usr/bin/cockpit-bridge"))
	must(t, err)
	_, err = os.Stat(filepath.Join("/", otherRoot(), installedPolicy))
	want := err == nil || !strings.HasPrefix(string(bridge), "#!")
	const menu = `[...document.querySelectorAll("nav a, #host-apps a")].map(a => a.textContent)`
	b.until("the menu", menu+`.some(text => text.includes("Overview"))`)
	if got := b.text(menu + `.some(text => text.includes("Container events"))`); got != strconv.FormatBool(want) {
		t.Errorf("the page is in the menu: %s, want %t", got, want)
	}
}
