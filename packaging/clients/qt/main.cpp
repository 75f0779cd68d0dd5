#include <cstdio>

#include "eventdproxy.h"

int main(int argc, char **argv) {
	QCoreApplication app(argc, argv);
	registerEventdTypes();
	OrgOsctlEventdInterface eventd("org.osctl.Eventd", "/org/osctl/Eventd", QDBusConnection::systemBus());
	eventd.setTimeout(70000);
	QDBusPendingReply<EventdNumbers> numbers = eventd.ReportBatch({{"probe_qt", {{"pool", "tank"}, {"n", 7}}}});
	numbers.waitForFinished();
	EventdEvents events;
	QDBusReply<QString> cursor = eventd.WaitEvents("oldest", {{"type", "probe_qt"}}, 0, 60000, events);
	if (numbers.isError() || !cursor.isValid() || events.size() != 1 || events[0].opts["n"] != 7 || numbers.value().size() != 1) {
		qWarning() << numbers.error() << cursor.error() << events.size();
		return 1;
	}
	printf("%s %s %lld counters\n", qPrintable(cursor.value()), qPrintable(events[0].type), (long long)eventd.counters().size());
	return eventd.counters().contains("lapped") ? 0 : 1;
}
