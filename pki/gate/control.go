package gate

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"mutual/pki/internal/durable"
)

// A gate that follows a PKI has a socket in the PKI's directory of gates. An act
// that changes who is let in connects to each and says "look": the gate reads the
// database, cuts who is out, and answers. It believes nothing that it is told
// there. How the entries of the directory are called:
const (
	socketSuffix = ".sock"  // a socket
	pathSuffix   = ".path"  // a file that names a socket elsewhere: its path would be too long
	addedSuffix  = ".added" // the same, of a gate that runs as another user and reads the published lists
)

// maxSocketPath is what every system takes, less what open adds.
const maxSocketPath = 103 - len(newSuffix)

// newSuffix is of a socket that does not have its name yet.
const newSuffix = ".new"

// look is what a gate is told, one line of JSON.
type look struct {
	Epoch int64 `json:"epoch"`
}

// Looked as the gate answers it.
type lookAnswer struct {
	Process int               `json:"process"`
	Listen  string            `json:"listen"`
	Epoch   int64             `json:"epoch"`
	Lists   map[string]string `json:"lists,omitempty"` // numbers by key identifier, of a gate that reads lists
	Cut     int               `json:"cut"`
	TookMs  float64           `json:"tookMs"`
	Error   string            `json:"error,omitempty"`
}

// Control is the socket of a gate.
type Control struct {
	listener net.Listener
	entries  []string // to be removed, the directory's entry first
	lock     *os.File // of an entry that names a socket elsewhere
	busy     chan struct{}
	listen   string
	group    sync.WaitGroup
}

// ListenControl makes the socket of a gate in the directory of gates, or where
// its path would be too long in a new directory below elsewhere. It must be there
// before the gate reads the PKI: an act that does not see it has been read then.
// listen is how the gate is called.
func ListenControl(gates, elsewhere, listen string) (*Control, error) {
	if err := os.Mkdir(gates, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("making the gate's socket: %w", err)
	}
	random := make([]byte, 4)
	_, _ = rand.Read(random) // never fails
	name := filepath.Join(gates, fmt.Sprintf("%d-%x", os.Getpid(), random))
	path := name + socketSuffix
	c := &Control{listen: listen, entries: []string{path}}
	if len(path) > maxSocketPath {
		dir, err := os.MkdirTemp(elsewhere, "mutual-gate-")
		if err != nil {
			return nil, fmt.Errorf("making the gate's socket: %w", err)
		}
		path = filepath.Join(dir, "look"+socketSuffix)
		c.entries = []string{name + pathSuffix, path, dir}
	}
	if err := c.open(path); err != nil {
		return nil, err
	}
	if entry := c.entries[0]; entry != path {
		if err := c.point(entry, path); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// point writes the entry that names a socket elsewhere, and locks it for as long
// as this process lives: a socket that somebody has removed does not make a gate
// dead.
func (c *Control) point(entry, path string) error {
	err := durable.WriteFile(entry, []byte(path), 0o600)
	if err == nil {
		c.lock, err = holdFile(entry)
	}
	if err != nil {
		return fmt.Errorf("making the gate's socket: %w", err)
	}
	return nil
}

// ListenControlAt makes the socket of a gate at a path that the owner of the PKI
// is told of. Whoever may enter its directory may tell the gate to look.
func ListenControlAt(path, listen string) (*Control, error) {
	if err := freeSocket(path); err != nil {
		return nil, fmt.Errorf("making the gate's socket: %w", err)
	}
	c := &Control{listen: listen, entries: []string{path}}
	if err := c.open(path); err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // see above
		c.Close()
		return nil, fmt.Errorf("making the gate's socket: %w", err)
	}
	return c, nil
}

// open listens before the socket has its name: one that is not listened at yet
// would be taken for a dead gate's.
func (c *Control) open(path string) error {
	l, err := ListenUnix(path + newSuffix)
	if err != nil {
		return fmt.Errorf("making the gate's socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // it has another name by then
	c.listener, c.busy = l, make(chan struct{}, mostAsking)
	if err := os.Rename(path+newSuffix, path); err != nil {
		_ = os.Remove(path + newSuffix) // the first error is the one to report
		_ = l.Close()
		return fmt.Errorf("making the gate's socket: %w", err)
	}
	return nil
}

// ListenUnix listens at a socket in the file system. That of a process that is gone
// is replaced.
func ListenUnix(path string) (*net.UnixListener, error) {
	if err := freeSocket(path); err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}

// freeSocket removes the socket of a process that is gone. What is anything else
// is an error.
func freeSocket(path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case st.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("somebody listens at %s: %w", path, syscall.EADDRINUSE)
	}
	if !isDead(err) {
		return err
	}
	return os.Remove(path)
}

// mostAsking bounds how many ask at once.
const mostAsking = 16

// Serve answers until Close.
func (c *Control) Serve(g *Gate) {
	for {
		conn, err := c.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(10 * time.Millisecond) // such as too many open files: it passes
			continue
		}
		c.busy <- struct{}{}
		c.group.Go(func() {
			c.answer(conn, g)
			<-c.busy
		})
	}
}

// controlPatience bounds how long an answer may take.
const controlPatience = 30 * time.Second

func (c *Control) answer(conn net.Conn, g *Gate) {
	defer func() { _ = conn.Close() }() // it was answered
	_ = conn.SetDeadline(after(askPatience))
	var asked look
	if err := readLine(conn, &asked); err != nil {
		return // nobody who knows the protocol
	}
	_ = conn.SetDeadline(after(controlPatience))
	looked := g.Look(context.Background())
	answer := lookAnswer{Process: os.Getpid(), Listen: c.listen, Epoch: looked.Epoch.Number, Cut: looked.Cut,
		TookMs: float64(looked.Took.Microseconds()) / 1000}
	if looked.Err != nil {
		answer.Error = oneLine(looked.Err.Error())
	}
	if files, ok := g.config.Source.(*FileSource); ok {
		answer.Lists = map[string]string{}
		for id, number := range files.Numbers() {
			answer.Lists[id] = number.String()
		}
	}
	if line, err := json.Marshal(answer); err == nil {
		_, _ = conn.Write(append(line, '\n')) // who asked may have gone
	}
}

// maxLine bounds what either side says.
const maxLine = 64 << 10

func readLine(conn net.Conn, into any) error {
	text, err := bufio.NewReader(&limited{conn, maxLine}).ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// limited ends a reader after a number of octets with an error.
type limited struct {
	conn net.Conn
	left int
}

// Read implements io.Reader.
func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("the line is too long")
	}
	n, err := l.conn.Read(b[:min(len(b), l.left)])
	l.left -= n
	return n, err
}

