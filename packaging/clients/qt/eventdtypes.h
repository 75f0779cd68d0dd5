// The types that the annotations of org.osctl.Eventd.xml name, for qdbusxml2cpp -i eventdtypes.h.
#pragma once

#include <QtDBus/QtDBus>

struct EventdReport {
	QString type;
	QVariantMap opts;
};
struct EventdEvent {
	QString type, action, pool, id, source;
	qulonglong seq, time_usec;
	QVariantMap opts;
};
struct EventdInterface {
	uint ifindex;
	QString veth, name, pool, id, state;
	QVariantMap more;
};
struct EventdContainer {
	QString pool, id, state;
	qulonglong time_usec;
	QVariantMap more;
};
using EventdReports = QList<EventdReport>;
using EventdEvents = QList<EventdEvent>;
using EventdInterfaces = QList<EventdInterface>;
using EventdContainers = QList<EventdContainer>;
using EventdNumbers = QList<qulonglong>;
using EventdCounters = QMap<QString, qulonglong>;

#define EVENTD_STREAM(Type, OUT, IN)                                     \
	Q_DECLARE_METATYPE(Type)                                             \
	inline QDBusArgument &operator<<(QDBusArgument &a, const Type &v) {  \
		a.beginStructure();                                              \
		a << OUT;                                                        \
		a.endStructure();                                                \
		return a;                                                        \
	}                                                                    \
	inline const QDBusArgument &operator>>(const QDBusArgument &a, Type &v) { \
		a.beginStructure();                                              \
		a >> IN;                                                         \
		a.endStructure();                                                \
		return a;                                                        \
	}

EVENTD_STREAM(EventdReport, v.type << v.opts, v.type >> v.opts)
EVENTD_STREAM(EventdEvent, v.type << v.action << v.pool << v.id << v.source << v.seq << v.time_usec << v.opts,
	v.type >> v.action >> v.pool >> v.id >> v.source >> v.seq >> v.time_usec >> v.opts)
EVENTD_STREAM(EventdInterface, v.ifindex << v.veth << v.name << v.pool << v.id << v.state << v.more,
	v.ifindex >> v.veth >> v.name >> v.pool >> v.id >> v.state >> v.more)
EVENTD_STREAM(EventdContainer, v.pool << v.id << v.state << v.time_usec << v.more, v.pool >> v.id >> v.state >> v.time_usec >> v.more)

inline void registerEventdTypes() {
	qDBusRegisterMetaType<EventdReport>();
	qDBusRegisterMetaType<EventdReports>();
	qDBusRegisterMetaType<EventdEvent>();
	qDBusRegisterMetaType<EventdEvents>();
	qDBusRegisterMetaType<EventdInterface>();
	qDBusRegisterMetaType<EventdInterfaces>();
	qDBusRegisterMetaType<EventdContainer>();
	qDBusRegisterMetaType<EventdContainers>();
	qDBusRegisterMetaType<EventdNumbers>();
	qDBusRegisterMetaType<EventdCounters>();
	qRegisterMetaType<EventdCounters>("EventdCounters"); // a property needs this name
}
