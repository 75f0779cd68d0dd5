package wire

import (
	"errors"
	"fmt"
)

// Error is an error message on the bus.
type Error struct {
	Name    string // such as [ErrGone]
	Message string
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Name
	}
	return e.Message
}

// Is reports whether target is an Error of the same name, so that
// errors.Is(err, &Error{Name: ErrGone}) works.
func (e *Error) Is(target error) bool {
	var other *Error
	return errors.As(target, &other) && other.Name == e.Name
}

// HasName reports whether err is an [Error] with this name.
func HasName(err error, name string) bool {
	var e *Error
	return errors.As(err, &e) && e.Name == name
}

// Errorf returns an error with this name.
func Errorf(name, format string, args ...any) *Error {
	return &Error{Name: name, Message: fmt.Sprintf(format, args...)}
}
