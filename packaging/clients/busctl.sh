# Options are a count, then name, type, value of each. busctl waits 25 s for a reply unless told otherwise.
busctl call org.osctl.Eventd /org/osctl/Eventd org.osctl.Eventd Report 'sa{sv}' probe_busctl 2 pool s tank n i 7
busctl --timeout=70 call org.osctl.Eventd /org/osctl/Eventd org.osctl.Eventd WaitEvents 'sa{sv}uu' oldest 1 type s probe_busctl 0 60000
busctl introspect org.osctl.Eventd /org/osctl/Eventd >/dev/null
