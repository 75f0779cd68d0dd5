package wire

// Names of the service, see packaging/org.osctl.Eventd.xml.
const (
	Name      = "org.osctl.Eventd"  // well-known name, and interface
	Path      = "/org/osctl/Eventd" // the one object
	Interface = Name
)

// Names of errors in replies of the service or the bus.
const (
	ErrInvalidEvent   = Name + ".Error.InvalidEvent"
	ErrInvalidFilter  = Name + ".Error.InvalidFilter"
	ErrInvalidCursor  = Name + ".Error.InvalidCursor"
	ErrGone           = Name + ".Error.Gone"
	ErrTooLarge       = Name + ".Error.TooLarge"
	ErrLimitsExceeded = Name + ".Error.LimitsExceeded"
	ErrShuttingDown   = Name + ".Error.ShuttingDown"

	ErrInvalidArgs      = "org.freedesktop.DBus.Error.InvalidArgs"
	ErrUnknownMethod    = "org.freedesktop.DBus.Error.UnknownMethod"
	ErrUnknownObject    = "org.freedesktop.DBus.Error.UnknownObject"
	ErrUnknownInterface = "org.freedesktop.DBus.Error.UnknownInterface"
	ErrUnknownProperty  = "org.freedesktop.DBus.Error.UnknownProperty"
	ErrReadOnly         = "org.freedesktop.DBus.Error.PropertyReadOnly"
	ErrTimeout          = "org.freedesktop.DBus.Error.Timeout"
	ErrFailed           = "org.freedesktop.DBus.Error.Failed"

	ErrServiceUnknown = "org.freedesktop.DBus.Error.ServiceUnknown"
	ErrNameHasNoOwner = "org.freedesktop.DBus.Error.NameHasNoOwner"
	ErrNoReply        = "org.freedesktop.DBus.Error.NoReply"
	ErrAccessDenied   = "org.freedesktop.DBus.Error.AccessDenied"
)

// Limits of the service. Calls beyond them are refused with an error.
const (
	MaxEvents     = 1024    // events of one ReportBatch, and of one WaitEvents reply
	MaxBatchBytes = 1 << 20 // bytes of the body of a ReportBatch call
	MaxWaits      = 64      // pending WaitEvents calls of one connection
	MaxTimeout    = 60_000  // milliseconds; the longest wait of WaitEvents
)
