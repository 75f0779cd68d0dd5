// Package packaging holds what is installed beside the programs. The interface of
// the service is here, because it is both installed and served.
package packaging

import _ "embed"

// Interface is the introspection document that is installed: the source of truth for the
// methods, signals and properties of the service. It describes org.osctl.Eventd alone.
//
//go:embed org.osctl.Eventd.xml
var Interface string
