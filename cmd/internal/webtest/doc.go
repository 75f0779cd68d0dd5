// Package webtest has the tests of the page for Cockpit: in Chromium, with the real Cockpit and the
// real daemon on a private bus, and real veths. They run where OSCTL_EVENTD_TEST_WEB is set, as in
// `make test-web`: Chromium is too large for every run of the tests.
package webtest
