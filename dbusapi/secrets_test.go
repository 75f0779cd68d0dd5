package dbusapi

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/osctl/eventd/dbusapi/apitest"
	"github.com/osctl/eventd/dbusapi/wire"

	"github.com/osctl/eventd/dbusapi/bustest"
	"github.com/osctl/eventd/hub"
	"github.com/osctl/eventd/hub/eventlog"
)

// No secret of an accepted or refused event, at any depth and in any spelling, is in a signal, in a reply,
// or in a file of the log.
func TestSecretsStayOut(t *testing.T) {
	apitest.EachParallel(t, func(t *testing.T, bus *bustest.Bus) {
		const secret = "hunter2-"
		dir := t.TempDir()
		log, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir, Boot: "this", Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		h := apitest.NewHub(t, hub.Config{Log: log})
		s := serve(t, bus, h)
		r := apitest.Receive(t, bus, "")
		c := bus.ClientAs(t, 0)
		report := func(state string) *bustest.Message {
			return apitest.MethodCall("Report", "sa{sv}", new(bustest.Body).String("management").Array(8, func(b *bustest.Body) {
				text := func(name, value string) {
					b.Align(8).String(name).Variant("s", func(b *bustest.Body) { b.String(value) })
				}
				text("id", "7")
				text("cmd", "user_create")
				text("state", state)
				text("api-token", secret+"1")
				b.Align(8).String("opts").Variant("a{sv}", func(b *bustest.Body) {
					b.Array(8, func(b *bustest.Body) {
						text("userPASSWORD", secret+"2")
						text("shown", "clear")
						b.Align(8).String("deep").Variant("a{sv}", func(b *bustest.Body) {
							b.Array(8, func(b *bustest.Body) {
								text("Passphrase", secret+"3")
								b.Align(8).String("Credentials").Variant("as", func(b *bustest.Body) {
									b.Array(4, func(b *bustest.Body) { b.String(secret + "4").String(secret + "5") })
								})
							})
						})
					})
				})
			}))
		}
		apitest.OK(t, c, report("run"))
		_, refusal := c.Call(apitest.Bounded(t), report("no such state"))
		apitest.WantError(t, refusal, wire.ErrInvalidEvent)
		pulled := apitest.OK(t, c, apitest.WaitCall(hub.CursorOldest, 0))
		r.Until(t, 1)
		if err := s.stop(t); err != nil {
			t.Fatal(err)
		}
		h.Close()
		places := map[string]string{"the signal": string(r.Raw[0].Body), "the reply": string(pulled.Body), "the error": refusal.Error()}
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			places["the log"] += string(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for place, text := range places {
			if strings.Contains(text, secret) {
				t.Errorf("a secret is in %s", place)
			}
			if place != "the error" && (!strings.Contains(text, hub.Redacted) || !strings.Contains(text, "clear")) {
				t.Errorf("the event is not in %s", place)
			}
		}
	})
}
