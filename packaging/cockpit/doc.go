// Package cockpit is the page for Cockpit, in the directory page: plain modules of JavaScript that are
// installed as they are. service.js and follow.js talk to the service, model.js, stream.js and
// activity.js hold what it says, and the others show it. Package cmd/internal/webtest tests the page in
// a browser, the directory test has tests of the modules that need none.
package cockpit
