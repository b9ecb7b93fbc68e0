//go:build linux && amd64

package crash

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"
)

// The harness traces the program itself and does not leave it to strace, which
// counts the calls of each thread apart: the Go runtime moves a command from
// thread to thread, and some calls could never be met. Here calls are counted
// over all threads, so that "before call N" is every one of them.

// calls are those that change a file or flush one, by number.
func calls() map[uint64]string {
	return map[uint64]string{
		syscall.SYS_WRITE: "write", syscall.SYS_PWRITE64: "pwrite64", syscall.SYS_WRITEV: "writev", syscall.SYS_PWRITEV: "pwritev",
		syscall.SYS_FSYNC: "fsync", syscall.SYS_FDATASYNC: "fdatasync", syscall.SYS_SYNC_FILE_RANGE: "sync_file_range",
		syscall.SYS_RENAME: "rename", syscall.SYS_RENAMEAT: "rename", sysRenameat2: "rename",
		syscall.SYS_LINK: "link", syscall.SYS_LINKAT: "link", syscall.SYS_SYMLINK: "symlink", syscall.SYS_SYMLINKAT: "symlink",
		syscall.SYS_UNLINK: "unlink", syscall.SYS_UNLINKAT: "unlink", syscall.SYS_RMDIR: "rmdir",
		syscall.SYS_FTRUNCATE: "ftruncate", syscall.SYS_FALLOCATE: "fallocate", sysCopyFileRange: "copy_file_range",
		syscall.SYS_SENDFILE: "sendfile", syscall.SYS_SPLICE: "splice",
		syscall.SYS_OPEN: "create", syscall.SYS_OPENAT: "create", syscall.SYS_CREAT: "create", // where they create
		syscall.SYS_MKDIR: "mkdir", syscall.SYS_MKDIRAT: "mkdir",
		syscall.SYS_CHMOD: "chmod", syscall.SYS_FCHMOD: "chmod", syscall.SYS_FCHMODAT: "chmod",
		sysSyncfs: "syncfs",
	}
}

const (
	sysRenameat2     = 316
	sysCopyFileRange = 326
	sysSyncfs        = 306

	ptraceGetSyscallInfo = 0x420e
	ptraceExitKill       = 0x100000
	waitNoThread         = 0x20000000 // only for what this thread traces
)

// callInfo is the head of Linux's struct ptrace_syscall_info.
type callInfo struct {
	op   uint8 // 1: entering a call, 2: leaving one
	_    [3]uint8
	arch uint32
	_    [2]uint64 // instruction and stack pointer
	nr   uint64
	args [6]uint64
	_    [16]byte
}

// what becomes of a call.
type fate struct {
	kill  bool
	errno syscall.Errno // the call is not made, and fails with it
}

// run runs a program and asks what becomes of each call that changes a file,
// counted from 1. It gives what the process came to.
func run(cmd *exec.Cmd, decide func(n int, call string) fate) (status syscall.WaitStatus, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: it is the tracer, and ends with the goroutine
		status, err = trace(cmd, decide)
	}()
	<-done
	return status, err
}

func trace(cmd *exec.Cmd, decide func(n int, call string) fate) (syscall.WaitStatus, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	defer func() { _ = cmd.Process.Release() }() // waited for below
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return 0, err
	}
	const options = syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | syscall.PTRACE_O_TRACEFORK |
		syscall.PTRACE_O_TRACEVFORK | syscall.PTRACE_O_TRACEEXEC | ptraceExitKill
	if err := syscall.PtraceSetOptions(pid, options); err != nil {
		return 0, err
	}
	t := tracer{pid: pid, names: calls(), decide: decide, fails: map[int]syscall.Errno{}, seen: map[int]bool{pid: true}}
	_ = syscall.PtraceSyscall(pid, 0) // it fails for what has just been killed
	for {
		var ws syscall.WaitStatus
		tid, err := syscall.Wait4(-pid, &ws, syscall.WALL|waitNoThread, nil) // its group: this thread may have other children
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.ECHILD:
			return status, nil
		case err != nil:
			return status, err
		case !ws.Stopped():
			if tid == pid {
				status = ws
			}
			continue
		}
		signal, err := t.stopped(tid, ws)
		if err != nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // the first error is the one to tell
			return status, err
		}
		_ = syscall.PtraceSyscall(tid, int(signal))
	}
}

type tracer struct {
	pid    int
	names  map[uint64]string
	decide func(n int, call string) fate
	n      int
	fails  map[int]syscall.Errno // threads whose call is made to fail
	seen   map[int]bool
}

// stopped deals with a stop and gives the signal that the thread gets.
func (t *tracer) stopped(tid int, ws syscall.WaitStatus) (syscall.Signal, error) {
	const callStop = syscall.SIGTRAP | 0x80
	switch signal := ws.StopSignal(); {
	case signal == callStop:
		return 0, t.call(tid)
	case signal == syscall.SIGTRAP: // a thread or a process was made, or a program begun
		return 0, nil
	case signal == syscall.SIGSTOP && !t.seen[tid]:
		t.seen[tid] = true
		return 0, nil
	default:
		return signal, nil
	}
}

func (t *tracer) call(tid int) error {
	var info callInfo
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, ptraceGetSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno == syscall.ESRCH {
		return nil // killed
	}
	if errno != 0 {
		return errors.Join(errors.New("reading a system call"), errno)
	}
	if info.op == 2 {
		if errno, ok := t.fails[tid]; ok {
			delete(t.fails, tid)
			return setRegisters(tid, func(r *syscall.PtraceRegs) { r.Rax = uint64(-int64(errno)) })
		}
		return nil
	}
	name := t.names[info.nr]
	if name == "" || info.op != 1 || name == "create" && !creates(info) {
		return nil
	}
	if name == "write" {
		name = writeOf(info)
	}
	t.n++
	f := t.decide(t.n, name)
	switch {
	case f.kill:
		return syscall.Kill(t.pid, syscall.SIGKILL)
	case f.errno != 0:
		t.fails[tid] = f.errno
		return setRegisters(tid, func(r *syscall.PtraceRegs) { r.Orig_rax = ^uint64(0) })
	}
	return nil
}

// writeOf tells what is printed, and what the Go runtime wakes itself with,
// from what is written to files.
func writeOf(info callInfo) string {
	switch {
	case info.args[0] == 1 || info.args[0] == 2:
		return callPrint
	case info.args[2] == 8:
		return callWake
	}
	return "write"
}

const (
	callPrint = "print"
	callWake  = "wake"
)

func creates(info callInfo) bool {
	switch info.nr {
	case syscall.SYS_OPEN:
		return info.args[1]&syscall.O_CREAT != 0
	case syscall.SYS_OPENAT:
		return info.args[2]&syscall.O_CREAT != 0
	}
	return true
}

func setRegisters(tid int, change func(*syscall.PtraceRegs)) error {
	var regs syscall.PtraceRegs
	err := syscall.PtraceGetRegs(tid, &regs)
	if err == nil {
		change(&regs)
		err = syscall.PtraceSetRegs(tid, &regs)
	}
	if errors.Is(err, syscall.ESRCH) {
		return nil // killed
	}
	return err
}

// output is a file that a traced program writes to: nothing must have to read
// it meanwhile.
func output() (*os.File, error) {
	f, err := os.CreateTemp("", "crash")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
