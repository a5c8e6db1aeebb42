//go:build e2e

// Package powercut is a disk that forgets at a power cut whatever was not fsynced: the worst case that POSIX allows, and
// more than most real disks lose.
//
// A [Disk] is a FUSE layer over a directory. It passes everything through and remembers how to undo it. A write or a
// truncation is forgotten by an fsync of its file; a name that was made, moved or removed, by an fsync of its directory, or,
// as journalling file systems have it, of the file that bears it. What is written through O_SYNC is fsynced at once. [Disk.Cut]
// undoes the rest, the last first. The directory below is written without any fsync: it must only outlive the process
// that uses the disk, not the machine.
//
// It needs root and /dev/fuse; [Available] says whether they are there.
package powercut
