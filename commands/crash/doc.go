// Package crash holds the tests that kill, starve and damage the real program:
// at every call that changes a file, at random times, with disks that are full
// or broken, with databases that are cut or have flipped bits, and with many
// processes at once. Its tests run a short form; the long forms are
//
//	go test ./commands/crash -run TestKills -kills 10000 -timeout 3h -v
//	go test ./commands/crash -run TestFaults -faults 10000 -timeout 3h -v
//	go test ./commands/crash -run TestDamage -damage 20000 -timeout 3h -v
//	go test ./commands/crash -run TestCrowd -crowd 1m -v
package crash
