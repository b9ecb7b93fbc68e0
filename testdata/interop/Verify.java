import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.security.cert.CRL;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.CertificateRevokedException;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Verifies certificates with Java's PKIX validator and CRLs. Each line of the standard input holds,
 * separated by tabs: the file of the trust anchors, of the CRLs, and of the chain (end entity first,
 * without the anchor), and the extended key usage that the end entity must have. The answer is a
 * line: "good", "revoked REASON", or "bad" and why.
 */
public final class Verify {
    private static final CertificateFactory X509 = factory();

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] field = line.split("\t");
            System.out.println(judge(field[0], field[1], field[2], field[3]));
        }
    }

    private static String judge(String anchor, String crls, String chain, String usage) {
        try {
            validate(anchor, crls, chain, usage);
            return "good";
        } catch (CertPathValidatorException e) {
            if (e.getCause() instanceof CertificateRevokedException revoked) {
                return "revoked " + revoked.getRevocationReason();
            }
            return "bad " + e.getReason() + ": " + e.getMessage();
        } catch (Exception e) {
            return "bad " + e;
        }
    }

    private static void validate(String anchor, String crls, String chain, String usage) throws Exception {
        Set<TrustAnchor> anchors = new HashSet<>();
        for (Certificate root : certificates(anchor)) {
            anchors.add(new TrustAnchor((X509Certificate) root, null));
        }
        PKIXParameters parameters = new PKIXParameters(anchors);
        parameters.setRevocationEnabled(true);
        parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(lists(crls))));
        X509CertSelector target = new X509CertSelector();
        target.setExtendedKeyUsage(Set.of(usage));
        parameters.setTargetCertConstraints(target);
        CertPathValidator.getInstance("PKIX")
                .validate(X509.generateCertPath(List.copyOf(certificates(chain))), parameters);
    }

    private static Collection<? extends Certificate> certificates(String file) throws Exception {
        try (InputStream in = new FileInputStream(file)) {
            return X509.generateCertificates(in);
        }
    }

    private static Collection<? extends CRL> lists(String file) throws Exception {
        try (InputStream in = new FileInputStream(file)) {
            return X509.generateCRLs(in);
        }
    }

    private static CertificateFactory factory() {
        try {
            return CertificateFactory.getInstance("X.509");
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }
}
