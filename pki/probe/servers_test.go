package probe

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mutual/pki/pkitest/tools"
)

// The servers of the matrix. Each listens on loopback, offers TLS 1.2 and 1.3,
// knows the client CA of the fixture, and ends with the test.

// fill replaces the names of files and of the address in a configuration.
func (f files) fill(text, address string) string {
	host, port, _ := net.SplitHostPort(address)
	return strings.NewReplacer("@address", address, "@host", host, "@port", port, "@both", f.both, "@cert", f.certificate, "@key", f.key,
		"@clientca", f.clientCA, "@good", f.good, "@list", f.list).Replace(text)
}

// configure writes a configuration and gives its path.
func configure(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

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
		listen @address ssl @http2;
		root @root;
		ssl_certificate @cert;
		ssl_certificate_key @key;
		ssl_protocols TLSv1.2 TLSv1.3;
		ssl_client_certificate @clientca;
		@rest
	}
}
`

// nginx runs an nginx with a configuration of its server block.
func nginx(rest string) func(testing.TB, *fixture) string { return nginxWith("", rest) }

func nginxWith(http2, rest string) func(testing.TB, *fixture) string {
	return func(t testing.TB, f *fixture) string {
		program := tools.Need(t, "nginx")
		dir := t.TempDir()
		files, address := f.write(t, dir), freeAddress(t)
		if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("the secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("@rest", rest, "@http2", http2, "@root", dir).Replace(nginxConfig)
		startServer(t, address, program, "-p", dir, "-c", configure(t, dir, "nginx.conf", files.fill(text, address)), "-e", "stderr")
		return address
	}
}

func sServer(args ...string) func(testing.TB, *fixture) string {
	return func(t testing.TB, f *fixture) string {
		program := tools.Need(t, "openssl")
		files, address := f.write(t, t.TempDir()), freeAddress(t)
		startServer(t, address, program, append([]string{"s_server", "-quiet", "-accept", address,
			"-cert", files.certificate, "-key", files.key, "-CAfile", files.clientCA}, args...)...)
		return address
	}
}

func gnutlsServ(args ...string) func(testing.TB, *fixture) string {
	return func(t testing.TB, f *fixture) string {
		program := tools.Need(t, "gnutls-serv")
		files, address := f.write(t, t.TempDir()), freeAddress(t)
		_, port, _ := net.SplitHostPort(address)
		startServer(t, address, program, append([]string{"--quiet", "--http", "--port", port,
			"--x509certfile", files.certificate, "--x509keyfile", files.key, "--x509cafile", files.clientCA}, args...)...)
		return address
	}
}

const haproxyConfig = `
defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
frontend f
	bind @address ssl crt @both ca-file @clientca ssl-min-ver TLSv1.2 @verify
	http-request return status 200 content-type text/plain string hello
