#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define EVENTD "org.osctl.Eventd", "/org/osctl/Eventd", "org.osctl.Eventd"

static int check(int r, const char *what) {
	if (r < 0)
		fprintf(stderr, "%s: %s\n", what, strerror(-r));
	return r < 0;
}

int main(void) {
	sd_bus *bus = NULL;
	sd_bus_message *call = NULL, *reply = NULL;
	sd_bus_error error = SD_BUS_ERROR_NULL;
	const char *cursor, *type;

	if (check(sd_bus_open_system(&bus), "open"))
		return 1;
	/* Options are a count, then name, type, value of each. */
	if (check(sd_bus_call_method(bus, EVENTD, "Report", &error, NULL, "sa{sv}", "probe_sdbus", 2, "pool", "s", "tank", "n", "i", 7), "Report"))
		return 1;
	if (check(sd_bus_message_new_method_call(bus, &call, EVENTD, "WaitEvents"), "new") ||
	    check(sd_bus_message_append(call, "sa{sv}uu", "oldest", 1, "type", "s", "probe_sdbus", 0, 60000), "append"))
		return 1;
	/* The time-out is in microseconds; 0 is 25 s. */
	if (check(sd_bus_call(bus, call, 70 * 1000000ULL, &error, &reply), "WaitEvents"))
		return 1;
	if (check(sd_bus_message_read(reply, "s", &cursor), "read") ||
	    check(sd_bus_message_enter_container(reply, 'a', "(ssssstta{sv})"), "array") ||
	    check(sd_bus_message_enter_container(reply, 'r', "ssssstta{sv}"), "event") ||
	    check(sd_bus_message_read(reply, "s", &type), "type") || strcmp(type, "probe_sdbus") != 0)
		return 1;
	printf("%s %s\n", cursor, type);
	sd_bus_message_unref(call);
	sd_bus_message_unref(reply);
	sd_bus_unref(bus);
	return 0;
}