// Close removes the socket.
func (c *Control) Close() {
	_ = os.Remove(c.entries[0]) // nobody finds it any more
	if c.listener != nil {
		_ = c.listener.Close()
	}
	c.group.Wait()
	if c.lock != nil {
		_ = c.lock.Close()
	}
	for _, entry := range c.entries[1:] {
		_ = os.Remove(entry)
	}
}

// Acknowledged is what a gate answered to an act.
type Acknowledged struct {
	Gate    string  `json:"gate"` // where it listens
	Process int     `json:"process,omitempty"`
	Epoch   int64   `json:"epoch,omitempty"`
	Cut     int     `json:"cut"`
	TookMs  float64 `json:"tookMs"` // from the call until the answer
	Error   string  `json:"error,omitempty"`

	lists bool // it reads revocation lists, and no PKI
}

// askPatience is how long a gate may take to answer.
const askPatience = 2 * time.Second

// Tell tells the gates of a PKI, all at once, to look, and waits for their
// answers: each has then cut who is out at the epoch, or is named with what went
// wrong. A socket that nobody listens at is a dead gate's: it is removed and not
// counted. added tells those that read published lists instead, which must hold
// the numbers by then.
func Tell(ctx context.Context, gates string, epoch int64, added bool, numbers map[string]string, now func() time.Time) ([]Acknowledged, error) {
	entries, err := os.ReadDir(gates)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for gates: %w", err)
	}
	var group sync.WaitGroup
	answers := make(chan Acknowledged, len(entries))
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), addedSuffix) != added {
			continue
		}
		name := filepath.Join(gates, entry.Name())
		path, err := socketOf(name)
		switch {
		case err != nil:
			answers <- Acknowledged{Gate: name, Error: oneLine(err.Error())}
			continue
		case path == "":
			continue
		}
		group.Go(func() {
			a, alive := ask(ctx, path, epoch, numbers, now)
			switch {
			case alive && !added && a.lists:
				a.Error = "it reads revocation lists: it is to be added with mutual gate add"
				answers <- a
			case alive, strings.HasSuffix(name, pathSuffix) && isHeld(name):
				answers <- a
			case !added:
				_ = os.Remove(name) // another act may have done so
			}
		})
	}
	group.Wait()
	close(answers)
	var out []Acknowledged
	for a := range answers {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b Acknowledged) int { return strings.Compare(a.Gate, b.Gate) })
	return out, nil
}

