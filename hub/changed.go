package hub

// Changed returns a channel that holds a token if the [Status] or a counter may have changed since the
// last token was taken. It is for one reader.
func (h *Hub) Changed() <-chan struct{} { return h.changed }

// signalChange puts a token into the channel of [Hub.Changed].
func (h *Hub) signalChange() {
	select {
	case h.changed <- struct{}{}:
	default: // a token is there
	}
}
