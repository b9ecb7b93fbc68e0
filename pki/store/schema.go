package store

// schemaVersion is what PRAGMA user_version says of a database that this code
// wrote.
const schemaVersion = versionScale

// The versions after the first.
const (
	versionRenewal = 2
	versionScale   = 3
)

// migrations are what each version adds to the one before it, from version 2
// on. A new database gets the schema and then all of them.
func migrations() []string { return []string{schemaRenewal, schemaScale} }

// schemaRenewal: place is where the files of a certificate lie. replacement is
// a renewal that is not settled: until due is set the new files may not be in
// their place; from due on the old certificate is superseded, and the row goes.
// The first databases of version 1 lack two indexes and the number of
// revocations.
const schemaRenewal = `
CREATE TABLE place (
	certificate      INTEGER PRIMARY KEY REFERENCES certificate(id),
	key_file         TEXT NOT NULL,
	certificate_file TEXT NOT NULL,
	combined_file    TEXT NOT NULL
);
CREATE INDEX place_certificate_file ON place (certificate_file);
CREATE TABLE replacement (
	old              INTEGER PRIMARY KEY REFERENCES certificate(id),
	new              INTEGER NOT NULL REFERENCES certificate(id),
	key_file         TEXT    NOT NULL,
	certificate_file TEXT    NOT NULL,
	combined_file    TEXT    NOT NULL,
	remember         INTEGER NOT NULL,
	grace            INTEGER,
	due              INTEGER
);
CREATE INDEX replacement_new ON replacement (new);
CREATE INDEX IF NOT EXISTS certificate_subject_ca ON certificate (subject_ca) WHERE subject_ca IS NOT NULL;
CREATE INDEX IF NOT EXISTS certificate_replaced_by ON certificate (replaced_by) WHERE replaced_by IS NOT NULL;
INSERT INTO counters (name, value) SELECT 'revocations', (SELECT COUNT(*) FROM revocation)
	WHERE NOT EXISTS (SELECT 1 FROM counters WHERE name = 'revocations');
`

// schemaScale keeps a PKI of a million certificates fast. What each act keeps
// besides the rows of version 2:
//
// certificate.revoked is 1 while the certificate has a row in revocation, so
// that the partial indexes give what is in force, and what is not, in the order
// in which it ends. Indexes that a lookup can do without are gone: each costs
// every issue a page at random.
//
// expiry counts the leaves, clients' and servers', of each issuer by the hour in
// which they end (not_after / 3600): in force (and of these, replaced ones), held,
// revoked.
//
// released has the serials whose hold has ended since a list carried them: the
// next list, which is made of the last one, leaves them out. The row goes when
// that list is recorded.
const schemaScale = `
DROP INDEX certificate_serial;
DROP INDEX certificate_sha1;
DROP INDEX certificate_label;
ALTER TABLE certificate ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0;
UPDATE certificate SET revoked = 1 WHERE id IN (SELECT certificate FROM revocation);
CREATE INDEX certificate_in_force ON certificate (not_after, id) WHERE revoked = 0;
CREATE INDEX certificate_revoked ON certificate (not_after, id) WHERE revoked = 1;
CREATE INDEX certificate_label ON certificate (label, not_after, id) WHERE label <> '';
CREATE INDEX certificate_kind ON certificate (kind, not_after, id) WHERE kind <> 'client';
CREATE INDEX certificate_early ON certificate (not_before) WHERE not_before > issued;
CREATE INDEX identity_blocked ON identity (id) WHERE blocked IS NOT NULL;
CREATE INDEX revocation_epoch ON revocation (epoch);
CREATE INDEX replacement_due ON replacement (due);
CREATE INDEX revocation_unlisted ON revocation (certificate) WHERE listed_from IS NULL;
CREATE TABLE released (
	issuer INTEGER NOT NULL REFERENCES ca(id),
	serial BLOB    NOT NULL,
	epoch  INTEGER NOT NULL,
	PRIMARY KEY (issuer, serial)
);
CREATE TABLE expiry (
	issuer   INTEGER NOT NULL REFERENCES ca(id),
	hour     INTEGER NOT NULL,
	in_force INTEGER NOT NULL,
	replaced INTEGER NOT NULL,
	held     INTEGER NOT NULL,
	revoked  INTEGER NOT NULL,
	PRIMARY KEY (issuer, hour)
);
INSERT INTO expiry (issuer, hour, in_force, replaced, held, revoked)
	` + standingQuery + `;
`

