package webtest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// TestShell checks that the page is in Cockpit's menu and follows Cockpit's dark mode.
func TestShell(t *testing.T) {
	s := startScene(t)
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

// TestCondition checks that the page is in the menu only if the service is installed. Older bridges,
// which are no scripts, ignore the condition; there the page itself says that the service is missing.
func TestCondition(t *testing.T) {
	s := startScene(t)
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
