#include "eventd.h"

int main(void) {
	g_autoptr(GError) error = NULL;
	g_autofree char *cursor = NULL;
	g_autoptr(GVariant) events = NULL;
	GVariantBuilder opts, filter;
	guint64 seq;

	Eventd *eventd = eventd_proxy_new_for_bus_sync(G_BUS_TYPE_SYSTEM, 0, "org.osctl.Eventd", "/org/osctl/Eventd", NULL, &error);
	g_assert_no_error(error);
	g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(eventd), 70000);
	g_variant_builder_init(&opts, G_VARIANT_TYPE_VARDICT);
	g_variant_builder_add(&opts, "{sv}", "pool", g_variant_new_string("tank"));
	eventd_call_report_sync(eventd, "probe_glib", g_variant_builder_end(&opts), &seq, NULL, &error);
	g_assert_no_error(error);
	g_variant_builder_init(&filter, G_VARIANT_TYPE_VARDICT);
	g_variant_builder_add(&filter, "{sv}", "type", g_variant_new_string("probe_glib"));
	eventd_call_wait_events_sync(eventd, "oldest", g_variant_builder_end(&filter), 0, 60000, &cursor, &events, NULL, &error);
	g_assert_no_error(error);
	g_assert_cmpint(g_variant_n_children(events), >=, 1);
	g_print("%s %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT "\n", cursor, seq, eventd_get_last_sequence(eventd));
	g_object_unref(eventd);
	return 0;
}
