package commands_test

import (
	"bufio"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// javaVerifier is one Java that judges everything for a test, for it takes
// half a second to start. The first question starts it.
type javaVerifier struct {
	t       *testing.T // ends Java when it ends
	start   sync.Once
	mu      sync.Mutex // one question and its answer at a time
	ask     func(line string) error
	answers *bufio.Scanner
}

func (j *javaVerifier) verdict(p *interopPKI, leaf interopLeaf) string {
	p.t.Helper()
	j.start.Do(func() { j.run(p.t) })
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.answers == nil {
		p.t.Fatal("java did not start")
	}
	question := strings.Join([]string{
		p.file("root.crt"), p.crls(), leaf.chain,
		leaf.choose("1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.1"),
	}, "\t")
	if err := j.ask(question); err != nil {
		p.t.Fatalf("asking java: %v", err)
	}
	if !j.answers.Scan() {
		p.t.Fatalf("java gives no answer: %v", j.answers.Err())
	}
	answer := j.answers.Text()
	for _, reason := range []string{"certificateHold", "keyCompromise", "cessationOfOperation"} {
		if strings.EqualFold(strings.ReplaceAll(answer, "_", ""), "revoked "+reason) {
			return "revoked " + reason
		}
	}
	return answer
}

// run starts Java, for two minutes at most, on behalf of the test that asks
// first.
func (j *javaVerifier) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	cmd := exec.CommandContext(ctx, "java", "-XX:TieredStopAtLevel=1",
		filepath.Join("..", "testdata", "interop", "Verify.java"))
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if inErr != nil || outErr != nil {
		cancel()
		t.Fatalf("connecting to java: %v, %v", inErr, outErr)
	}
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("starting java: %v", err)
	}
	j.ask = func(line string) error { _, err := in.Write([]byte(line + "\n")); return err }
	j.answers = bufio.NewScanner(out)
	j.t.Cleanup(func() {
		defer cancel()
		_ = in.Close() // it ends with its input
		if err := cmd.Wait(); err != nil {
			j.t.Errorf("java: %v\n%s", err, complaints.String())
		}
	})
}
