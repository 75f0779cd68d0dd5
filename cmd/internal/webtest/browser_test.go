package webtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience is the timeout of all waits. It does not measure speed.
const patience = 90 * time.Second

// browser is a Chromium that shows the page.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // errors in the page's console
}

// look is the size and the colour scheme of the window.
type look struct {
	width, height int64
	dark          bool
}

// openPage opens the page in a new browser, without Cockpit's shell around it. hash is like #/?q=x.
func openPage(t *testing.T, url, hash string, as look) *browser {
	t.Helper()
	b := openURL(t, url+"/cockpit/@localhost/osctl-eventd/index.html"+hash, as)
	b.until("the page is there", `document.querySelector("#chips .label") !== null`)
	return b
}

func openURL(t *testing.T, url string, as look) *browser {
	t.Helper()
	profile, err := os.MkdirTemp("", "webtest-profile-") //nolint:usetesting // removed once Chromium has ended
	must(t, err)
	if as.width == 0 {
		as.width, as.height = 1280, 860
	}
	options := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	options = append(options, chromedp.ExecPath("/usr/bin/chromium"), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile),
		chromedp.WSURLReadTimeout(patience), chromedp.WindowSize(int(as.width), int(as.height)),
		// Otherwise Chromium connects to the test's bus, and ends with it.
		chromedp.Env("DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent", "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent", "TZ=UTC"))
	allocated, release := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocated)
	b := &browser{t: t, ctx: ctx}
	t.Cleanup(func() {
		if t.Failed() {
			b.shot(strings.ReplaceAll(t.Name(), "/", "-") + "-failed")
			t.Logf("the page shows\n%s", b.text("document.body.innerText"))
		}
		hangs := time.AfterFunc(patience, cancel)
		_ = chromedp.Cancel(ctx)
		hangs.Stop()
		cancel()
		release()
		chromedp.FromContext(ctx).Allocator.Wait()
		_ = os.RemoveAll(profile)
		if len(b.problems) > 0 {
			t.Errorf("errors in the page's console:\n%s", strings.Join(b.problems, "\n"))
		}
	})
	chromedp.ListenTarget(ctx, b.listen)
	scheme := map[bool]string{true: "dark", false: "light"}[as.dark]
	b.run(log.Enable(), chromedp.EmulateViewport(as.width, as.height),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
		chromedp.Navigate(url))
	return b
}

// listen collects the errors of the page.
func (b *browser) listen(event any) {
	var problem string
	switch event := event.(type) {
	case *runtime.EventExceptionThrown:
		problem = event.ExceptionDetails.Error()
	case *runtime.EventConsoleAPICalled:
		if event.Type == runtime.APITypeError {
			for _, arg := range event.Args {
				problem += string(arg.Value) + arg.Description + " "
			}
		}
	case *log.EventEntryAdded:
		// Some releases of Cockpit fail to load their own font.
		if event.Entry.Level == log.LevelError && !strings.Contains(event.Entry.URL, "/@localhost/shell/") {
			problem = event.Entry.Text + " " + event.Entry.URL
		}
	}
	if problem != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, problem)
	}
}

// run performs actions in the browser.
func (b *browser) run(actions ...chromedp.Action) {
	b.t.Helper()
	if err := b.try(actions...); err != nil {
		b.t.Fatal(err)
	}
}

// try is run, but returns the error. It ends a browser that hangs.
func (b *browser) try(actions ...chromedp.Action) error {
	hangs := time.AfterFunc(patience, func() { _ = chromedp.Cancel(b.ctx) })
	defer hangs.Stop()
	return chromedp.Run(b.ctx, actions...)
}

// text evaluates an expression, and returns its value as text.
func (b *browser) text(expression string) (text string) {
	b.t.Helper()
	if err := b.try(chromedp.Evaluate(fmt.Sprintf("String(%s)", expression), &text)); err != nil {
		text = err.Error()
	}
	return text
}

// until waits until an expression is true.
func (b *browser) until(what, expression string) {
	b.t.Helper()
	b.untilText(what, expression, func() string { return "true" })
}

// untilText waits until the value of an expression equals the text that want returns.
func (b *browser) untilText(what, expression string, want func() string) {
	b.t.Helper()
	last := ""
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if last = b.text(expression); last == want() {
			return
		}
	}
	b.t.Fatalf("timed out waiting for %s: %s is %s", what, expression, last)
}

// click clicks on the element of a selector.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.until(selector, fmt.Sprintf("document.querySelector(%q) !== null", selector))
	b.run(chromedp.Evaluate(fmt.Sprintf("document.querySelector(%q).click()", selector), nil))
}

// key presses a key.
func (b *browser) key(key string) {
	b.t.Helper()
	b.run(chromedp.KeyEvent(key))
}

// fill puts text into a field, as if the user had typed or chosen it.
func (b *browser) fill(selector, text string) {
	b.t.Helper()
	b.run(chromedp.Evaluate(fmt.Sprintf(`{ const field = document.querySelector(%q); field.value = %q;
		field.dispatchEvent(new Event(field.tagName === "SELECT" ? "change" : "input", { bubbles: true })); }`, selector, text), nil))
}

// row waits until a table has a row with this name and these first cells.
func (b *browser) row(table, name string, cells ...string) {
	b.t.Helper()
	want := strings.Join(cells, "|")
	b.until(table+" has "+name+": "+want, fmt.Sprintf(
		`[...document.querySelectorAll("#%s [data-name]")].some(row => row.dataset.name === %q && [...row.children].map(cell => cell.textContent).join("|").startsWith(%q))`,
		table, name, want))
}

// noRow waits until a table has no row with this name.
func (b *browser) noRow(table, name string) {
	b.t.Helper()
	b.until(table+" has no "+name, fmt.Sprintf(`[...document.querySelectorAll("#%s [data-name]")].every(row => row.dataset.name !== %q)`, table, name))
}

// state waits until the first chip shows a text.
func (b *browser) state(text string) {
	b.t.Helper()
	b.until("the page is "+text, fmt.Sprintf(`document.querySelector("#chips .label")?.textContent === %q`, text))
}

// shot writes a screenshot to the directory OSCTL_EVENTD_TEST_SHOTS, if that is set.
func (b *browser) shot(name string) {
	dir := os.Getenv("OSCTL_EVENTD_TEST_SHOTS")
	if dir == "" {
		return
	}
	var png []byte
	if err := b.try(chromedp.CaptureScreenshot(&png)); err == nil {
		_ = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
}
