package hub

import "strings"

// Redacted replaces a secret.
const Redacted = "[redacted]"

// secretWords returns the words that mark a key as that of a secret, in lower case.
func secretWords() [7]string {
	return [...]string{"password", "passwd", "passphrase", "secret", "token", "key", "credential"}
}

// looksSecret reports whether a key contains one of the words, in any letter case. It hides too much
// ("keyboard") rather than too little ("APIKeyFile").
func looksSecret(key string) bool {
	key = strings.ToLower(key)
	for _, word := range secretWords() {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// redactOptions replaces the secrets in options, in place.
func redactOptions(options Options) {
	for i := range options {
		if looksSecret(options[i].Name) {
			options[i].Value = String(Redacted)
		} else {
			options[i].Value = Redact(options[i].Value)
		}
	}
}

// Redact returns v with the values of all keys that look like a secret replaced, at any depth. Keys
// are those of options and dicts: a secret in a list, such as an argument of a command line, is not
// recognized. The replacement is [Redacted] if the type allows it, and otherwise an empty value of
// the type. Values without a secret are shared with v.
func Redact(v Value) Value {
	if v.inner == nil {
		return v
	}
	items, changed := v.inner.items, false
	replace := func(i int, with Value) {
		if !changed {
			items, changed = append([]Value(nil), items...), true
		}
		items[i] = with
	}
	for i := range v.inner.items {
		item := v.inner.items[i]
		if v.kind == KindDict && i%2 == 1 && looksSecret(v.inner.items[i-1].text) {
			replace(i, hide(item))
			continue
		}
		if clean := Redact(item); clean.inner != item.inner {
			replace(i, clean)
		}
	}
	if !changed {
		return v
	}
	return Value{kind: v.kind, inner: &compound{typ: v.inner.typ, items: items}}
}

// hide returns the replacement of a secret: a value of the same type.
func hide(v Value) Value {
	switch v.kind { //nolint:exhaustive // numbers and booleans become zero
	case KindString, KindBytes:
		return Value{kind: v.kind, text: Redacted}
	case KindVariant:
		return Variant(String(Redacted))
	case KindPath:
		return Path("/")
	case KindArray:
		if v.ElemType() == "s" {
			return Strings(Redacted)
		}
		return Value{kind: v.kind, inner: &compound{typ: v.inner.typ}}
	case KindDict:
		return Value{kind: v.kind, inner: &compound{typ: v.inner.typ}}
	case KindStruct:
		fields := make([]Value, len(v.inner.items))
		for i := range fields {
			fields[i] = hide(v.inner.items[i])
		}
		return Value{kind: v.kind, inner: &compound{typ: v.inner.typ, items: fields}}
	default:
		return Value{kind: v.kind}
	}
}
