package dbusapi

// Names of the service, see packaging/org.osctl.Eventd.xml.
const (
	Name      = "org.osctl.Eventd"  // well-known name, and interface
	Path      = "/org/osctl/Eventd" // the one object
	Interface = Name
)

// Names of errors that the service replies with.
const (
	ErrInvalidEvent   = Name + ".Error.InvalidEvent"
	ErrInvalidFilter  = Name + ".Error.InvalidFilter"
	ErrInvalidCursor  = Name + ".Error.InvalidCursor"
	ErrGone           = Name + ".Error.Gone"
	ErrTooLarge       = Name + ".Error.TooLarge"
	ErrLimitsExceeded = Name + ".Error.LimitsExceeded"
	ErrShuttingDown   = Name + ".Error.ShuttingDown"

	errInvalidArgs      = "org.freedesktop.DBus.Error.InvalidArgs"
	errUnknownMethod    = "org.freedesktop.DBus.Error.UnknownMethod"
	errUnknownObject    = "org.freedesktop.DBus.Error.UnknownObject"
	errUnknownInterface = "org.freedesktop.DBus.Error.UnknownInterface"
	errUnknownProperty  = "org.freedesktop.DBus.Error.UnknownProperty"
	errReadOnly         = "org.freedesktop.DBus.Error.PropertyReadOnly"
	errTimeout          = "org.freedesktop.DBus.Error.Timeout"
	errFailed           = "org.freedesktop.DBus.Error.Failed"

	errServiceUnknown = "org.freedesktop.DBus.Error.ServiceUnknown"
	errNameHasNoOwner = "org.freedesktop.DBus.Error.NameHasNoOwner"
	errNoReply        = "org.freedesktop.DBus.Error.NoReply"
	errAccessDenied   = "org.freedesktop.DBus.Error.AccessDenied"
)

// Limits of the service. What is over them is refused with an error.
const (
	MaxEvents       = 1024         // events of one ReportBatch, and of one WaitEvents reply
	MaxBatchBytes   = 1 << 20      // bytes of the body of a ReportBatch call
	MaxWaits        = 64           // pending WaitEvents calls of one connection
	MaxWaitsPerUser = 1024         // of all connections of one user other than root
	MaxWaitsInAll   = 4096         // of everybody together
	MaxTimeout      = 60_000       // milliseconds that WaitEvents waits at most
	maxWaitBytes    = 16 << 10     // bytes of the body of a WaitEvents call: it is kept while the call waits
	maxReplyBytes   = 4 << 20      // bytes of events in one WaitEvents reply; at least one event goes
	maxCallBody     = 1<<20 + 4096 // larger bodies are passed over unread and refused
)
