package hub

import (
	"fmt"
	"strings"
	"testing"
)

const hunter = "hunter2"

// leaks returns where a text in v contains the secret.
func leaks(v Value) string {
	if strings.Contains(v.text, hunter) {
		return fmt.Sprintf("%s %q", v.Type(), v.text)
	}
	for _, item := range v.Items() {
		if found := leaks(item); found != "" {
			return v.Type() + " > " + found
		}
	}
	return ""
}

func TestLooksSecret(t *testing.T) {
	for _, key := range []string{
		"password", "passwd", "passphrase", "secret", "token", "key", "credential",
		"PASSWORD", "PassWd", "user_password", "password-hash", "new passphrase", "clientSecret", "APIKey", "api-key-file",
		"credentials", "Token", "access_token_2", "ssh.key", "KEY",
	} {
		if !looksSecret(key) {
			t.Errorf("%q does not look secret", key)
		}
	}
	for _, key := range []string{"", "pass", "id", "pool", "name", "veth", "cmd", "opts", "ke", "k-e-y", "tok", "user"} {
		if looksSecret(key) {
			t.Errorf("%q looks secret", key)
		}
	}
}

func TestRedactDictValues(t *testing.T) {
	secret := String(hunter)
	for name, c := range map[string]struct{ value, want Value }{
		"s":            {secret, String(Redacted)},
		"v":            {Variant(secret), Variant(String(Redacted))},
		"v of v of as": {Variant(Variant(Strings(hunter))), Variant(String(Redacted))},
		"v of u":       {Variant(Uint32(12345)), Variant(String(Redacted))},
		"ay":           {Bytes([]byte(hunter)), Bytes([]byte(Redacted))},
		"as":           {Strings("a", hunter), Strings(Redacted)},
		"aay":          {Array("ay", []Value{Bytes([]byte(hunter))}), Array("ay", nil)},
		"av":           {Array("v", []Value{Variant(secret)}), Array("v", nil)},
		"b":            {Bool(true), Bool(false)},
		"u":            {Uint32(12345), Uint32(0)},
		"x":            {Int64(-5), Int64(0)},
		"t":            {Uint64(1 << 63), Uint64(0)},
		"d":            {Number(KindDouble, 1<<62), Number(KindDouble, 0)},
		"o":            {Path("/" + hunter), Path("/")},
		"g":            {TypeOf(hunter), TypeOf("")},
		"(sus)":        {Struct([]Value{secret, Uint32(9), secret}), Struct([]Value{String(Redacted), Uint32(0), String(Redacted)})},
		"(v(ay))":      {Struct([]Value{Variant(secret), Struct([]Value{Bytes([]byte(hunter))})}), Struct([]Value{Variant(String(Redacted)), Struct([]Value{Bytes([]byte(Redacted))})})},
		"a{ss}":        {Dict("s", "s", []Value{secret, secret}), Dict("s", "s", nil)},
		"a{sv}":        {Dict("s", "v", []Value{String("x"), Variant(secret)}), Dict("s", "v", nil)},
	} {
		t.Run(name, func(t *testing.T) {
			dict := Dict("s", c.value.Type(), []Value{String("plain"), c.value, String("MyPassword"), c.value})
			before := fmt.Sprintf("%#v", dict.Items())
			got := Redact(dict)
			want := Dict("s", c.value.Type(), []Value{String("plain"), c.value, String("MyPassword"), c.want})
			if !sameValue(got, want) {
				t.Errorf("redacted to %+v, want %+v", got, want)
			}
			if found := leaks(got.Items()[3]); found != "" {
				t.Errorf("leaks at %s", found)
			}
			if after := fmt.Sprintf("%#v", dict.Items()); after != before {
				t.Errorf("the input changed from %s to %s", before, after)
			}
			if again := Redact(got); !sameValue(again, got) {
				t.Errorf("redacted twice to %+v, once to %+v", again, got)
			}
		})
	}
}

