import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Scanner;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/**
 * Opens connections to a gate, keeps a session, and says what it sees as JSON lines. When the
 * certificate was revoked, it is told on its standard input how many milliseconds a connection may
 * take to end, and says what became of the connections, of the session, and of a new handshake. Arguments: the address of the gate for HTTP and of the one for
 * TCP, the files of root, certificate and key, the version of TLS, and the name that the upstream is
 * told.
 */
public final class GateClient {
    private static String web, raw, version, name;

    public static void main(String[] args) throws Exception {
        web = args[0];
        raw = args[1];
        version = "TLSv" + args[5];
        name = args[6];
        SSLContext context = context(args[2], args[3], args[4]);
        say("first", call(context));
        List<Live> live = List.of(download(context), idle(context), tcp(context));
        for (Live l : live) {
            l.awaitStart();
        }
        System.out.println("{\"case\":\"ready\",\"state\":\"open\"}");
        long left = new Scanner(System.in).nextLong();
        long deadline = System.currentTimeMillis() + left;
        for (Live l : live) {
            l.join(Math.max(1, deadline - System.currentTimeMillis()));
            System.out.printf("{\"case\":\"%s\",\"state\":\"%s\",\"late\":%d,\"how\":\"%s\"}%n",
                    l.getName(), l.isAlive() ? "alive" : "cut", l.late, quoted(l.how));
        }
        say("resume", call(context));
        say("new", call(context(args[2], args[3], args[4])));
        System.exit(0); // HttpClient has threads
    }

    /** Reads octets until nothing comes any more. */
    private static final class Live extends Thread {
        interface Source {
            int read(byte[] into) throws IOException;
        }

        private final Source in;
        volatile int late;
        volatile String how = "closed";
        private volatile boolean started;

        Live(String name, boolean started, Source in) {
            super(name);
            this.in = in;
            this.started = started;
            setDaemon(true);
            start();
        }

        @Override
        public void run() {
            byte[] octets = new byte[1 << 16];
            try {
                for (int n = in.read(octets); n >= 0; n = in.read(octets)) {
                    for (int i = 0; i < n; i++) {
                        late += octets[i] == 'A' ? 1 : 0; // made after the revocation
                    }
                    started = true;
                }
            } catch (IOException e) {
                how = e.toString();
            }
        }

        void awaitStart() throws InterruptedException {
            while (!started && isAlive()) {
                Thread.sleep(5);
            }
        }
    }

    /** A download in HTTP/2. */
    private static Live download(SSLContext context) throws Exception {
        HttpClient client = HttpClient.newBuilder().sslContext(context)
                .sslParameters(parameters()).version(HttpClient.Version.HTTP_2).build();
        URI uri = URI.create("https://localhost:" + port(web) + "/down?cell=" + name);
        HttpResponse<InputStream> answer = client.send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofInputStream());
        if (answer.version() != HttpClient.Version.HTTP_2) {
            throw new IOException("it is " + answer.version());
        }
        return new Live("download", false, answer.body()::read);
    }

    private static Live idle(SSLContext context) throws Exception {
        SSLSocket socket = connect(context, web);
        send(socket, "GET /one?cell=" + name + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
        StringBuilder text = new StringBuilder();
        while (!text.toString().contains("\r\n\r\nbbbb")) {
            text.append((char) socket.getInputStream().read());
        }
        return new Live("idle", true, socket.getInputStream()::read);
    }

    private static Live tcp(SSLContext context) throws Exception {
        SSLSocket socket = connect(context, raw);
        send(socket, name + "\nb");
        InputStream in = socket.getInputStream();
        return new Live("tcp", false, octets -> {
            int n = in.read(octets);
            send(socket, "b");
            return n;
        });
    }

    private record Outcome(String state, boolean resumed, String how) {}

    /** Makes one call on a connection of its own, with the session of the context if it has one. */
    private static Outcome call(SSLContext context) {
        boolean resumed = false;
        String text = "";
        String how = "closed";
        try (SSLSocket socket = connect(context, web)) {
            socket.startHandshake();
            resumed = socket.getSession().getValue("kept") != null; // values stay with a session
            socket.getSession().putValue("kept", true);
            send(socket, "GET /one?cell=" + name + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            text = new String(socket.getInputStream().readAllBytes(), StandardCharsets.US_ASCII);
        } catch (IOException e) {
            how = e.toString();
        }
        return text.isEmpty() ? new Outcome("refused", resumed, how) : new Outcome("answered", resumed, text.split("\r\n")[0]);
    }

    private static void say(String what, Outcome o) {
        System.out.printf("{\"case\":\"%s\",\"state\":\"%s\",\"resumed\":%b,\"how\":\"%s\"}%n", what, o.state, o.resumed, quoted(o.how));
    }

    private static String quoted(String text) {
        return text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\s", " ");
    }

    private static void send(Socket socket, String text) throws IOException {
        socket.getOutputStream().write(text.getBytes(StandardCharsets.US_ASCII));
        socket.getOutputStream().flush();
    }

    private static int port(String address) {
        return Integer.parseInt(address.substring(address.lastIndexOf(':') + 1));
    }

    private static SSLParameters parameters() {
        SSLParameters p = new SSLParameters();
        p.setProtocols(new String[] {version});
        p.setEndpointIdentificationAlgorithm("HTTPS");
        return p;
    }

    private static SSLSocket connect(SSLContext context, String address) throws IOException {
        SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("localhost", port(address));
        socket.setSSLParameters(parameters());
        socket.setSoTimeout(10_000);
        return socket;
    }

    private static SSLContext context(String root, String cert, String key) throws Exception {
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        List<Certificate> roots = certificates(root);
        for (int i = 0; i < roots.size(); i++) {
            trusted.setCertificateEntry("root " + i, roots.get(i));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        KeyStore own = KeyStore.getInstance("PKCS12");
        own.load(null, null);
        own.setKeyEntry("client", key(key), new char[0], certificates(cert).toArray(new Certificate[0]));
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(own, new char[0]);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    private static List<Certificate> certificates(String file) throws Exception {
        try (InputStream in = new FileInputStream(file)) {
            return new ArrayList<>(CertificateFactory.getInstance("X.509").generateCertificates(in));
        }
    }

    private static PrivateKey key(String file) throws Exception {
        String body = Files.readString(Path.of(file)).replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
        return KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(body)));
    }
}
