// Package packaging holds what is installed beside the programs. The interface of
// the service is here, because it is both installed and served.
package packaging

import _ "embed"

// Interface is the introspection document of the service: the source of truth for
// its methods, signal and properties.
//
//go:embed org.osctl.Eventd.xml
var Interface string