// socketOf gives the socket that an entry of the directory of gates means; "" is
// of something else, or of an entry that has just gone.
func socketOf(entry string) (string, error) {
	switch filepath.Ext(entry) {
	case socketSuffix:
		return entry, nil
	case pathSuffix, addedSuffix:
		path, err := os.ReadFile(entry)
		switch text := strings.TrimSpace(string(path)); {
		case errors.Is(err, fs.ErrNotExist):
			return "", nil
		case err != nil:
			return "", err
		case !filepath.IsAbs(text):
			return "", errors.New("it does not say where the socket of the gate is")
		default:
			return text, nil
		}
	}
	return "", nil
}

// ask asks one gate. alive is false where nobody listens.
func ask(ctx context.Context, path string, epoch int64, numbers map[string]string, now func() time.Time) (a Acknowledged, alive bool) {
	began := now()
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	a.Gate = path // until it says where it listens
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		a.Error = oneLine(err.Error())
		return a, !isDead(err)
	}
	defer func() { _ = conn.Close() }() // it has answered
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	var answer lookAnswer
	question, err := json.Marshal(look{Epoch: epoch})
	if err == nil {
		_, err = conn.Write(append(question, '\n'))
	}
	if err == nil {
		err = readLine(conn, &answer)
	}
	a.TookMs = float64(now().Sub(began).Microseconds()) / 1000
	var timeout net.Error
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		a.Error = fmt.Sprintf("it did not answer within %s", askPatience)
		return a, true
	case err != nil:
		a.Error = "it did not answer: " + oneLine(err.Error())
		return a, true
	}
	a.lists = answer.Lists != nil
	a.Gate, a.Process, a.Epoch, a.Cut, a.Error = answer.Listen, answer.Process, answer.Epoch, answer.Cut, answer.Error
	switch {
	case a.Error != "":
	case answer.Lists != nil:
		a.Error = lacking(answer.Lists, numbers)
	case a.Epoch < epoch:
		a.Error = fmt.Sprintf("it has read epoch %d, and not %d", a.Epoch, epoch)
	}
	return a, true
}

// isDead matches the socket of a process that is gone.
func isDead(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || isRefused(err)
}

// lacking says which list a gate has not read, or "".
func lacking(has, numbers map[string]string) string {
	for id, number := range numbers {
		got, ok := has[id]
		if !ok || compareNumbers(got, number) < 0 {
			return fmt.Sprintf("it has not read list %s of the CA %s", number, id)
		}
	}
	return ""
}

// compareNumbers compares decimal numbers of any size.
func compareNumbers(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// Add registers the socket of a gate that runs as another user, so that acts tell
// it, too. It must answer.
func Add(ctx context.Context, gates, socket string, now func() time.Time) error {
	path, err := filepath.Abs(socket)
	if err != nil {
		return err
	}
	a, _ := ask(ctx, path, 0, nil, now)
	switch {
	case a.Error != "":
		return fmt.Errorf("no gate answers at %s: %s", path, a.Error)
	case !a.lists:
		return fmt.Errorf("the gate at %s follows a PKI, which finds it by itself", path)
	}
	if err := os.Mkdir(gates, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("adding the gate: %w", err)
	}
	name := filepath.Join(gates, shortSum(path)+addedSuffix)
	if err := durable.WriteFile(name, []byte(path+"\n"), 0o600); err != nil {
		return fmt.Errorf("adding the gate: %w", err)
	}
	return nil
}

func shortSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}
