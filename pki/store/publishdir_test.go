package store

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"mutual/pki"
)

// What servers read lies apart from the PKI and replaces nothing of somebody
// else's.
func TestPublishPlaces(t *testing.T) {
	f, other := newFixture(t), newFixture(t)
	for _, row := range []struct {
		name  string
		dir   string
		make  func(dir string)
		is    error
		wants string
	}{
		{"the PKI", f.dir, nil, ErrBadPlace, "it is the PKI's own directory"},
		{"in the PKI", f.Path("crl/pub"), nil, ErrBadPlace, "it lies in the PKI's own directory " + f.dir},
		{"around the PKI", filepath.Dir(f.dir), nil, ErrBadPlace, "the PKI " + f.dir + " lies in it"},
		{"by a link", filepath.Join(t.TempDir(), "link", "x"), func(dir string) { f.must(os.Symlink(f.dir, filepath.Dir(dir))) }, ErrBadPlace, "it lies in the PKI's own directory"},
		{"another PKI's certificate", t.TempDir(), func(dir string) {
			write(t, filepath.Join(dir, "ca.crt"), read(t, other.Path("ca.crt")))
		}, ErrForeign, "ca.crt"},
		{"no certificate", t.TempDir(), func(dir string) { write(t, filepath.Join(dir, "root.crt"), []byte("mine\n")) }, ErrForeign, "root.crt"},
		{"another PKI's list", t.TempDir(), func(dir string) {
			f.must(os.Mkdir(filepath.Join(dir, "crl"), 0o700))
			write(t, filepath.Join(dir, "crl/chain.pem"), read(t, other.Path("crl/chain.pem")))
		}, ErrForeign, "chain.pem"},
		{"our own files", t.TempDir(), func(dir string) { f.must(os.CopyFS(dir, os.DirFS(f.dir))) }, nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.make != nil {
				if runtime.GOOS == "windows" && row.name == "by a link" {
					t.Skip("links need a privilege here")
				}
				row.make(row.dir)
			}
			before := files(t, filepath.Dir(row.dir))
			_, changed, err := f.Set(t.Context(), "publish", row.dir)
			if row.is == nil {
				if err != nil || !changed {
					t.Errorf("it is refused: %v", err)
				}
				return
			}
			wantError(t, err, row.is, "publishing in "+row.dir+": ")
			wantError(t, err, row.is, row.wants)
			if after := files(t, filepath.Dir(row.dir)); len(after) != len(before) {
				t.Errorf("files appeared: %v", after)
			}
		})
	}
}

// Init looks at the place, too; whatever is there is somebody else's.
func TestInitPublishPlaces(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	for _, row := range []struct {
		publish string
		is      error
	}{
		{filepath.Join(dir, "pki", "pub"), ErrBadPlace},
		{dir, ErrBadPlace},
		{f.dir, ErrForeign},
	} {
		req := request()
		req.Settings.Publish = row.publish
		_, err := Init(t.Context(), filepath.Join(dir, "pki"), req, f.options())
		wantError(t, err, row.is, "publishing in "+row.publish+": ")
		if got := files(t, dir); len(got) != 1 {
			t.Errorf("there are %v", got)
		}
	}
}

// The way to what servers read is open to them, or it is said where it is not.
func TestUnreachable(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing here")
	}
	if got := Unreachable("/"); got != "" {
		t.Errorf("%q keeps others out", got)
	}
	dir := t.TempDir()
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o750); err != nil {
		t.Fatal(err)
	}
	if got := Unreachable(filepath.Join(closed, "pub")); got != realPath(closed) {
		t.Errorf("%q keeps others out", got)
	}
}

// What is missing is told apart: files that can be written again without a
// key, and a list that must be signed.
func TestDueFiles(t *testing.T) {
	published := filepath.Join(t.TempDir(), "pub")
	f := newFixture(t, func(r *InitRequest) { r.Settings.Publish = published })
	for _, row := range []struct {
		gone []string
		want []Due
	}{
		{[]string{published}, []Due{{What: "the publish directory " + published + " is incomplete", Remedy: RemedyWrite}}},
		{[]string{filepath.Join(published, "ca.crt")}, []Due{{What: "the publish directory " + published + " is incomplete", Remedy: RemedyWrite}}},
		{[]string{f.Path("crl/issuing.crl")}, []Due{{What: "the CRL of the issuing CA is not in its files", Remedy: RemedyWrite}}},
		{[]string{f.Path("crl/root.crl"), filepath.Join(published, "crl/root.crl")}, []Due{
			{What: "the CRL of the root CA is not in its files", Remedy: RemedyWrite},
			{What: "the publish directory " + published + " is incomplete", Remedy: RemedyWrite}}},
		{[]string{f.Path("crl/issuing.crl"), filepath.Join(published, "crl/issuing.crl")}, []Due{{What: "the CRL of the issuing CA is lost and must be signed again", Remedy: RemedySign}}},
	} {
		for _, path := range row.gone {
			f.must(os.RemoveAll(path))
		}
		f.wantDue(row.want...)
		key := f.Path("issuing.key")
		if row.want[0].Remedy == RemedyWrite { // and no key is needed
			f.must(os.Rename(key, key+".away"))
		}
		f.reopen()
		f.must(f.Publish(t.Context()))
		_ = os.Rename(key+".away", key)
		f.wantDue()
	}
}

// Without the issuing CA's key nothing goes on for long; the root's may be
// elsewhere.
func TestDueKey(t *testing.T) {
	f := newFixture(t)
	f.must(os.Remove(f.Path("root.key")))
	f.wantDue()
	f.must(os.Remove(f.Path("issuing.key")))
	f.wantDue(Due{What: "the issuing CA's key is not here: nothing can be issued, and no CRL can be made", Remedy: RemedyRestoreKey})
	if _, err := f.KeyIsEncrypted(pki.KindIssuing); err == nil {
		t.Error("a key that is not there has been looked at")
	}
}

func (f *fixture) wantDue(want ...Due) {
	f.t.Helper()
	s, err := f.Status(f.t.Context())
	f.must(err)
	got := f.Due(s)
	for i := range got {
		got[i].List, got[i].CA = nil, nil
	}
	if len(got) != len(want) {
		f.t.Errorf("due are %v, want %v", got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			f.t.Errorf("due is %v, want %v", got[i], want[i])
		}
	}
}

// The list of an older CA that has expired, and whose file is gone, keeps
// nothing from being published.
func TestPublishWithoutAListThatIsOver(t *testing.T) {
	f := newFixture(t)
	f.renew(pki.KindIssuing, "9y", rekey)
	old, err := filepath.Glob(f.Path("crl/issuing-*"))
	f.must(err)
	f.now = start().AddDate(6, 0, 0)
	for _, path := range old {
		f.must(os.Remove(path))
	}
	served := filepath.Join(t.TempDir(), "served")
	_, _, err = f.Set(t.Context(), "publish", served)
	f.must(err)
	if _, err := os.Stat(filepath.Join(served, "crl", "issuing.crl")); err != nil || len(old) != 2 {
		t.Errorf("%v; the older CA's files were %v", err, old)
	}
}
