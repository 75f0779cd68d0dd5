package webtest

import (
	"os"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// TestAccessibility checks the page with axe-core against WCAG A and AA, in light and dark mode and with
// all panels open. OSCTL_EVENTD_TEST_AXE is the path of axe.min.js, which `make test-web` installs if npm
// is there.
func TestAccessibility(t *testing.T) {
	file := os.Getenv("OSCTL_EVENTD_TEST_AXE")
	if file == "" {
		t.Skip("NOT TESTED: no axe-core; make test-web installs it if npm is there")
	}
	axe, err := os.ReadFile(file)
	must(t, err)
	s := startScene(t)
	s.addContainers()
	for _, as := range []look{{}, {dark: true}, {width: 700, height: 1500}} {
		b := openPage(t, startCockpit(t, s.bus.Address(), user{}), "", as)
		b.row("interfaces", "veth101", "tank:101", "eth0", "veth101", "no-carrier")
		b.run(chromedp.Evaluate(string(axe), nil))
		check := func(what string) {
			t.Helper()
			var found string
			b.run(chromedp.Evaluate(`axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] }).then(({ violations }) =>
				violations.map(v => v.id + ": " + v.nodes.map(n => n.target + " " + n.failureSummary).join("\n")).join("\n\n"))`,
				&found, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
			if found != "" {
				t.Errorf("%s, %+v: axe-core found\n%s", what, as, found)
			}
		}
		check("tables")
		b.click(`#interfaces [data-name="veth101"]`)
		b.until("its history", `[...document.querySelectorAll("#events [data-name]")].every(row => row.textContent.includes("tank:101"))`)
		b.click("#events [data-name]") // a selection closes the details
		b.click("#chips button")
		b.until("all open", `!document.querySelector("#health").hidden && !document.querySelector("#details").hidden && document.querySelector("#scope").children.length > 0`)
		check("panels")
		b.shot("panels")
		b.click("#tab-containers")
		b.fill("#text", "nothing")
		check("nothing matches")
	}
}
