package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"mutual/pki/pkitest/tools"
)

const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
events {}
http {
	access_log off;
	client_body_temp_path temp;
	proxy_temp_path temp;
	fastcgi_temp_path temp;
	uwsgi_temp_path temp;
	scgi_temp_path temp;
	server {
		listen %s ssl;
		ssl_certificate %s;
		ssl_certificate_key %s;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_client_certificate %s;
		ssl_verify_client %s;
		%s
	}
}
`

// startNginx runs an nginx of our own, with all its files in a directory of
// the test.
func startNginx(t *testing.T, f *fixture, verify, rest string) (address string) {
	t.Helper()
	nginx := tools.Need(t, "nginx")
	dir := t.TempDir()
	files := f.write(t, dir)
	address = freeAddress(t)
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, address, files.certificate, files.key, files.clientCA, verify, rest)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startServer(t, address, nginx, "-p", dir, "-c", config, "-e", "stderr")
	return address
}

const nginxPage = `location / { return 200 "hello"; }`

// TestMatrixNginx: nginx finishes every handshake and judges in HTTP.
func TestMatrixNginx(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for _, row := range []struct {
		name, verify, rest      string
		nobody, alice, stranger string // the outcome, then what both versions show
	}{
		{"off", "off", nginxPage,
			"violated requested no, none accepted http 200",
			"violated requested no, none accepted http 200, ours inconclusive none 200",
			"violated requested no, none accepted http 200, ours inconclusive none 200"},
		{"on", "on", nginxPage,
			"ok requested yes, none rejected http 400",
			"ok requested yes, none rejected http 400, ours accepted http 200",
			"violated requested yes, none rejected http 400, ours rejected http 400"},
		{"optional", "optional", nginxPage,
			"violated requested yes, none accepted http 200",
			"violated requested yes, none accepted http 200, ours accepted http 200",
			"violated requested yes, none accepted http 200, ours rejected http 400"},
		{"optional_no_ca", "optional_no_ca", nginxPage,
			"violated requested yes, none accepted http 200",
			"violated requested yes, none accepted http 200, ours accepted http 200",
			"violated requested yes, none accepted http 200, ours accepted http 200"},
		{"on, no page", "on", `location / { return 404; }`,
			"ok requested yes, none rejected http 400",
			"ok requested yes, none rejected http 400, ours accepted http 404",
			"violated requested yes, none rejected http 400, ours rejected http 400"},
		{"on, please log in", "on", `error_page 495 496 = @nocert;
			location @nocert { return 200 "please log in"; } ` + nginxPage,
			"violated requested yes, none accepted http 200",
			"ok requested yes, none rejected http 200, ours accepted http 200",
			"violated requested yes, none accepted http 200, ours accepted http 200"},
		{"optional, closed without an answer", "optional", `if ($ssl_client_verify != SUCCESS) { return 444; } ` + nginxPage,
			"couldNotTell requested yes, none inconclusive none",
			"ok requested yes, none rejected http, ours accepted http 200",
			"couldNotTell requested yes, none inconclusive none, ours inconclusive none 400"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			address := startNginx(t, f, row.verify, row.rest)
			for _, call := range []struct {
				client *identity
				want   string
			}{{nil, row.nobody}, {f.good, row.alice}, {f.stranger, row.stranger}} {
				checkSummary(t, run(t, f.config(t, address, call.client)), bothVersions(call.want))
			}
		})
	}
}

func bothVersions(want string) string {
	var outcome string
	for i := range want {
		if want[i] == ' ' {
			outcome, want = want[:i], want[i+1:]
			break
		}
	}
	return "1.2 " + want + "\n1.3 " + want + "\n" + outcome
}
