package netwatch

import "github.com/osctl/eventd/hub"

// maxShownName is the most bytes that the name of an interface has as text: each of its
// own may be shown as four.
const maxShownName = 4 * maxInterfaceName

// showName returns an interface name as text: the kernel allows nearly any bytes
// in one. old is returned without allocating if it is that text already.
func showName(raw []byte, old string) string {
	if string(raw) == old && hub.IsPlainText(raw) {
		return old
	}
	return hub.PlainText(raw, maxShownName)
}
