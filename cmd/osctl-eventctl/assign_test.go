package main

import (
	"strings"
	"testing"
)

func TestParseAssignments(t *testing.T) {
	options, err := parseAssignments([]string{"pool=tank", "note=a=b", "empty="})
	if err != nil || len(options) != 3 || options.Text("note") != "a=b" || options.Text("pool") != "tank" {
		t.Errorf("%v, %v", options, err)
	}
	for _, bad := range []string{"pool", "=tank", ""} {
		if _, err := parseAssignments([]string{bad}); err == nil || !strings.Contains(err.Error(), "expected KEY=TEXT") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTypedAssignments(t *testing.T) {
	for text, want := range map[string]struct{ typ, json string }{
		"5":                                     {"x", "5"},
		"-5":                                    {"x", "-5"},
		"18446744073709551615":                  {"t", "18446744073709551615"},
		"1.5":                                   {"d", "1.5"},
		"1.0":                                   {"d", "1.0"},
		"1e2":                                   {"d", "100.0"},
		"true":                                  {"b", "true"},
		`"a b"`:                                 {"s", `"a b"`},
		`["a","b"]`:                             {"as", `["a","b"]`},
		`[]`:                                    {"as", "[]"},
		`["a",1]`:                               {"av", `["a",1]`},
		`{"b":1,"a":{}}`:                        {"a{sv}", `{"a":{},"b":1}`},
		`[{"a":"a"},{"a":{"a":"a"}},["a","a"]]`: {"av", `[{"a":"a"},{"a":{"a":"a"}},["a","a"]]`},
	} {
		options, err := parseAssignments([]string{"key:=" + text})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if v := options[0].Value; options[0].Name != "key" || v.Type() != want.typ || string(v.AppendJSON(nil)) != want.json {
			t.Errorf("%s: %s of type %s", text, v.AppendJSON(nil), v.Type())
		}
	}
	for _, bad := range []string{"", "x", "[null]", "1 2", "1e999", "{", "1]", "{}}", "\"\xff\"", `{"a":1,"a":1}`, `[{"a":{"b":1,"b":{}}}]`} {
		if _, err := parseAssignments([]string{"key:=" + bad}); err == nil || !strings.Contains(err.Error(), "key:=") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
