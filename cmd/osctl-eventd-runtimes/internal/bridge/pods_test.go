package bridge

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/osctl/eventd/dbusapi/apitest"
)

const (
	uidA = "d0b3b3e8-5f5c-4b7e-9f51-0d6f5a1c2e3f"
	uidB = "e1c4c4f9-5f5c-4b7e-9f51-0d6f5a1c2e3f"
	hash = "0123456789abcdef0123456789abcdef" // the uid of a static pod
)

func makePod(t *testing.T, dir, entry string, age time.Duration) {
	t.Helper()
	path := filepath.Join(dir, entry)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestReadPods(t *testing.T) {
	dir := t.TempDir()
	for _, entry := range []string{
		"kube-system_proxy_" + hash, "default_web_" + uidB, "_web_" + uidB, "default__" + uidB, "default_web_short",
		"default_web_" + uidB + "0", "x_y_Z0b3b3e8-5f5c-4b7e-9f51-0d6f5a1c2e3f", "nothing",
	} {
		makePod(t, dir, entry, time.Hour)
	}
	makePod(t, dir, "default_web_"+uidA, 0)
	if err := os.WriteFile(filepath.Join(dir, "default_file_"+uidB), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	names, all, err := readPods(dir, maxPods)
	if want := map[string]string{uidA: "default/web", uidB: "", hash: "kube-system/proxy"}; err != nil || !all || !maps.Equal(names, want) {
		t.Errorf("pods are %v, %v, %v, want %v", names, all, err, want)
	}
	if names, all, err := readPods(dir, 4); err != nil || all || len(names) > 4 {
		t.Errorf("of four entries the pods are %v, all %v, %v", names, all, err)
	}
	if _, _, err := readPods(filepath.Join(dir, "none"), maxPods); !os.IsNotExist(err) {
		t.Errorf("a missing directory: %v", err)
	}
}

// TestPods follows the directory of the kubelet, which is created after the bridge started.
func TestPods(t *testing.T) {
	d, dir := startEventd(t), filepath.Join(t.TempDir(), "pods")
	config := Config{Bus: d.bus.Address(), Pods: dir, StateDir: t.TempDir()}
	b := startBridge(t, config)
	b.wantStatus(t, "k8s: not there")
	makePod(t, dir, "default_web_"+uidB, time.Hour)
	b.wantStatus(t, "k8s: 1 pod")
	want := []string{"ct_info k8s:e1c4 name=default/web"}
	d.want(t, want...)
	makePod(t, dir, "default_web_"+uidA, 0) // has the name of the other pod
	want = append(want, "ct_info k8s:d0b3 name=default/web")
	d.want(t, want...)
	if err := os.Remove(filepath.Join(dir, "default_web_"+uidB)); err != nil {
		t.Fatal(err)
	}
	want = append(want, "db k8s:e1c4 action=remove ct_name=default/web")
	d.want(t, want...)
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	makePod(t, dir, "default_new_"+uidB, 0) // in another directory of the name
	want = append(want, "db k8s:d0b3 action=remove ct_name=default/web", "ct_info k8s:e1c4 name=default/new")
	d.want(t, want...)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	makePod(t, dir, "default_web_"+uidA, 0)
	want = append(want, "db k8s:e1c4 action=remove ct_name=default/new", "ct_info k8s:d0b3 name=default/web")
	d.want(t, want...)
	b.stop()
	b = startBridge(t, config)
	b.wantStatus(t, "k8s: 1 pod")
	if err := os.Remove(filepath.Join(dir, "default_web_"+uidA)); err != nil {
		t.Fatal(err)
	}
	d.want(t, append(want, "db k8s:d0b3 action=remove ct_name=default/web")...)
	apitest.Eventually(t, "nothing is listed", func() bool { return d.hub.Status().Containers == 0 })
}
