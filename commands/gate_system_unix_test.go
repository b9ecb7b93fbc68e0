//go:build unix

package commands

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mutual/pki"
	"mutual/pki/gate/proof"
	"mutual/pki/pemfile"
)

// systemd passes a socket and is told of the state; the upstream and the address
// of operators may be sockets in the file system.
func TestGateUnderSystemd(t *testing.T) {
	g := newGuarded(t)
	alice := g.issue("alice")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	g.address = l.Addr().String()
	_ = l.Close()
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(g.dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = told.Close() }()
	up, err := net.Listen("unix", filepath.Join(g.dir, "up.sock"))
	if err != nil {
		t.Fatal(err)
	}
	api := &httptest.Server{Listener: up, Config: &http.Server{Handler: proof.API()}}
	api.Start()
	defer api.Close()
	admin := filepath.Join(g.dir, "admin.sock")
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec mutual gate --to unix:"$1" --allow-all --admin unix:"$2" --drain 0s`, "sh", up.Addr().String(), admin)
	cmd.Env = append(g.env, "LISTEN_FDS=1", "NOTIFY_SOCKET="+told.LocalAddr().String())
	cmd.ExtraFiles = []*os.File{file}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	defer watchdog.Stop()
	hears := func(want string) {
		t.Helper()
		_ = told.SetReadDeadline(time.Now().Add(20 * time.Second))
		text := make([]byte, 256)
		n, err := told.Read(text)
		if err != nil || string(text[:n]) != want {
			t.Errorf("systemd is told %q, %v, want %q", text[:n], err, want)
		}
	}
	hears("READY=1")
	if !g.isIn(alice) {
		t.Error("alice is not let in")
	}
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", admin)
	}}}
	answer, err := web.Get("http://gate/readyz")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "ok\n" {
		t.Errorf("readyz: %q, %v", text, err)
	}
	_ = answer.Body.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hears("STOPPING=1")
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ends with %v:\n%s", err, said.String())
	}
}

// A gate listens at a socket in the file system, and takes the place of one that
// was killed there.
func TestGateAtSocket(t *testing.T) {
	g := newGuarded(t, "--drain", "0s")
	alice := g.issue("alice")
	path := filepath.Join(g.dir, "gate.sock")
	g.flags = append(g.flags, "--listen", "unix:"+path)
	call := func() error {
		conn, err := net.Dial("unix", path)
		if err != nil {
			return err
		}
		secure := tls.Client(conn, g.clientConfig(alice))
		defer func() { _ = secure.Close() }()
		_ = secure.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(secure, "GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
			return err
		}
		text, err := io.ReadAll(secure)
		if err == nil && !strings.HasSuffix(string(text), "hello\n") {
			t.Errorf("it answers %q", text)
		}
		return err
	}
	for range 2 {
		g.start()
		if err := call(); err != nil {
			t.Error(err)
		}
		if out := g.run(1, "gate", "--listen", "unix:"+path, "--to", g.api.URL, "--allow-all"); !strings.Contains(out, "address already in use") {
			t.Errorf("a second one says\n%s", out)
		}
		g.end(syscall.SIGKILL)
	}
}

// Gates that start at the same time share a certificate.
func TestGatesAtOnce(t *testing.T) {
	g := newGuarded(t)
	const count = 4
	var wait sync.WaitGroup
	for range count {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, "mutual", "gate", "--to", g.api.URL, "--allow-all", "--listen", "127.0.0.1:0", "--drain", "0s")
			cmd.Env = g.env
			stderr, err := cmd.StderrPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
			var said strings.Builder
			listens := false
			for in := bufio.NewScanner(stderr); !listens && in.Scan(); {
				said.WriteString(in.Text() + "\n")
				listens = strings.Contains(in.Text(), "listens at ")
			}
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
			if err := cmd.Wait(); err != nil || !listens {
				t.Errorf("%v\n%s", err, said.String())
			}
		})
	}
	wait.Wait()
	if n := strings.Count(g.run(0, "list"), " server "); n != 1 {
		t.Errorf("%d server certificates were issued", n)
	}
}

// The certificate of the server is renewed while the gate runs, when two thirds
// of its life are over.
func TestGateRenews(t *testing.T) {
	g := newGuarded(t, "--drain", "0s")
	alice := g.issue("alice")
	g.run(0, "config", "ttl", "3m") // with the ten minutes that it begins earlier, it is due at once
	g.start()
	serial := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", g.address, g.clientConfig(alice))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return pki.NewSerial(conn.ConnectionState().PeerCertificates[0].SerialNumber).String()
	}
	waitFor(t, "another certificate", func() bool { return strings.Count(g.run(0, "list", "--all"), " server ") == 2 })
	files, err := filepath.Glob(filepath.Join(g.dir, "state", "mutual", "gate-*", "localhost.crt"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := pemfile.ReadFile(files[0], pemfile.MaxFile)
	if err != nil {
		t.Fatal(err)
	}
	newest, err := pemfile.Certificates(data)
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the gate to show it", func() bool { return serial() == pki.NewSerial(newest[0].SerialNumber).String() })
	if code := g.end(syscall.SIGTERM); code != 0 { // it waits for the process that renews
		t.Errorf("it ends with %d", code)
	}
}