func TestRedactAtAnyDepth(t *testing.T) {
	dict := func(key string) Value {
		return Dict("s", "v", []Value{String("user"), Variant(String("root")), String(key), Variant(String(hunter)), String("n"), Variant(Uint32(7))})
	}
	// variant > array > dict > variant > struct > dict
	inner := Struct([]Value{Int32(-3), dict("TOKEN"), String("kept")})
	outer := Variant(Array("a{sv}", []Value{Dict("s", "v", nil), Dict("s", "v", []Value{String("deep"), Variant(inner), String("x_key"), Variant(Strings(hunter))})}))
	for name, v := range map[string]Value{"dict": dict("secret"), "variant": Variant(dict("passphrase")), "struct": inner, "deep": outer} {
		t.Run(name, func(t *testing.T) {
			clean := Redact(v)
			if found := leaks(clean); found != "" {
				t.Errorf("leaks at %s", found)
			}
			if leaks(v) == "" {
				t.Error("the input was changed")
			}
			if clean.Type() != v.Type() {
				t.Errorf("type %q became %q", v.Type(), clean.Type())
			}
			replaced := strings.ReplaceAll(string(v.AppendJSON(nil)), `["`+hunter+`"]`, `"`+Redacted+`"`)
			replaced = strings.ReplaceAll(replaced, hunter, Redacted)
			if got := string(clean.AppendJSON(nil)); got != replaced {
				t.Errorf("became %s, want %s", got, replaced)
			}
		})
	}
}

func TestRedactKeyTypes(t *testing.T) {
	path := Redact(Dict("o", "s", []Value{Path("/org/password"), String(hunter), Path("/org/x"), String("kept")}))
	if found := leaks(path); found != "" {
		t.Errorf("leaks at %s", found)
	}
	if got := path.Items()[3].Text(); got != "kept" {
		t.Errorf("the other value became %q", got)
	}
	v := Redact(Dict("s", "s", []Value{String("a"), String("password"), String("b"), String("plain")}))
	if v.Items()[3].Text() != "plain" {
		t.Error("a value was taken for a key")
	}
	if array := Redact(Strings("password", "plain")); array.Items()[1].Text() != "plain" {
		t.Error("an array was taken for a dict")
	}
}

func TestRedactSharesUnchangedValues(t *testing.T) {
	clean, dirty := Strings("x"), Dict("s", "s", []Value{String("key"), String(hunter)})
	v := Struct([]Value{clean, dirty})
	got := Redact(v)
	if got.Items()[0].inner != clean.inner {
		t.Error("an unchanged item was copied")
	}
	if got.inner == v.inner || dirty.Items()[1].Text() != hunter {
		t.Error("the input was changed")
	}
	if Redact(clean).inner != clean.inner {
		t.Error("a value without secrets was copied")
	}
}

func TestNewEventRedacts(t *testing.T) {
	shared := Dict("s", "v", []Value{String("password"), Variant(String(hunter)), String("user"), Variant(String("root"))})
	e := newEvent(t, "management",
		Option{"id", Uint64(1)}, opt("cmd", "user_passwd"), Option{"opts", shared}, opt("state", "run"),
		opt("api-token", hunter), Option{"secret", Strings(hunter)}, Option{"key", Uint32(5)},
		Option{"list", Array("a{ss}", []Value{Dict("s", "s", []Value{String("Credential"), String(hunter)})})})
	for _, o := range e.Options {
		if found := leaks(o.Value); found != "" {
			t.Errorf("option %s leaks at %s", o.Name, found)
		}
	}
	for _, name := range []string{"api-token", "secret", "key"} {
		if v, _ := e.Options.Get(name); !sameValue(v, String(Redacted)) {
			t.Errorf("option %s is %+v", name, v)
		}
	}
	if got := e.Options.Text("cmd"); got != "user_passwd" {
		t.Errorf("cmd became %q", got)
	}
	if json := string(e.AppendJSON(nil, "e")); strings.Contains(json, hunter) {
		t.Errorf("JSON leaks: %s", json)
	}
	if leaks(shared) == "" {
		t.Error("the reporter's value was changed")
	}
	opts, _ := e.Options.Get("opts")
	if opts.Items()[3].Unwrap().Text() != "root" {
		t.Error("a plain value was lost")
	}
}

func TestRefusedOptionsAreNotChanged(t *testing.T) {
	o := Options{opt("password", hunter), opt("Bad", "")}
	if _, err := NewEvent("open", o, ""); err == nil {
		t.Fatal("accepted")
	} else if strings.Contains(err.Error(), hunter) {
		t.Errorf("the error contains the secret: %v", err)
	}
	if o.Text("password") != hunter {
		t.Error("the refused options were changed")
	}
}