`

func haproxy(verify string) func(testing.TB, *fixture) string {
	return func(t testing.TB, f *fixture) string {
		program := tools.Need(t, "haproxy")
		dir := t.TempDir()
		files, address := f.write(t, dir), freeAddress(t)
		text := files.fill(strings.ReplaceAll(haproxyConfig, "@verify", verify), address)
		startServer(t, address, program, "-db", "-f", configure(t, dir, "haproxy.cfg", text))
		return address
	}
}

const apacheConfig = `
ServerName localhost
ServerRoot @root
DefaultRuntimeDir @root
PidFile @root/apache.pid
Listen @address
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
User nobody
Group nogroup
ErrorLog /dev/stderr
DocumentRoot @root/pages
SSLEngine on
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLCertificateFile @cert
SSLCertificateKeyFile @key
SSLCACertificateFile @clientca
@rest
`

func apache(rest string) func(testing.TB, *fixture) string {
	return func(t testing.TB, f *fixture) string {
		program := tools.Need(t, "apache2")
		dir, err := os.MkdirTemp("", "apache") // others must be able to pass
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		pages := filepath.Join(dir, "pages", "admin")
		for _, err := range []error{
			os.Chmod(dir, 0o755), os.MkdirAll(pages, 0o755),
			os.WriteFile(filepath.Join(dir, "pages", "index.html"), []byte("hello"), 0o644),
			os.WriteFile(filepath.Join(pages, "index.html"), []byte("the secret"), 0o644),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		files, address := f.write(t, dir), freeAddress(t)
		text := strings.NewReplacer("@root", dir, "@rest", rest).Replace(apacheConfig)
		startServer(t, address, program, "-DFOREGROUND", "-f", configure(t, dir, "apache.conf", files.fill(text, address)))
		return address
	}
}

const nodeServer = `
const fs = require('fs');
require('https').createServer({
	cert: fs.readFileSync('@cert'), key: fs.readFileSync('@key'), ca: fs.readFileSync('@clientca'),
	requestCert: true, rejectUnauthorized: @reject, minVersion: 'TLSv1.2',
}, (request, response) => { @check response.end('hello'); }).listen(@port, '@host');
`

func node(reject bool) func(testing.TB, *fixture) string { return nodeWith(reject, "") }

// nodeWith has an application that looks at each request.
func nodeWith(reject bool, check string) func(testing.TB, *fixture) string {
	return func(t testing.TB, f *fixture) string {
		program := tools.Need(t, "node")
		dir := t.TempDir()
		files, address := f.write(t, dir), freeAddress(t)
		text := strings.NewReplacer("@reject", fmt.Sprint(reject), "@check", check).Replace(nodeServer)
		startServer(t, address, program, configure(t, dir, "server.js", files.fill(text, address)))
		return address
	}
}

const pythonServer = `
import http.server, ssl

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_2
context.load_cert_chain("@cert", "@key")
context.load_verify_locations("@clientca")
context.verify_mode = ssl.@mode
server = http.server.ThreadingHTTPServer(("@host", @port), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
`

func python(mode string) func(testing.TB, *fixture) string {
	return func(t testing.TB, f *fixture) string {
		program := tools.Need(t, "python3")
		dir := t.TempDir()
		files, address := f.write(t, dir), freeAddress(t)
		text := strings.ReplaceAll(pythonServer, "@mode", mode)
		startServer(t, address, program, configure(t, dir, "server.py", files.fill(text, address)))
		return address
	}
}

const javaServer = `
import com.sun.net.httpserver.*;
import java.io.FileInputStream;
import java.net.InetSocketAddress;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.cert.Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import java.util.concurrent.Executors;
import javax.net.ssl.*;

public class Server {
	static Certificate read(String file) throws Exception {
		try (FileInputStream in = new FileInputStream(file)) { return CertificateFactory.getInstance("X.509").generateCertificate(in); }
	}
	public static void main(String[] args) throws Exception {
		String pem = Files.readString(Path.of("@key")).replaceAll("-----.*-----", "").replaceAll("\\s", "");
		PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
		KeyStore store = KeyStore.getInstance("PKCS12");
		store.load(null, null);
		store.setKeyEntry("server", key, new char[0], new Certificate[] { read("@cert") });
		KeyStore trust = KeyStore.getInstance("PKCS12");
		trust.load(null, null);
		trust.setCertificateEntry("ca", read("@clientca"));
		KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
		keys.init(store, new char[0]);
		TrustManagerFactory trusted = TrustManagerFactory.getInstance("PKIX");
		trusted.init(trust);
		SSLContext context = SSLContext.getInstance("TLS");
		context.init(keys.getKeyManagers(), trusted.getTrustManagers(), null);
		HttpsServer server = HttpsServer.create(new InetSocketAddress("@host", @port), 0);
		server.setHttpsConfigurator(new HttpsConfigurator(context) {
			public void configure(HttpsParameters p) {
				SSLParameters parameters = context.getDefaultSSLParameters();
				parameters.@auth(true);
				p.setSSLParameters(parameters);
			}
		});
		server.createContext("/", exchange -> {
			byte[] body = "hello".getBytes();
			exchange.sendResponseHeaders(200, body.length);
			exchange.getResponseBody().write(body);
			exchange.close();
		});
		server.setExecutor(Executors.newCachedThreadPool());
		server.start();
	}
}
`

func java(auth string) func(testing.TB, *fixture) string {
	return func(t testing.TB, f *fixture) string {
		program := tools.Need(t, "java", "javac")
		dir := t.TempDir()
		files, address := f.write(t, dir), freeAddress(t)
		text := strings.ReplaceAll(javaServer, "@auth", auth)
		startServer(t, address, program, "-Xshare:auto", "-XX:TieredStopAtLevel=1", configure(t, dir, "Server.java", files.fill(text, address)))
		return address
	}
}

const stunnelConfig = `
foreground = yes
pid =
debug = 4
[s]
accept = @address
connect = @backend
cert = @cert
key = @key
sslVersionMin = TLSv1.2
CAfile = @good
verifyPeer = yes
`

// stunnel lets nobody in but the owner of one certificate.
func stunnel(t testing.TB, f *fixture) string {
	program := tools.Need(t, "stunnel4")
	dir := t.TempDir()
	files, address := f.write(t, dir), freeAddress(t)
	text := strings.ReplaceAll(stunnelConfig, "@backend", serveHTTP(t, nil, hello))
	startServer(t, address, program, configure(t, dir, "stunnel.conf", files.fill(text, address)))
	return address
}

// serverConfig is that of a Go server with one mode of client authentication.
func (f *fixture) serverConfig(mode tls.ClientAuthType) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(f.clientCA.certificate)
	return &tls.Config{
		Certificates: []tls.Certificate{*f.server.tls()},
		ClientAuth:   mode,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS12,
	}
}

func goServer(mode tls.ClientAuthType, tickets bool) func(testing.TB, *fixture) string {
	return func(t testing.TB, f *fixture) string {
		config := f.serverConfig(mode)
		config.SessionTicketsDisabled = !tickets
		return serveHTTP(t, config, hello)
	}
}

// serveHTTP answers on loopback until the test ends, over TLS if there is a
// configuration for it: in HTTP/2 alone if that names it, else in HTTP/1.1.
func serveHTTP(t testing.TB, config *tls.Config, handler http.HandlerFunc) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		switch {
		case config == nil:
			_ = server.Serve(l)
		case slices.Contains(config.NextProtos, "h2"):
			server.Protocols = new(http.Protocols)
			server.Protocols.SetHTTP2(true)
			_ = server.ServeTLS(l, "", "")
		default:
			_ = server.Serve(tls.NewListener(l, config))
		}
	}()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return l.Addr().String()
}

func hello(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }

// serveRaw calls handle for each connection, and closes it afterwards or when
// the test ends.
func serveRaw(t testing.TB, handle func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			go func() { defer conn.Close(); handle(conn) }()
		}
	}()
	return l.Addr().String()
}

// serveSilence finishes handshakes and reads.
func serveSilence(t testing.TB, config *tls.Config) (address string) {
	return serveRaw(t, func(conn net.Conn) {
		_, _ = io.Copy(io.Discard, tls.Server(conn, config))
	})
}
