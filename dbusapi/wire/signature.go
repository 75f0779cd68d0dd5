package wire

import (
	"errors"
	"strings"
)

// Limits of the D-Bus specification, "Valid Signatures".
const (
	maxSignature    = 255
	maxTypeNesting  = 32 // of arrays, and of structs
	maxArrayBytes   = 1 << 26
	maxTotalNesting = 64
)

var (
	errSignature = errors.New("invalid type signature")
	errUnixFD    = errors.New("file descriptors (h) are not accepted")
)

// nextType splits the first complete type off a signature.
func nextType(sig string) (typ, rest string, err error) {
	n, err := typeLen(sig, 0, 0)
	if err != nil {
		return "", "", err
	}
	return sig[:n], sig[n:], nil
}

// typeLen returns the length of the first complete type in sig.
func typeLen(sig string, arrays, structs int) (int, error) {
	if sig == "" || arrays > maxTypeNesting || structs > maxTypeNesting {
		return 0, errSignature
	}
	switch sig[0] {
	case 'h':
		return 0, errUnixFD
	case 'a':
		if len(sig) > 1 && sig[1] == '{' {
			return dictLen(sig, arrays+1, structs)
		}
		n, err := typeLen(sig[1:], arrays+1, structs)
		return n + 1, err
	case '(':
		n := 1
		for n < len(sig) && sig[n] != ')' {
			field, err := typeLen(sig[n:], arrays, structs+1)
			if err != nil {
				return 0, err
			}
			n += field
		}
		if n == 1 || n >= len(sig) {
			return 0, errSignature
		}
		return n + 1, nil
	}
	if strings.IndexByte("ybnqiuxtdsogv", sig[0]) < 0 {
		return 0, errSignature
	}
	return 1, nil
}

// dictLen returns the length of the dict type a{KV…} that sig begins with.
func dictLen(sig string, arrays, structs int) (int, error) {
	const open = len("a{")
	if len(sig) < open+1 || strings.IndexByte("ybnqiuxtdsog", sig[open]) < 0 {
		if len(sig) > open && sig[open] == 'h' {
			return 0, errUnixFD
		}
		return 0, errSignature
	}
	n, err := typeLen(sig[open+1:], arrays, structs) // a dict entry is no struct
	if err != nil {
		return 0, err
	}
	n += open + 1
	if n >= len(sig) || sig[n] != '}' {
		return 0, errSignature
	}
	return n + 1, nil
}

// checkSignature checks a whole signature: any number of complete types.
func checkSignature(sig string) error {
	if len(sig) > maxSignature {
		return errSignature
	}
	for sig != "" {
		var err error
		if _, sig, err = nextType(sig); err != nil {
			return err
		}
	}
	return nil
}

// alignment returns the alignment of a type with this first code.
func alignment(code byte) int {
	switch code {
	case 'n', 'q':
		return 2
	case 'b', 'i', 'u', 's', 'o', 'a':
		return 4
	case 'x', 't', 'd', '(', '{':
		return 8
	default: // y, g, v
		return 1
	}
}