// schema is version 1. It is portable SQL: integer times (seconds since 1970, UTC), no rowid.
//
// A ca row is a CA key; its certificates stand in certificate, with
// subject_ca. changed is the newest epoch at which the CA's list changed: its
// CRL is overdue while the newest crl row covers less.
const schema = `
CREATE TABLE ca (
	id         INTEGER PRIMARY KEY,
	role       TEXT    NOT NULL,
	key_id     BLOB    NOT NULL UNIQUE,
	created    INTEGER NOT NULL,
	retired    INTEGER,
	changed    INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE identity (
	id           INTEGER PRIMARY KEY,
	name         TEXT    NOT NULL UNIQUE,
	folded       TEXT    NOT NULL UNIQUE,
	created      INTEGER NOT NULL,
	blocked      INTEGER,
	block_reason INTEGER
);
CREATE TABLE certificate (
	id          INTEGER PRIMARY KEY,
	issuer      INTEGER NOT NULL REFERENCES ca(id),
	serial      BLOB    NOT NULL,
	identity    INTEGER REFERENCES identity(id),
	subject_ca  INTEGER REFERENCES ca(id),
	kind        TEXT    NOT NULL,
	label       TEXT    NOT NULL,
	not_before  INTEGER NOT NULL,
	not_after   INTEGER NOT NULL,
	issued      INTEGER NOT NULL,
	backdated   INTEGER NOT NULL,
	journal     INTEGER,
	sha256      BLOB UNIQUE,
	sha1        BLOB,
	der         BLOB,
	replaced_by INTEGER REFERENCES certificate(id),
	digest      BLOB,
	UNIQUE (issuer, serial)
);
CREATE INDEX certificate_identity ON certificate (identity, not_after);
CREATE INDEX certificate_not_after ON certificate (not_after, id);
CREATE INDEX certificate_serial ON certificate (serial);
CREATE INDEX certificate_sha1 ON certificate (sha1);
CREATE INDEX certificate_subject_ca ON certificate (subject_ca) WHERE subject_ca IS NOT NULL;
CREATE INDEX certificate_replaced_by ON certificate (replaced_by) WHERE replaced_by IS NOT NULL;
CREATE INDEX certificate_label ON certificate (label);
CREATE TABLE revocation (
	certificate INTEGER PRIMARY KEY REFERENCES certificate(id),
	reason      INTEGER NOT NULL,
	done        INTEGER NOT NULL,
	listed_from INTEGER,
	epoch       INTEGER NOT NULL,
	digest      BLOB    NOT NULL
);
CREATE TABLE change (
	epoch   INTEGER PRIMARY KEY,
	at      INTEGER NOT NULL,
	what    TEXT    NOT NULL,
	journal INTEGER NOT NULL
);
CREATE TABLE crl (
	issuer      INTEGER NOT NULL REFERENCES ca(id),
	number      INTEGER NOT NULL,
	this_update INTEGER NOT NULL,
	next_update INTEGER NOT NULL,
	entries     INTEGER NOT NULL,
	epoch       INTEGER NOT NULL,
	journal     INTEGER NOT NULL,
	signature   BLOB    NOT NULL,
	sha256      BLOB    NOT NULL,
	der         BLOB,
	PRIMARY KEY (issuer, number)
);
CREATE TABLE journal (
	number    INTEGER PRIMARY KEY,
	line      BLOB NOT NULL,
	hash      BLOB NOT NULL,
	signature BLOB
);
CREATE TABLE counters (
	name  TEXT PRIMARY KEY,
	value INTEGER NOT NULL
);
CREATE TABLE setting (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('epoch', 0), ('clock', 0), ('journal', 0), ('revocations', 0);
`
