// Package webtest tests the Cockpit page in Chromium, with the real Cockpit, the real daemon on a
// private bus, and real veths. The tests run only if OSCTL_EVENTD_TEST_WEB is set, as `make test-web`
// does, because Chromium is too large for every test run.
package webtest
