package main

import (
	"fmt"
	"strings"

	"github.com/osctl/eventd/cmd/internal/eventjson"
	"github.com/osctl/eventd/hub"
)

// parseAssignments reads KEY=TEXT and KEY:=JSON arguments.
func parseAssignments(args []string) (hub.Options, error) {
	var options hub.Options
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		key, typed := strings.CutSuffix(key, ":")
		if !ok || key == "" {
			return nil, fmt.Errorf("argument %q: expected KEY=TEXT, like pool=tank, or KEY:=JSON, like init_pid:=123", arg)
		}
		option := hub.Option{Name: key, Value: hub.String(value)}
		if typed {
			var err error
			if option.Value, err = eventjson.Value(value); err != nil {
				return nil, fmt.Errorf("argument %q: %w", arg, err)
			}
			if option.Value.Kind() == hub.KindInvalid {
				continue
			}
		}
		options = append(options, option)
	}
	return options, nil
}
